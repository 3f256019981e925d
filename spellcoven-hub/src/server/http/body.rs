use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{answer::ApiError, service::HubBody};

/// Reads a body up to a size, within a time.
pub(super) async fn read<B: HubBody>(
    body: B,
    max: usize,
    wait: Duration,
) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(wait, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Ok(Err(error)) => {
            let error: &(dyn Error + Send + Sync) = &*error;
            tracing::debug!(error, "a body cannot be read");
            Err(ApiError::validation("body", "cannot be read"))
        }
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "TIMEOUT",
            "the body took too long",
        )),
    }
}

/// Demands JSON where there is a body.
pub(super) fn expect_json(headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let json = essence.eq_ignore_ascii_case("application/json");
    if json || (body.is_empty() && value.is_empty()) {
        return Ok(());
    }
    let message = "the body must be application/json";
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        message,
    ))
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "PAYLOAD_TOO_LARGE",
        "the body is too large",
    )
}
