//! One call: attempts, waits and what they come to.

use std::{error::Error as StdError, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT},
};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{
    client::Inner,
    endpoint::{Endpoint, RetryClass, Route},
    error::{ErrorAnswer, RestError, RestErrorKind},
    error_body,
    limit::{Ask, EDGE_BLOCK, Kind, Observed, Ticket},
    reason,
    retry::{self, Decision, Failure},
    transport::TransportErrorKind,
    validate::{self, ValidationError},
};

/// A request, ready to be sent as often as need be.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) name: &'static str,
    pub(crate) route: Route,
    pub(crate) body: Option<Bytes>,
    pub(crate) kind: Kind,
    pub(crate) class: RetryClass,
    pub(crate) reason: Option<HeaderValue>,
}

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
    first_sent: Option<Duration>,
    /// What the last failed attempt was answered, for the error.
    last_answer: Option<ErrorAnswer>,
}

/// How one attempt ended when it did not end well.
struct Failed {
    failure: Failure,
    kind: RestErrorKind,
    answer: Option<ErrorAnswer>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    ticket: Option<Ticket>,
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
        let checked = check_options(options);
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
            first_sent: None,
            last_answer: None,
        })
    }

    /// Checks and serialises an endpoint's request.
    pub(crate) fn prepare<E: Endpoint>(
        &self,
        endpoint: &E,
        reason: Option<&str>,
    ) -> Result<Prepared, RestError> {
        endpoint.validate().map_err(|error| self.invalid(error))?;
        if reason.is_some() && !endpoint.takes_reason() {
            return Err(self.invalid(ValidationError::new(
                "reason",
                "Discord takes no audit-log reason here",
            )));
        }
        let body = endpoint.body().map_err(|error| {
            let error = ValidationError::new("body", format!("cannot be written as JSON: {error}"));
            self.invalid(error)
        })?;
        let reason = endpoint
            .takes_reason()
            .then(|| reason.unwrap_or(endpoint.name()));
        self.prepare_parts(
            endpoint.name(),
            endpoint.route(),
            body,
            endpoint.retry_class(),
            reason,
        )
    }

    pub(crate) fn prepare_parts(
        &self,
        name: &'static str,
        route: Route,
        body: Option<Bytes>,
        class: RetryClass,
        reason: Option<&str>,
    ) -> Result<Prepared, RestError> {
        route.validate().map_err(|error| self.invalid(error))?;
        let reason = match reason {
            None => None,
            Some(text) => Some(
                reason::header(text, &self.request_id, &self.token).ok_or_else(|| {
                    self.invalid(ValidationError::new(
                        "request_id",
                        "does not fit into the audit-log reason",
                    ))
                })?,
            ),
        };
        let kind = kind_of(body.as_ref());
        Ok(Prepared {
            name,
            route,
            body,
            kind,
            class,
            reason,
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
                self.ambiguous = true;
            }
            let since_first = self.first_sent.map_or(Duration::ZERO, |at| {
                self.client.gate.now().saturating_sub(at)
            });
            let max_retries = self.client.config.max_retries;
            let decision = retry::decide(
                request.class,
                failed.failure,
                self.retries,
                max_retries,
                since_first,
            );
            if decision == Decision::GiveUp {
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
            self.last_answer = failed.answer;
            self.retries += 1;
            self.log_retry(&failed.kind, delay);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
        }
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

    /// One attempt: wait for the turn, send, sort the answer.
    async fn attempt(
        &mut self,
        request: &Prepared,
        ticket: Option<Ticket>,
    ) -> Result<Response<Bytes>, Attempted> {
        self.check_token()?;
        let client = self.client.clone();
        let ask = Ask::new(&request.route, request.kind.clone());
        let waited = client.gate.acquire(ask, ticket, &mut self.wait_left).await;
        let permit = waited
            .map_err(|kind| Attempted::Refused(self.error(kind, self.last_answer.clone(), None)))?;
        self.check_token()?;
        let http = self.http_request(request).map_err(Attempted::Refused)?;
        self.attempts += 1;
        self.first_sent.get_or_insert(client.gate.now());
        client.sent.fetch_add(1, Ordering::Relaxed);
        let sending = tokio::time::timeout(client.config.timeout, client.transport.send(http));
        let place = permit.ticket();
        let answer = match sending.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let failure = match error.kind() {
                    TransportErrorKind::NotSent => Failure::NotSent,
                    TransportErrorKind::MaybeSent => Failure::Ambiguous,
                    TransportErrorKind::ResponseTooLarge => Failure::AmbiguousFinal,
                };
                return Err(Failed::without_answer(
                    failure,
                    RestErrorKind::Transport,
                    Some(Box::new(error)),
                    place,
                ));
            }
            Err(_) => {
                return Err(Failed::without_answer(
                    Failure::Ambiguous,
                    RestErrorKind::Timeout,
                    None,
                    place,
                ));
            }
        };
        let observed = Observed::of(&answer);
        let extra = self.extra_wait(&observed);
        permit.finish(&observed, extra);
        tracing::debug!(
            request_id = self.request_id,
            operation = request.name,
            status = answer.status().as_u16(),
            attempt = self.attempts,
            "answered"
        );
        self.sort(answer, &observed, extra, place)
    }

    /// Success, a refusal that ends the call, or a failure that may be retried.
    fn sort(
        &mut self,
        answer: Response<Bytes>,
        observed: &Observed,
        extra: Duration,
        place: Ticket,
    ) -> Result<Response<Bytes>, Attempted> {
        let status = answer.status();
        if status.is_success() {
            if answer.body().len() > self.client.config.max_response_bytes {
                let source = Some("the answer is larger than allowed".into());
                return Err(Failed::without_answer(
                    Failure::AmbiguousFinal,
                    RestErrorKind::Transport,
                    source,
                    place,
                ));
            }
            return Ok(answer);
        }
        let read = error_body::read(&answer);
        let (failure, kind) = if let Some(too_many) = observed.too_many {
            let retry_after = too_many.retry_after.unwrap_or(EDGE_BLOCK) + extra;
            (
                Failure::RateLimited,
                RestErrorKind::RateLimited {
                    retry_after,
                    scope: too_many.scope,
                },
            )
        } else if status.is_server_error() {
            (
                retry::of_server_error(status.as_u16()),
                RestErrorKind::ServiceUnavailable,
            )
        } else {
            if status == StatusCode::UNAUTHORIZED {
                self.client.token_invalid.store(true, Ordering::Release);
                tracing::error!(
                    request_id = self.request_id,
                    "Discord does not accept the bot token; nothing is sent any more"
                );
            }
            let kind = refusal(status, &read);
            return Err(Attempted::Refused(self.error(kind, Some(read), None)));
        };
        Err(Attempted::Failed(Box::new(Failed {
            failure,
            kind,
            answer: Some(read),
            source: None,
            ticket: Some(place),
        })))
    }

    /// Backoff on top of what a 429 asks for, from the second one on.
    fn extra_wait(&mut self, observed: &Observed) -> Duration {
        if observed.too_many.is_none() {
            return Duration::ZERO;
        }
        self.refusals += 1;
        match self.refusals {
            0 | 1 => Duration::ZERO,
            more => self.client.backoff(more - 1),
        }
    }

    fn http_request(&self, request: &Prepared) -> Result<Request<Bytes>, RestError> {
        let config = &self.client.config;
        let uri = format!("{}{}", config.base_url, request.route.target());
        let mut builder = Request::builder()
            .method(request.route.method().clone())
            .uri(uri)
            .header(AUTHORIZATION, config.authorization.clone())
            .header(USER_AGENT, config.user_agent.clone());
        if let Some(reason) = &request.reason {
            builder = builder.header("x-audit-log-reason", reason.clone());
        }
        if request.body.is_some() {
            builder = builder.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else if matches!(
            *request.route.method(),
            Method::POST | Method::PUT | Method::PATCH
        ) {
            // Observed: the edge answers 411 without it.
            builder = builder.header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        builder
            .body(request.body.clone().unwrap_or_default())
            .map_err(|error| {
                self.invalid(ValidationError::new(
                    "path",
                    format!("makes no valid URL: {error}"),
                ))
            })
    }

    fn check_token(&self) -> Result<(), Attempted> {
        if self.client.token_invalid.load(Ordering::Acquire) {
            return Err(Attempted::Refused(self.error(
                RestErrorKind::TokenInvalid,
                None,
                None,
            )));
        }
        Ok(())
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
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
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
            first_sent: None,
            last_answer: None,
        };
        let answer = side.send(&request).await;
        self.wait_left = side.wait_left;
        let answer = answer?;
        Ok((side.read(&answer)?, answer))
    }

    /// Uses up one retry, if one is left, and says how long to wait before it.
    pub(crate) fn take_retry(&mut self, cause: &RestErrorKind) -> bool {
        if self.retries >= self.client.config.max_retries {
            return false;
        }
        self.retries += 1;
        self.log_retry(cause, Duration::ZERO);
        true
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

    /// Time since the first attempt was sent.
    pub(crate) fn since_first_sent(&self) -> Duration {
        self.first_sent.map_or(Duration::ZERO, |at| {
            self.client.gate.now().saturating_sub(at)
        })
    }
}

enum Attempted {
    /// Ends the call.
    Refused(RestError),
    /// May be retried.
    Failed(Box<Failed>),
}

impl Failed {
    fn without_answer(
        failure: Failure,
        kind: RestErrorKind,
        source: Option<Box<dyn StdError + Send + Sync>>,
        place: Ticket,
    ) -> Attempted {
        Attempted::Failed(Box::new(Self {
            failure,
            kind,
            answer: None,
            source,
            ticket: Some(place),
        }))
    }
}

/// What a 3xx or 4xx (not 429) means.
fn refusal(status: StatusCode, answer: &ErrorAnswer) -> RestErrorKind {
    let quota = matches!(answer.code, Some(30_000..=30_999));
    match status {
        StatusCode::UNAUTHORIZED => RestErrorKind::TokenInvalid,
        _ if quota => RestErrorKind::Conflict,
        StatusCode::FORBIDDEN => RestErrorKind::Forbidden,
        StatusCode::NOT_FOUND => RestErrorKind::NotFound,
        StatusCode::CONFLICT => RestErrorKind::Conflict,
        _ => RestErrorKind::Discord {
            status: status.as_u16(),
            code: answer.code.unwrap_or(0),
            message: answer.message.clone(),
            errors: answer.errors.clone(),
        },
    }
}

fn check_options(options: &Options) -> Result<(), ValidationError> {
    if let Some(reason) = &options.reason {
        validate::length("reason", reason, 1, 512)?;
    }
    if let Some(id) = &options.request_id {
        validate::length("request_id", id, 1, 64)?;
        if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ValidationError::new(
                "request_id",
                "must be visible ASCII characters",
            ));
        }
    }
    Ok(())
}

/// The top-level keys of a JSON body, in order of the alphabet.
fn kind_of(body: Option<&Bytes>) -> Kind {
    use std::{borrow::Cow, collections::BTreeMap};
    let Some(body) = body else {
        return Kind::from("");
    };
    match serde_json::from_slice::<BTreeMap<Cow<'_, str>, IgnoredAny>>(body) {
        Ok(keys) => Kind::from(keys.into_keys().collect::<Vec<_>>().join(",")),
        Err(_) => Kind::from(""),
    }
}
