//! A development identity provider: OAuth 2 authorization code with PKCE, JWKS and tokens.
//!
//! It believes whoever says a name, so it is for loopback only. What it speaks is real: RFC 6749
//! section 4.1 with RFC 7636 (S256 only), RFC 7517 key sets and RFC 9068-like access tokens, so that
//! a browser client or the hub cannot tell it from a provider that checks passwords.

mod authorize;
mod keys;
#[cfg(test)]
mod tests;
mod token;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;

use self::{authorize::Grants, keys::SigningKey};
use crate::{clock::unix_seconds, web};

/// How long a token lives unless it is asked for otherwise.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// A development identity provider. Clones share one set of keys and grants.
#[derive(Clone)]
pub struct IdentityProvider {
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    audience: String,
    state: Mutex<State>,
}

struct State {
    /// Newest first. The second is kept after a rotation, for tokens already issued.
    keys: Vec<SigningKey>,
    grants: Grants,
}

/// Key generation failed: the system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no randomness for a signing key")]
pub struct KeyError;

impl IdentityProvider {
    /// A provider that calls itself `issuer` (its own base URL, without a trailing slash) and makes
    /// tokens for `audience`.
    ///
    /// # Errors
    /// [`KeyError`] when no signing key can be made.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Result<Self, KeyError> {
        Ok(Self {
            shared: Arc::new(Shared {
                issuer: issuer.into(),
                audience: audience.into(),
                state: Mutex::new(State {
                    keys: vec![SigningKey::generate()?],
                    grants: Grants::default(),
                }),
            }),
        })
    }

    /// A signed access token for `subject`, valid from now for `lifetime`.
    #[must_use]
    pub fn issue(&self, subject: &str, lifetime: Duration) -> String {
        self.issue_at(subject, unix_seconds(), lifetime)
    }

    /// As [`issue`](Self::issue), with the time (unix seconds) given: for tests on a virtual clock.
    #[must_use]
    pub fn issue_at(&self, subject: &str, now: u64, lifetime: Duration) -> String {
        let claims = json!({
            "iss": self.shared.issuer,
            "aud": self.shared.audience,
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime.as_secs(),
        });
        self.lock().keys[0].sign(&claims)
    }

    /// The public keys as a JWKS document.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys: Vec<_> = self.lock().keys.iter().map(SigningKey::jwk).collect();
        json!({ "keys": keys }).to_string()
    }

    /// Signs with a new key from now on; the one before stays in the key set, older ones go.
    ///
    /// # Errors
    /// [`KeyError`] when no signing key can be made; the old key stays in use.
    pub fn rotate(&self) -> Result<(), KeyError> {
        let key = SigningKey::generate()?;
        let mut state = self.lock();
        state.keys.insert(0, key);
        state.keys.truncate(2);
        Ok(())
    }

    /// Serves the provider's endpoints on `listener` until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        web::serve(listener, move |request, peer| {
            let provider = self.clone();
            async move { provider.answer(&request, peer) }
        })
        .await;
    }

    fn answer(&self, request: &Request<Bytes>, _peer: SocketAddr) -> Response<Bytes> {
        let now = unix_seconds();
        let mut response = match (request.method(), request.uri().path()) {
            (&Method::OPTIONS, _) => web::empty(StatusCode::NO_CONTENT),
            (&Method::GET, "/health") => web::json(StatusCode::OK, &json!({"status": "ok"})),
            (&Method::GET, "/.well-known/jwks.json") => web::raw_json(StatusCode::OK, self.jwks()),
            (&Method::GET, "/.well-known/openid-configuration") => {
                web::json(StatusCode::OK, &self.metadata())
            }
            (&Method::GET, "/authorize") => self.authorize(request, now),
            (&Method::POST, "/token") => self.token(request, now),
            _ => web::json(StatusCode::NOT_FOUND, &json!({"error": "not_found"})),
        };
        // A single-page app calls /token and the key set from its own origin.
        let headers = response.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            http::HeaderValue::from_static("*"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            http::HeaderValue::from_static("content-type"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            http::HeaderValue::from_static("no-store"),
        );
        response
    }

    fn metadata(&self) -> serde_json::Value {
        let issuer = &self.shared.issuer;
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityProvider")
            .field("issuer", &self.shared.issuer)
            .finish_non_exhaustive()
    }
}
