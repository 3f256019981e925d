use std::sync::Arc;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header, request};
use http_body_util::Full;
use hyper_util::rt::TokioIo;

use super::{
    answer::{Answer, ApiError},
    cors,
    service::Call,
};
use crate::{
    server::ws::{self, FirstAuth},
    wire::ResumePoint,
};

/// The subprotocol that the hub speaks; answered when offered.
const PROTOCOL: &str = "spellcoven.v1";
/// A second "subprotocol" that carries the token, since a browser can set no header. Never answered, never logged.
const TOKEN: &str = "spellcoven.token.";
/// A third one with `<epoch>.<seq>`, to resume.
const RESUME: &str = "spellcoven.resume.";

/// `GET /api/ws` (RFC 6455, section 4.2).
pub(super) fn handle(call: &Call<'_>, parts: request::Parts) -> Result<Answer, ApiError> {
    let shared = call.shared;
    if cors::is_foreign(&parts.headers, shared.origin.as_deref()) {
        return Err(ApiError::forbidden("this origin is not allowed"));
    }
    let key = check(&parts)?;
    if shared.stopping.borrow().is_some() {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "STOPPING",
            "the hub is stopping",
        ));
    }
    let offered = offered(&parts.headers);
    let mut answer = Answer::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if offered.contains(&PROTOCOL) {
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(PROTOCOL),
        );
    }
    let first = first_auth(&offered);
    let (place, full) = shared.registry.enter();
    let (shared, request_id) = (Arc::clone(shared), call.request_id.to_owned());
    tokio::spawn(async move {
        match hyper::upgrade::on(Request::from_parts(parts, ())).await {
            Ok(upgraded) => {
                ws::run(
                    shared,
                    TokioIo::new(upgraded),
                    first,
                    place,
                    full,
                    request_id,
                )
                .await
            }
            Err(error) => {
                tracing::debug!(%error, request_id, "the connection did not become a WebSocket")
            }
        }
    });
    Ok(answer)
}

/// Checks the handshake and gives the answer to its key.
fn check(parts: &request::Parts) -> Result<HeaderValue, ApiError> {
    let headers = &parts.headers;
    let wants = |name, token| list(headers, name).any(|item| item.eq_ignore_ascii_case(token));
    if !wants(header::UPGRADE, "websocket") || !wants(header::CONNECTION, "upgrade") {
        return Err(upgrade_required("this path speaks WebSocket only")
            .with(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(
            upgrade_required("only version 13 of WebSocket is spoken").with(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            ),
        );
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24);
    let key = key.ok_or_else(|| {
        ApiError::validation("Sec-WebSocket-Key", "16 bytes in base64 are expected")
    })?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| ApiError::internal())
}

fn upgrade_required(message: &'static str) -> ApiError {
    ApiError::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", message)
}

fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn offered(headers: &HeaderMap) -> Vec<&str> {
    list(headers, header::SEC_WEBSOCKET_PROTOCOL).collect()
}

/// The token and the point to resume, where they came as subprotocols.
fn first_auth(offered: &[&str]) -> Option<FirstAuth> {
    let find = |prefix| {
        offered
            .iter()
            .find_map(|protocol| protocol.strip_prefix(prefix))
    };
    let resume = find(RESUME).and_then(|point| {
        let (epoch, seq) = point.rsplit_once('.')?;
        Some(ResumePoint {
            epoch: epoch.to_owned(),
            seq: seq.parse().ok()?,
        })
    });
    find(TOKEN).map(|token| FirstAuth {
        token: token.to_owned(),
        resume,
    })
}
