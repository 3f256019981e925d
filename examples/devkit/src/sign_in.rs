//! Signing in as a page would: authorization code with PKCE.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, header};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use serde_json::Value;

use crate::web::{Form, WebClient, WebError};

const REDIRECT: &str = "http://127.0.0.1/back";
const CLIENT_ID: &str = "local";

/// The provider did not give a token.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// It could not be asked.
    #[error("the identity provider could not be asked")]
    Web(#[from] WebError),
    /// It answered otherwise than OAuth 2 says.
    #[error("the identity provider answered {0}")]
    Refused(String),
}

/// An access token for `user` from the provider at `issuer`.
///
/// # Errors
/// [`SignInError`].
///
/// # Cancel safety
/// A code that was asked for and not exchanged expires by itself.
pub async fn sign_in(web: &WebClient, issuer: &str, user: &str) -> Result<String, SignInError> {
    let mut random = [0; 32];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| SignInError::Refused("no randomness here".to_owned()))?;
    let verifier = URL_SAFE_NO_PAD.encode(random);
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", REDIRECT),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("login_hint", user),
    ]);
    let malformed = |what: String| SignInError::Refused(what);
    let request = Request::get(format!("{issuer}/authorize?{query}"))
        .body(Bytes::new())
        .map_err(|error| malformed(error.to_string()))?;
    let answer = web.send(request).await?;
    let location = answer
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let back = Form::parse(
        location
            .split_once('?')
            .map_or("", |(_, query)| query)
            .as_bytes(),
    );
    let code = back
        .get("code")
        .ok_or_else(|| malformed(format!("{} and no code", answer.status())))?;
    let form = encode(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", &verifier),
        ("client_id", CLIENT_ID),
        ("redirect_uri", REDIRECT),
    ]);
    let request = Request::post(format!("{issuer}/token"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(form))
        .map_err(|error| malformed(error.to_string()))?;
    let answer = web.send(request).await?;
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    match body["access_token"].as_str() {
        Some(token) => Ok(token.to_owned()),
        None => Err(malformed(format!("{} and no token", answer.status()))),
    }
}

fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
