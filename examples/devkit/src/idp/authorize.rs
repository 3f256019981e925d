use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use ring::rand::SystemRandom;

use super::{IdentityProvider, keys::unguessable};
use crate::web;

/// RFC 6749 section 4.1.2 asks for at most ten minutes; a program needs seconds.
const CODE_LIFETIME_SECONDS: u64 = 120;
/// The oldest grant goes when somebody asks for more than this without using them.
const GRANT_LIMIT: usize = 1024;

/// An authorization code that was handed out and not used yet.
pub(super) struct Grant {
    code: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) subject: String,
    expires: u64,
}

#[derive(Default)]
pub(super) struct Grants(VecDeque<Grant>);

impl Grants {
    fn add(&mut self, grant: Grant) {
        if self.0.len() == GRANT_LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(grant);
    }

    /// A code works once, whatever comes of it (RFC 6749 section 4.1.2).
    pub(super) fn take(&mut self, code: &str, now: u64) -> Option<Grant> {
        let at = self.0.iter().position(|grant| grant.code == code)?;
        self.0.remove(at).filter(|grant| grant.expires > now)
    }
}

impl IdentityProvider {
    /// `GET /authorize`: asks who one is (or takes `login_hint`) and sends the browser back with a code.
    pub(super) fn authorize(&self, request: &Request<Bytes>, now: u64) -> Response<Bytes> {
        let query = web::Form::parse(request.uri().query().unwrap_or_default().as_bytes());
        // Until the redirect URI is known to be good, errors must stay here (RFC 6749 section 4.1.2.1).
        let redirect_uri = match query.get("redirect_uri") {
            Some(uri) if is_loopback(uri) => uri,
            _ => {
                return web::text(
                    StatusCode::BAD_REQUEST,
                    "redirect_uri must be an http URL on loopback",
                );
            }
        };
        let state = query.get("state").unwrap_or_default();
        let refuse = |error: &str| redirect(redirect_uri, &[("error", error), ("state", state)]);
        if query.get("response_type") != Some("code") {
            return refuse("unsupported_response_type");
        }
        let (Some(client_id), Some(challenge)) =
            (query.get("client_id"), query.get("code_challenge"))
        else {
            return refuse("invalid_request");
        };
        if query.get("code_challenge_method") != Some("S256") || challenge.len() != 43 {
            return refuse("invalid_request");
        }
        let Some(subject) = query.get("login_hint").filter(|hint| !hint.is_empty()) else {
            return login_page(&query);
        };
        let Ok(code) = unguessable(&SystemRandom::new()) else {
            return refuse("server_error");
        };
        self.lock().grants.add(Grant {
            code: code.clone(),
            client_id: client_id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: challenge.to_owned(),
            subject: subject.chars().take(64).collect(),
            expires: now + CODE_LIFETIME_SECONDS,
        });
        redirect(redirect_uri, &[("code", &code), ("state", state)])
    }
}

fn login_page(query: &web::Form) -> Response<Bytes> {
    let hidden: String = query
        .iter()
        .filter(|(name, _)| *name != "login_hint")
        .map(|(name, value)| {
            format!(
                r#"<input type="hidden" name="{}" value="{}">"#,
                web::escape(name),
                web::escape(value)
            )
        })
        .collect();
    web::html(&format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Development sign-in</title>\
         <h1>Development sign-in</h1><p>Any name is believed. For use on this machine only.</p>\
         <form action=\"/authorize\" method=\"get\">{hidden}<label>User id \
         <input name=\"login_hint\" required maxlength=\"64\" autofocus></label> \
         <button>Sign in</button></form></html>"
    ))
}

/// Loopback redirects only (RFC 8252 section 7.3): a code must not leave the machine.
fn is_loopback(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<http::Uri>() else {
        return false;
    };
    uri.scheme_str() == Some("http")
        && matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

fn redirect(uri: &str, parameters: &[(&str, &str)]) -> Response<Bytes> {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()))
        .finish();
    let separator = if uri.contains('?') { '&' } else { '?' };
    let Ok(location) = HeaderValue::try_from(format!("{uri}{separator}{query}")) else {
        return web::text(
            StatusCode::BAD_REQUEST,
            "redirect_uri holds characters that no header may",
        );
    };
    let mut response = web::empty(StatusCode::FOUND);
    response.headers_mut().insert(header::LOCATION, location);
    response
}
