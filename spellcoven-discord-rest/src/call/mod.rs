//! One call: attempts, waits and what they come to.

mod attempt;
mod prepare;

use std::{error::Error as StdError, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::Response;
use serde::de::DeserializeOwned;

use self::attempt::Attempted;
pub(crate) use self::prepare::Prepared;
use crate::{
    client::Inner,
    endpoint::{Endpoint, RetryClass},
    error::{ErrorAnswer, RestError, RestErrorKind},
    error_body,
    retry::{self, Decision, Failure},
    validate::ValidationError,
};

/// What every call may be given besides its own input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) reason: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// The state of one call. All its requests share attempts and waiting time.
pub(crate) struct Call {
    client: Arc<Inner>,
    operation: &'static str,
    request_id: String,
    /// Unguessable in practice and new for each call; stands in the audit log.
    token: String,
    attempts: u32,
    retries: u32,
    refusals: u32,
    wait_left: Duration,
    /// Some attempt's outcome is unknown.
    ambiguous: bool,
    /// When the present attempt was sent.
    sent_at: Duration,
    /// When the first attempt with an unknown outcome was sent.
    open_since: Option<Duration>,
    /// What the last failed attempt was answered, for the error.
    last_answer: Option<ErrorAnswer>,
    /// Discord asked not to be asked again before this time.
    not_before: Duration,
}

impl Call {
    /// # Errors
    ///
    /// If the request id or the reason cannot be sent.
    pub(crate) fn new(
        client: Arc<Inner>,
        operation: &'static str,
        options: &Options,
    ) -> Result<Self, RestError> {
        let token = client.random_hex(8);
        let request_id = options
            .request_id
            .clone()
            .unwrap_or_else(|| client.random_hex(8));
        let checked = prepare::check_options(options);
        checked.map_err(|error| RestError::validation(error, operation, &request_id))?;
        let wait_left = client.config.max_wait;
        Ok(Self {
            client,
            operation,
            request_id,
            token,
            attempts: 0,
            retries: 0,
            refusals: 0,
            wait_left,
            ambiguous: false,
            sent_at: Duration::ZERO,
            open_since: None,
            last_answer: None,
            not_before: Duration::ZERO,
        })
    }

    /// Sends a request, waiting and retrying as its class allows, and gives back
    /// the 2xx answer.
    pub(crate) async fn send(&mut self, request: &Prepared) -> Result<Response<Bytes>, RestError> {
        let mut ticket = None;
        loop {
            let failed = match self.attempt(request, ticket).await {
                Ok(answer) => return Ok(answer),
                Err(Attempted::Refused(error)) => {
                    return Err(self.unless_open(error, request.class));
                }
                Err(Attempted::Failed(failed)) => *failed,
            };
            if matches!(failed.failure, Failure::Ambiguous | Failure::AmbiguousFinal) {
                self.outcome_is_open();
            }
            self.last_answer.clone_from(&failed.answer);
            let max_retries = self.client.config.max_retries;
            let decision = retry::decide(
                request.class,
                failed.failure,
                self.retries,
                max_retries,
                self.since_open(),
            );
            if decision == Decision::GiveUp || self.wait_as_told() > self.wait_left {
                let error = self.error(failed.kind, failed.answer, failed.source);
                return Err(self.unless_open(error, request.class));
            }
            // A 429's wait is the limiter's, and its place in line is kept.
            let delay = if failed.failure == Failure::RateLimited {
                Duration::ZERO
            } else {
                self.client.backoff(self.retries)
            };
            ticket = failed.ticket;
            self.retries += 1;
            self.log_retry(&failed.kind, delay);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// How much of the wait is left that a 5xx or 202 asked for.
    fn wait_as_told(&self) -> Duration {
        self.not_before.saturating_sub(self.client.gate.now())
    }

    /// Reads a 2xx answer's body.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        answer: &Response<Bytes>,
    ) -> Result<T, RestError> {
        let body: &[u8] = if answer.body().is_empty() {
            b"null"
        } else {
            answer.body()
        };
        serde_json::from_slice(body).map_err(|error| {
            self.error(
                RestErrorKind::MalformedResponse,
                Some(error_body::read(answer)),
                Some(Box::new(error)),
            )
        })
    }

    /// After an attempt whose outcome is unknown, no later refusal makes it
    /// known, unless doing it twice is the same as once.
    fn unless_open(&self, error: RestError, class: RetryClass) -> RestError {
        if self.ambiguous && class != RetryClass::Idempotent {
            error.into_outcome_unknown()
        } else {
            error
        }
    }

    pub(crate) fn error(
        &self,
        kind: RestErrorKind,
        answer: Option<ErrorAnswer>,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> RestError {
        let error = RestError::new(kind, self.operation, &self.request_id, self.attempts)
            .with_answer(answer);
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    pub(crate) fn invalid(&self, error: ValidationError) -> RestError {
        RestError::validation(error, self.operation, &self.request_id)
    }

    fn log_retry(&self, kind: &RestErrorKind, delay: Duration) {
        tracing::warn!(
            request_id = self.request_id,
            operation = self.operation,
            retry = self.retries,
            attempts = self.attempts,
            delay_ms = millis(delay),
            cause = %kind,
            "retrying"
        );
        self.client.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// For another request on behalf of this call that does not count as one of
    /// its attempts: a look-up. It is tried once and shares the waiting time.
    pub(crate) async fn aside<E: Endpoint>(
        &mut self,
        endpoint: &E,
    ) -> Result<(E::Response, Response<Bytes>), RestError> {
        let request = self.prepare(endpoint, None)?;
        let mut side = Self {
            client: self.client.clone(),
            operation: request.name,
            request_id: self.request_id.clone(),
            token: String::new(),
            attempts: 0,
            retries: self.client.config.max_retries,
            refusals: 0,
            wait_left: self.wait_left,
            ambiguous: false,
            sent_at: Duration::ZERO,
            open_since: None,
            last_answer: None,
            not_before: Duration::ZERO,
        };
        let answer = side.send(&request).await;
        self.wait_left = side.wait_left;
        let answer = answer?;
        Ok((side.read(&answer)?, answer))
    }

    /// Uses up one retry, if one is left.
    pub(crate) fn take_retry(&mut self, cause: &RestErrorKind) -> bool {
        if self.retries >= self.client.config.max_retries {
            return false;
        }
        self.retries += 1;
        self.log_retry(cause, Duration::ZERO);
        true
    }

    /// Nobody knows what came of the present attempt.
    pub(crate) fn outcome_is_open(&mut self) {
        self.ambiguous = true;
        self.open_since.get_or_insert(self.sent_at);
    }

    /// A look-up proved that nothing happened.
    pub(crate) fn nothing_happened(&mut self) {
        self.ambiguous = false;
    }

    pub(crate) fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn client(&self) -> &Arc<Inner> {
        &self.client
    }

    /// Time since the first attempt was sent whose outcome is unknown.
    pub(crate) fn since_open(&self) -> Duration {
        self.open_since.map_or(Duration::ZERO, |at| {
            self.client.gate.now().saturating_sub(at)
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
