//! Where the token comes from.

use std::fmt;
use std::sync::Arc;

use crate::future::BoxFuture;

/// A JWT for the hub. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    /// Wraps a token's text.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for AccessToken {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl From<&str> for AccessToken {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(<redacted>)")
    }
}

/// No token could be had; the identity provider or the way to it is at fault.
/// The client counts it as a failed attempt.
#[derive(Debug, thiserror::Error)]
#[error("no token could be had")]
pub struct TokenError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Gives the client a token whenever it connects, and another one when the hub
/// has refused the last.
///
/// A plain [`AccessToken`], `String` or `&'static str` is a source that always
/// gives the same token; with one of them a refused or expired token ends in
/// [`Update::Unauthorized`](super::Update::Unauthorized).
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is valid now. Called before every attempt to connect, and
    /// by [`HubClient::refresh_token`](super::HubClient::refresh_token). The
    /// future is dropped after 10 s, which counts as a failed attempt.
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>>;
}

impl<T: TokenSource + ?Sized> TokenSource for Arc<T> {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        (**self).token()
    }
}

impl TokenSource for AccessToken {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

impl TokenSource for String {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(std::future::ready(Ok(AccessToken(self.clone()))))
    }
}

impl TokenSource for &'static str {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(std::future::ready(Ok(AccessToken::from(*self))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(
            format!("{:?}", AccessToken::new("s3cret")),
            "AccessToken(<redacted>)"
        );
    }
}
