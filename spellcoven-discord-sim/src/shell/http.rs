//! One TCP connection: REST with keep-alive, or a Gateway upgrade.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::body::FaultyBody;
use super::lenient::Lenient;
use super::websocket::{self, End};
use crate::core::{ConnectionId, Output, Request, World};
use crate::sim::{Open, Sim};

/// Discord's bound for a request: 25 MiB.
const BODY_LIMIT: usize = 25 * 1024 * 1024;

type HttpRequest = hyper::Request<Incoming>;
type HttpResponse = hyper::Response<FaultyBody>;

/// How a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the main URL.
    Plain,
    /// To the main URL over TLS: other URLs are told.
    #[cfg(feature = "tls")]
    Secure,
    /// To the resume URL.
    Resume,
}

impl Way {
    const fn opener(self) -> Open {
        match self {
            Self::Plain => World::gateway_open,
            #[cfg(feature = "tls")]
            Self::Secure => World::gateway_open_secure,
            Self::Resume => World::gateway_open_at_resume_url,
        }
    }

    const fn is_secure(self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Secure => true,
            Self::Plain | Self::Resume => false,
        }
    }
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulator hangs up")]
struct HangUp;

/// A WebSocket that begins when the 101 is out: the query it asked with, and the connection to come.
type Upgrading = Arc<Mutex<Option<(String, OnUpgrade)>>>;

impl Sim {
    /// Serves one connection until either side ends it: REST under `/api/v10` (also `/api/v9`, `/api`, `/v10`), the
    /// Gateway on an upgrade of the path `/`.
    ///
    /// Whatever the client does ends at most this connection. Works on anything that reads and writes, such as one
    /// half of a `tokio::io::duplex`.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection, which is what a broken network looks like: a session on it stays
    /// resumable.
    pub async fn serve_connection<T>(&self, io: T)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve(io, Way::Plain).await;
    }

    /// The same for a connection that came to the [`resume_url`](crate::Settings::resume_url) of the settings, so that
    /// the journal tells who used it. While [`Fault::DeadResumeUrl`](crate::Fault::DeadResumeUrl) is on the connection is
    /// dropped at once.
    ///
    /// # Cancel safety
    /// As [`serve_connection`](Self::serve_connection).
    pub async fn serve_resume_connection<T>(&self, io: T)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if !self.with(|world| world.resume_url_is_dead()) {
            self.serve(io, Way::Resume).await;
        }
    }

    /// The same for a connection that came this way.
    pub(super) async fn serve<T>(&self, io: T, way: Way)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let upgrading = Upgrading::default();
        let secure = way.is_secure();
        let service = hyper::service::service_fn(|request: HttpRequest| {
            let sim = self.clone();
            let upgrading = Arc::clone(&upgrading);
            async move { answer(&sim, request, &upgrading, secure).await }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(Lenient::new(io)), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended");
        }
        let taken = upgrading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((query, upgraded)) = taken {
            match upgraded.await {
                Ok(io) => {
                    let open = || {
                        let (id, door) = self.open(&query, way.opener());
                        (GatewayEnd { sim: self, id }, door)
                    };
                    websocket::run(TokioIo::new(io), open).await;
                }
                Err(error) => tracing::debug!(%error, "upgrade failed"),
            }
        }
    }
}

/// The Gateway's end of a WebSocket.
struct GatewayEnd<'a> {
    sim: &'a Sim,
    id: ConnectionId,
}

impl End for GatewayEnd<'_> {
    fn outputs(&self, most: usize) -> (Vec<Output>, Option<Instant>) {
        let (outputs, timeout) = self.sim.outputs(self.id, most);
        (outputs, timeout.map(|at| self.sim.instant(at)))
    }

    fn text(&self, payload: &[u8]) {
        self.sim.received(self.id, payload);
    }

    /// One library sends its JSON so.
    fn binary(&self, payload: &[u8]) {
        self.sim.received(self.id, payload);
    }

    fn closed(&self, code: Option<u16>) {
        self.sim.closed(self.id, code);
    }
}

async fn answer(
    sim: &Sim,
    mut request: HttpRequest,
    upgrading: &Upgrading,
    secure: bool,
) -> Result<HttpResponse, HangUp> {
    if let Some(accept) = wants_gateway(&request) {
        let query = request.uri().query().unwrap_or("").to_owned();
        let upgraded = hyper::upgrade::on(&mut request);
        *upgrading.lock().unwrap_or_else(PoisonError::into_inner) = Some((query, upgraded));
        return Ok(switching(&accept));
    }
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(too_large()),
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let whole = Request {
        method: parts.method.to_string(),
        path: parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body,
        secure,
    };
    let mut made = sim.rest(&whole);
    if !made.delay.is_zero() {
        tokio::time::sleep(made.delay).await;
    }
    if made.hang_up {
        return Err(HangUp);
    }
    let mut response = hyper::Response::new(FaultyBody::of(&mut made));
    *response.status_mut() = hyper::StatusCode::from_u16(made.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in made.headers {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// The `Sec-WebSocket-Accept` for an upgrade of the path `/` (also empty, or with doubled slashes).
fn wants_gateway(request: &HttpRequest) -> Option<String> {
    let upgrade = request.headers().get(UPGRADE)?.to_str().ok()?;
    let root = request.uri().path().bytes().all(|byte| byte == b'/');
    if !upgrade.eq_ignore_ascii_case("websocket") || !root {
        return None;
    }
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?;
    Some(async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes()))
}

pub(super) fn switching(accept: &str) -> HttpResponse {
    let mut response = hyper::Response::new(Bytes::new().into());
    *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn too_large() -> HttpResponse {
    let body = r#"{"message": "Request entity too large", "code": 40005}"#;
    let mut response = hyper::Response::new(Bytes::from_static(body.as_bytes()).into());
    *response.status_mut() = hyper::StatusCode::PAYLOAD_TOO_LARGE;
    response
}
