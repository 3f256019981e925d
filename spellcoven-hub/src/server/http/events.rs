use http::{HeaderMap, StatusCode, request};

use super::{
    answer::{Answer, ApiError, json},
    body,
    service::{Call, HubBody},
};
use crate::wire::{WebhookEvent, headers as names, signature};

/// `POST /api/internal/events`.
pub(super) async fn handle<B: HubBody>(
    call: &Call<'_>,
    parts: &request::Parts,
    body: B,
) -> Result<Answer, ApiError> {
    let shared = call.shared;
    let limits = &shared.limits;
    let body = body::read(body, limits.max_webhook_body, limits.body_timeout).await?;
    // Over the raw bytes, before anything is parsed.
    let result = signature::verify(
        &shared.secrets,
        one(&parts.headers, names::TIMESTAMP),
        one(&parts.headers, names::SIGNATURE),
        &body,
        shared.clock.now_ms() / 1000,
        limits.hmac_skew.as_secs(),
    );
    if let Err(error) = result {
        shared.metrics.signatures.add(error.label());
        tracing::warn!(%error, request_id = call.request_id, "webhook signature refused");
        return Err(ApiError::forbidden("the request is not accepted"));
    }
    let delivery = delivery(&parts.headers)?;
    let event = WebhookEvent::parse(&body).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, request_id = call.request_id, "webhook body refused");
        ApiError::validation("body", error.to_string())
    })?;
    tracing::debug!(
        event = event.name(),
        request_id = call.request_id,
        "webhook event"
    );
    let epoch = one(&parts.headers, names::EPOCH);
    let answer = shared.handle_post(event, delivery, epoch);
    Ok(json(StatusCode::OK, &answer))
}

/// A header that must not stand twice.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn delivery(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(names::DELIVERY) else {
        return Ok(None);
    };
    let sane =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match value.to_str().ok().filter(sane) {
        Some(id) => Ok(Some(id)),
        None => Err(ApiError::validation(
            "X-Hub-Delivery",
            "1 to 128 visible ASCII characters are expected",
        )),
    }
}
