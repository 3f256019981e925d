//! One attempt: wait for the turn, send, sort the answer.

use std::{error::Error as StdError, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT},
};

use super::{Call, Prepared, millis};
use crate::{
    endpoint::RetryClass,
    error::{ErrorAnswer, RestError, RestErrorKind},
    error_body,
    limit::{Ask, EDGE_BLOCK, Observed, Ticket},
    retry::{self, Failure},
    transport::TransportErrorKind,
    validate::ValidationError,
};

/// How an attempt ended when it did not end well.
pub(super) enum Attempted {
    /// Ends the call.
    Refused(RestError),
    /// May be retried.
    Failed(Box<Failed>),
}

/// A failure that may be retried: what, and what is known about it.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) kind: RestErrorKind,
    pub(super) answer: Option<ErrorAnswer>,
    pub(super) source: Option<Box<dyn StdError + Send + Sync>>,
    pub(super) ticket: Option<Ticket>,
}

impl Call {
    /// One attempt: wait for the turn, send, sort the answer.
    pub(super) async fn attempt(
        &mut self,
        request: &Prepared,
        ticket: Option<Ticket>,
    ) -> Result<Response<Bytes>, Attempted> {
        self.check_token()?;
        self.check_refused(request)?;
        self.wait_for_discord().await?;
        let client = self.client.clone();
        let ask = Ask::new(&request.route, request.kind.clone());
        let budget = self.wait_left;
        let turn = client.gate.acquire(ask, ticket, &mut self.wait_left).await;
        let waited = budget.saturating_sub(self.wait_left);
        let permit = turn
            .map_err(|kind| Attempted::Refused(self.error(kind, self.last_answer.clone(), None)))?;
        self.check_token()?;
        self.check_refused(request)?;
        self.check_nonce(request.class)?;
        let http = self.http_request(request).map_err(Attempted::Refused)?;
        self.attempts += 1;
        self.sent_at = client.gate.now();
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
            waited_ms = millis(waited),
            "answered"
        );
        self.sort(request, answer, &observed, extra, place)
    }

    /// Success, a refusal that ends the call, or a failure that may be retried.
    fn sort(
        &mut self,
        request: &Prepared,
        answer: Response<Bytes>,
        observed: &Observed,
        extra: Duration,
        place: Ticket,
    ) -> Result<Response<Bytes>, Attempted> {
        let status = answer.status();
        self.not_before = observed
            .retry_after
            .map_or(Duration::ZERO, |wait| self.client.gate.now() + wait);
        // What changes something is accepted with a 202, not put off.
        let not_ready = observed
            .retry_after
            .filter(|_| status == StatusCode::ACCEPTED && request.class == RetryClass::Idempotent);
        if status.is_success() && not_ready.is_none() {
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
        let mut read = error_body::read(&answer);
        read.retry_after = observed.retry_after;
        let (failure, kind) = if let Some(retry_after) = not_ready {
            (Failure::NotNow, RestErrorKind::NotReady { retry_after })
        } else if let Some(too_many) = observed.too_many {
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
        } else if retry::is_not_now(read.code) {
            (Failure::NotNow, RestErrorKind::ServiceUnavailable)
        } else {
            self.client.remember_refusal(request.deed, &read);
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

    /// Discord refused the same a short while ago: it would again.
    fn check_refused(&self, request: &Prepared) -> Result<(), Attempted> {
        match self.client.recall_refusal(request.deed) {
            None => Ok(()),
            Some(answer) => {
                let kind = RestErrorKind::Forbidden;
                Err(Attempted::Refused(self.error(kind, Some(answer), None)))
            }
        }
    }

    /// Waits as long as the last answer asked for, out of the call's waiting time.
    async fn wait_for_discord(&mut self) -> Result<(), Attempted> {
        let wait = self.wait_as_told();
        if wait > self.wait_left {
            let kind = RestErrorKind::ServiceUnavailable;
            let error = self.error(kind, self.last_answer.clone(), None);
            return Err(Attempted::Refused(error));
        }
        if !wait.is_zero() {
            self.wait_left -= wait;
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The wait for a turn may have outlasted Discord's memory of a nonce.
    fn check_nonce(&self, class: RetryClass) -> Result<(), Attempted> {
        let repeats = self.ambiguous && class == RetryClass::Deduplicated;
        if repeats && self.since_open() >= retry::NONCE_REMEMBERED {
            let error = self.error(RestErrorKind::Timeout, self.last_answer.clone(), None);
            return Err(Attempted::Refused(error));
        }
        Ok(())
    }
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
