use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request};
use http_body_util::Full;

use super::answer::{Answer, ApiError};

/// Whether the request is a preflight (Fetch standard, "CORS-preflight request").
pub(super) fn is_preflight(parts: &request::Parts) -> bool {
    parts.method == http::Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the request comes from a page of another origin than the one allowed. A request without `Origin` does not come
/// from a page.
pub(super) fn is_foreign(headers: &HeaderMap, allowed: Option<&str>) -> bool {
    headers
        .get(header::ORIGIN)
        .is_some_and(|origin| Some(origin.as_bytes()) != allowed.map(str::as_bytes))
}

/// Answers a preflight.
pub(super) fn preflight(headers: &HeaderMap, allowed: Option<&str>) -> Result<Answer, ApiError> {
    if is_foreign(headers, allowed) {
        return Err(ApiError::forbidden("this origin is not allowed"));
    }
    let mut answer = Answer::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, idempotency-key, x-idempotency-key, x-request-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(answer)
}

/// Lets the allowed origin read the answer, errors too.
pub(super) fn decorate(answer: &mut Answer, request: &Option<HeaderValue>, allowed: Option<&str>) {
    let Some(allowed) = allowed else { return };
    let headers = answer.headers_mut();
    // Also where the origin is another one: a cache must not mix the answers up.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = request
        .as_ref()
        .filter(|origin| origin.as_bytes() == allowed.as_bytes())
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("X-Request-Id, Retry-After"),
        );
    }
}
