use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{server::rooms::RoomError, wire::ApiErrorBody};

pub(super) type Answer = Response<Full<Bytes>>;

/// An error answer; what it says of the request's id comes later.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    details: Option<Map<String, Value>>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            details: None,
            header: None,
        }))
    }

    pub(crate) fn validation(field: &str, reason: impl Into<String>) -> Self {
        let mut error = Self::new(
            StatusCode::BAD_REQUEST,
            "VALIDATION_FAILED",
            "a value is not acceptable",
        );
        error.0.details = object(json!({ "field": field, "reason": reason.into() }));
        error
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "a valid bearer token is needed",
        )
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    pub(crate) fn forbidden(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    pub(crate) fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(crate) fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "OVERLOADED",
            "too many requests are at work; try again",
        )
        .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "the hub failed",
        )
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    fn rate_limited(retry_after: Duration) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMITED",
            "Discord's rate limit is reached",
        );
        error.0.details = object(json!({ "retryAfter": retry_after.as_secs_f64() }));
        // Whole seconds, rounded up: a client that waits so long waits long enough.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        error.with(header::RETRY_AFTER, seconds.max(1).into())
    }

    pub(super) fn into_answer(self, request_id: &str) -> Answer {
        let inner = *self.0;
        let body = ApiErrorBody {
            message: inner.message.into_owned(),
            code: inner.code.to_owned(),
            request_id: request_id.to_owned(),
            details: inner.details,
        };
        let mut answer = json(inner.status, &body);
        if let Some((name, value)) = inner.header {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl From<&RoomError> for ApiError {
    fn from(error: &RoomError) -> Self {
        match error {
            RoomError::Forbidden => {
                Self::forbidden("Discord refuses the bot: a permission is missing")
            }
            RoomError::NotFound => Self::not_found("Discord does not know the channel"),
            RoomError::Conflict { limit } => {
                let mut error = Self::new(
                    StatusCode::CONFLICT,
                    "CONFLICT",
                    "a limit of the guild is reached",
                );
                error.0.details = object(json!({ "limit": limit }));
                error
            }
            RoomError::RateLimited { retry_after } => Self::rate_limited(*retry_after),
            RoomError::Rejected { field, reason } => Self::validation(field, reason),
            RoomError::Upstream { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "DISCORD_ERROR",
                "Discord answered with an error",
            ),
            RoomError::Unavailable { .. } => {
                let message = "Discord cannot be reached; try again later";
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "DISCORD_UNAVAILABLE",
                    message,
                )
            }
        }
    }
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("strings, numbers and flags always serialise");
    raw(status, "application/json", body.into())
}

pub(super) fn raw(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}
