use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answer::ApiError;
use crate::server::{
    auth::{AuthError, TokenError},
    hub::Shared,
    policy::User,
};

/// The user of `Authorization: Bearer <JWT>` (RFC 6750, section 2.1).
pub(super) async fn authenticate(
    headers: &HeaderMap,
    shared: &Shared,
    request_id: &str,
) -> Result<User, ApiError> {
    let result = match bearer(headers) {
        Some(token) => shared.verifier.verify(token).await,
        None => Err(AuthError::Refused(TokenError::Missing)),
    };
    match result {
        Ok(verified) => Ok(verified.user),
        Err(AuthError::Refused(error)) => {
            tracing::debug!(%error, request_id, "token refused");
            Err(ApiError::unauthorized())
        }
        Err(AuthError::Unavailable) => Err(unavailable()),
    }
}

/// Tokens cannot be checked: neither the user's fault nor a sign that the token is bad.
fn unavailable() -> ApiError {
    let message = "the identity provider's keys cannot be had; try again";
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "IDENTITY_UNAVAILABLE",
        message,
    )
    .with(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    // Two headers could mean two users.
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
