//! What can go wrong with a call, and what Discord said about it.

use std::{error::Error as StdError, fmt, time::Duration};

use bytes::Bytes;

use crate::validate::ValidationError;

/// Why a call failed.
///
/// `Display` prints this level only; the cause, where there is one, is in
/// [`source`](StdError::source). The types of the causes are not part of the API.
pub struct RestError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: RestErrorKind,
    request_id: String,
    operation: &'static str,
    attempts: u32,
    answer: Option<ErrorAnswer>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The sort of a failure: who is to blame and what can be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RestErrorKind {
    /// The caller's input is wrong; nothing was sent. Correct the field.
    Validation {
        /// The field, as Discord calls it.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Discord does not accept the token (401), now or at an earlier call of
    /// this client, which sends nothing any more since. Configure a valid token
    /// and build a new client.
    TokenInvalid,
    /// Discord refuses the bot (403): it lacks a permission or access. Do not
    /// repeat it before that has changed. Where Discord refused the same a short
    /// while ago nothing was sent, and
    /// [`attempts`](RestError::attempts) is 0: see
    /// [`remember_refusals`](crate::DiscordRestClientBuilder::remember_refusals).
    Forbidden,
    /// What was named does not exist, or the bot cannot see it (404).
    NotFound,
    /// A limit of the guild is reached (codes 30000 to 30999, for example 30013:
    /// 500 channels), or the state is another than the request supposes (409).
    Conflict,
    /// A rate limit would have made, or made, the call wait longer than it may
    /// ([`max_wait`](crate::DiscordRestClientBuilder::max_wait)), or the retries
    /// are spent on 429s. Try again after `retry_after`.
    RateLimited {
        /// How long to wait, counted from now.
        retry_after: Duration,
        /// Which limit it was.
        scope: RateLimitScope,
    },
    /// More calls are waiting than this client keeps; this one was not sent.
    /// Slow down.
    QueueFull,
    /// Discord refuses the request for another reason (any other 3xx or 4xx).
    Discord {
        /// The HTTP status.
        status: u16,
        /// Discord's own code, 0 where there is none.
        code: u64,
        /// Discord's words, cut at 512 bytes.
        message: String,
        /// The errors by field, at most 32.
        errors: Vec<FieldError>,
    },
    /// Discord answers 5xx, or that it is overloaded, and the retries are spent,
    /// or it asks for a longer wait than the call may take
    /// ([`RestError::retry_after`] says which). Try again later; the request
    /// surely had no effect, or may be repeated without harm.
    ServiceUnavailable,
    /// Discord answers 202: what was asked for is not ready yet (an index that is
    /// being built), and the retries are spent or the wait is longer than the
    /// call may take. Try again after `retry_after`.
    NotReady {
        /// How long Discord asks to wait, counted from its answer.
        retry_after: Duration,
    },
    /// No answer in time and the retries are spent; the request surely had no
    /// effect, or may be repeated without harm.
    Timeout,
    /// The network or TLS failed and the retries are spent; the request surely
    /// had no effect, or may be repeated without harm.
    Transport,
    /// The request was sent, its answer is lost, and whether Discord acted could
    /// not be found out. Look at the state before you repeat it.
    OutcomeUnknown,
    /// Discord answered 2xx with a body that cannot be read. It did act.
    MalformedResponse,
    /// So many answers of the last ten minutes were 401, 403 or 429 that Discord
    /// would soon ban this IP address, so nothing is sent. Find out which call
    /// fails so often.
    CircuitOpen {
        /// When calls are let through again, counted from now.
        retry_after: Duration,
    },
}

/// Which of Discord's rate limits it was. See Discord: Rate Limits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum RateLimitScope {
    /// The bucket of a route.
    Bucket,
    /// A limit behind the bucket for one kind of request (a rename), which the
    /// headers do not show (observed).
    SubLimit,
    /// A limit of the resource that all bots and users share.
    Shared,
    /// The limit of all requests of a bot.
    Global,
    /// A block at the edge (Cloudflare) of this IP address; Discord itself never
    /// saw the request (observed).
    Edge,
}

/// One error of Discord's `errors` tree.
///
/// See Discord: API Reference, "Error Messages".
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FieldError {
    /// Where in the request body: `permission_overwrites.0.id`; empty for the
    /// whole body.
    pub path: String,
    /// The code: `BASE_TYPE_BAD_LENGTH`; empty where there is none.
    pub code: String,
    /// The text, cut at 512 bytes.
    pub message: String,
}

/// What is kept of an answer that is an error.
#[derive(Clone, Debug)]
pub(crate) struct ErrorAnswer {
    pub(crate) status: u16,
    pub(crate) code: Option<u64>,
    pub(crate) message: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) cf_ray: Option<String>,
    pub(crate) raw: Bytes,
    /// How long a 5xx or 202 asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl RestError {
    pub(crate) fn new(
        kind: RestErrorKind,
        operation: &'static str,
        request_id: &str,
        attempts: u32,
    ) -> Self {
        let inner = Inner {
            kind,
            request_id: request_id.to_owned(),
            operation,
            attempts,
            answer: None,
            source: None,
        };
        Self {
            inner: Box::new(inner),
        }
    }

    pub(crate) fn validation(
        error: ValidationError,
        operation: &'static str,
        request_id: &str,
    ) -> Self {
        let kind = RestErrorKind::Validation {
            field: error.field(),
            reason: error.reason().to_owned(),
        };
        Self::new(kind, operation, request_id, 0)
    }

    pub(crate) fn with_answer(mut self, answer: Option<ErrorAnswer>) -> Self {
        self.inner.answer = answer;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Turns this failure into the cause of an unknown outcome.
    pub(crate) fn into_outcome_unknown(self) -> Self {
        if self.inner.kind == RestErrorKind::OutcomeUnknown {
            return self;
        }
        let inner = Inner {
            kind: RestErrorKind::OutcomeUnknown,
            request_id: self.inner.request_id.clone(),
            operation: self.inner.operation,
            attempts: self.inner.attempts,
            answer: self.inner.answer.clone(),
            source: Some(Box::new(self)),
        };
        Self {
            inner: Box::new(inner),
        }
    }

    /// The failure that made the outcome unknown, once it is known after all.
    pub(crate) fn into_known(mut self) -> Self {
        if self.inner.kind != RestErrorKind::OutcomeUnknown {
            return self;
        }
        match self
            .inner
            .source
            .take()
            .map(|source| source.downcast::<Self>())
        {
            Some(Ok(cause)) => *cause,
            Some(Err(source)) => self.with_source(source),
            None => self,
        }
    }

    /// The sort of the failure.
    #[must_use]
    pub fn kind(&self) -> &RestErrorKind {
        &self.inner.kind
    }

    /// The request id: the caller's, or the one made for the call. It stands in
    /// the logs and in the guild's audit log too.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.inner.request_id
    }

    /// The operation by the name of Discord's documentation: `createVoiceChannel`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.inner.operation
    }

    /// The HTTP status of the last answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.inner.answer.as_ref().map(|answer| answer.status)
    }

    /// Discord's own error code (10003: unknown channel), if it sent one.
    ///
    /// See Discord: Opcodes and Status Codes, "JSON".
    #[must_use]
    pub fn discord_code(&self) -> Option<u64> {
        self.inner.answer.as_ref().and_then(|answer| answer.code)
    }

    /// Discord's words about the error, cut at 512 bytes.
    #[must_use]
    pub fn discord_message(&self) -> Option<&str> {
        self.inner
            .answer
            .as_ref()
            .map(|answer| answer.message.as_str())
            .filter(|text| !text.is_empty())
    }

    /// Discord's errors by field, at most 32.
    #[must_use]
    pub fn field_errors(&self) -> &[FieldError] {
        self.inner
            .answer
            .as_ref()
            .map_or(&[], |answer| &answer.errors)
    }

    /// The first 4,096 bytes of the last answer's body.
    #[must_use]
    pub fn raw_body(&self) -> Option<&[u8]> {
        self.inner.answer.as_ref().map(|answer| answer.raw.as_ref())
    }

    /// How many requests were sent for this call, look-ups not counted.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    /// How long to wait before a new call, where Discord or this client knows it:
    /// for a rate limit, an open breaker, a 202, or a 5xx with `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.inner.kind {
            RestErrorKind::RateLimited { retry_after, .. }
            | RestErrorKind::CircuitOpen { retry_after }
            | RestErrorKind::NotReady { retry_after } => Some(retry_after),
            _ => self.inner.answer.as_ref().and_then(|a| a.retry_after),
        }
    }

    /// Cloudflare's id of the last answer, which Discord's support asks for.
    #[must_use]
    pub fn cf_ray(&self) -> Option<&str> {
        self.inner
            .answer
            .as_ref()
            .and_then(|answer| answer.cf_ray.as_deref())
    }
}

impl fmt::Debug for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestError")
            .field("kind", &self.inner.kind)
            .field("operation", &self.inner.operation)
            .field("request_id", &self.inner.request_id)
            .field("attempts", &self.inner.attempts)
            .field("status", &self.status())
            .field("discord_code", &self.discord_code())
            .field("cf_ray", &self.cf_ray())
            .field("source", &self.inner.source)
            .finish()
    }
}

impl fmt::Display for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.operation, self.inner.kind)?;
        let detailed = matches!(self.inner.kind, RestErrorKind::Discord { .. });
        if let (Some(answer), false) = (&self.inner.answer, detailed) {
            write!(f, "; Discord answered {}", answer.status)?;
            if let Some(code) = answer.code {
                write!(f, ", code {code}")?;
            }
            if !answer.message.is_empty() {
                write!(f, " ({})", answer.message)?;
            }
        }
        write!(
            f,
            " [request {}, attempts: {}]",
            self.inner.request_id, self.inner.attempts
        )
    }
}

impl fmt::Display for RestErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation { field, reason } => write!(f, "invalid input, {field}: {reason}"),
            Self::TokenInvalid => f.write_str("Discord does not accept the bot token"),
            Self::Forbidden => f.write_str("Discord refuses the bot"),
            Self::NotFound => f.write_str("not found"),
            Self::Conflict => {
                f.write_str("a limit of the guild is reached, or its state is another")
            }
            Self::RateLimited { retry_after, scope } => {
                write!(
                    f,
                    "rate limited ({scope}), free in {:.3} s",
                    retry_after.as_secs_f64()
                )
            }
            Self::QueueFull => f.write_str("too many calls are waiting"),
            Self::Discord {
                status,
                code,
                message,
                ..
            } => {
                write!(
                    f,
                    "Discord refuses the request with status {status}, code {code} ({message})"
                )
            }
            Self::NotReady { retry_after } => write!(
                f,
                "not ready yet, try again in {:.3} s",
                retry_after.as_secs_f64()
            ),
            Self::ServiceUnavailable => f.write_str("Discord is unavailable"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Transport => f.write_str("the connection failed"),
            Self::OutcomeUnknown => f.write_str("whether Discord acted is unknown"),
            Self::MalformedResponse => f.write_str("the answer cannot be read"),
            Self::CircuitOpen { retry_after } => write!(
                f,
                "too many refused requests, nothing is sent for {:.0} s to avoid a ban",
                retry_after.as_secs_f64()
            ),
        }
    }
}

impl fmt::Display for RateLimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bucket => "bucket",
            Self::SubLimit => "sub-limit",
            Self::Shared => "shared",
            Self::Global => "global",
            Self::Edge => "edge",
        })
    }
}

impl StdError for RestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}
