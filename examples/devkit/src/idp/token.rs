use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{IdentityProvider, TOKEN_LIFETIME};
use crate::web;

impl IdentityProvider {
    /// `POST /token`: a code and its verifier for an access token (RFC 7636 section 4.5).
    pub(super) fn token(&self, request: &Request<Bytes>, now: u64) -> Response<Bytes> {
        let form = web::Form::parse(request.body());
        if form.get("grant_type") != Some("authorization_code") {
            return refused("unsupported_grant_type");
        }
        let (Some(code), Some(verifier)) = (form.get("code"), form.get("code_verifier")) else {
            return refused("invalid_request");
        };
        let Some(grant) = self.lock().grants.take(code, now) else {
            return refused("invalid_grant");
        };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        if challenge != grant.challenge
            || form.get("client_id") != Some(grant.client_id.as_str())
            || form.get("redirect_uri") != Some(grant.redirect_uri.as_str())
        {
            return refused("invalid_grant");
        }
        web::json(
            StatusCode::OK,
            &json!({
                "access_token": self.issue_at(&grant.subject, now, TOKEN_LIFETIME),
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFETIME.as_secs(),
            }),
        )
    }
}

fn refused(error: &str) -> Response<Bytes> {
    web::json(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}
