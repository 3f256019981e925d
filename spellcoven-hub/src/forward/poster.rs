//! The seam to HTTP, and its implementation on hyper.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::future::BoxFuture;
use crate::wire::headers::REQUEST_ID;

/// An answer is a few dozen bytes; more than this is not the hub's.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Makes one HTTP post to the hub's endpoint.
///
/// The forwarder gives it signed headers and the body, never two posts at once,
/// and drops the future when no answer has come within the time-out.
pub trait Poster: Send + Sync + 'static {
    /// Posts `body` with `headers` (content type, signature, delivery id).
    ///
    /// Any HTTP answer is `Ok`, whatever its status. Redirects must not be
    /// followed.
    fn post(&self, headers: HeaderMap, body: Bytes)
    -> BoxFuture<'_, Result<PostAnswer, PostError>>;
}

impl<T: Poster + ?Sized> Poster for Arc<T> {
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
        (**self).post(headers, body)
    }
}

/// What the hub answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, where it came as a number of seconds.
    pub retry_after: Option<Duration>,
    /// `X-Request-Id`, for the log.
    pub request_id: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl PostAnswer {
    /// An answer with a status and a body, and neither of the headers.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            retry_after: None,
            request_id: None,
            body: body.into(),
        }
    }

    /// Takes the status, and what matters of the headers.
    #[must_use]
    pub fn from_parts(parts: &http::response::Parts, body: impl Into<Bytes>) -> Self {
        let text = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        Self {
            retry_after: text(RETRY_AFTER.as_str())
                .and_then(|value| value.trim().parse().ok())
                .map(Duration::from_secs),
            // It goes to the log: printable and short, whoever sent it.
            request_id: text(REQUEST_ID)
                .filter(|id| id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()))
                .map(str::to_owned),
            ..Self::new(parts.status.as_u16(), body)
        }
    }

    /// Sets the wait that the hub asks for.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets the id of the request, which the log line of a dropped event names.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}

/// No answer came: the transport is at fault. The forwarder tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The hub could not be reached, or the connection broke.
    #[error("the hub could not be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer's body broke off or was over 64 kB.
    #[error("the hub's answer could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request could not be built; the endpoint or a header is at fault.
    #[error("the request could not be built")]
    Request(#[source] http::Error),
}

/// The [`Poster`] in use unless another is given: HTTP/1.1 on hyper over a
/// connection that is kept open, with TCP_NODELAY, and TLS by rustls with ring
/// and the system's root certificates. Redirects are not followed, proxies not
/// used.
#[derive(Clone)]
pub struct HyperPoster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
}

impl fmt::Debug for HyperPoster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperPoster").finish_non_exhaustive()
    }
}

/// Why a [`HyperPoster`] cannot be made; the configuration is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an absolute `http://` or `https://` address.
    #[error("the endpoint must be an absolute http:// or https:// address")]
    Address,
    /// TLS cannot be set up with ring's defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl HyperPoster {
    /// Prepares posts to `endpoint`, such as
    /// `https://your-domain.example/api/internal/events`. Nothing is sent, but
    /// for `https` the system's root certificates are read.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    pub fn new(endpoint: &str) -> Result<Self, EndpointError> {
        let endpoint: Uri = endpoint.parse().map_err(|_| EndpointError::Address)?;
        let https = match endpoint.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EndpointError::Address),
        };
        if endpoint.host().is_none_or(str::is_empty) {
            return Err(EndpointError::Address);
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // An event is one small write; Nagle's algorithm would hold it back.
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(https).map_err(EndpointError::Tls)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, endpoint })
    }
}

fn tls_config(with_roots: bool) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    if with_roots {
        // Unreadable certificates are skipped: the handshake fails, and says
        // so, where one of them was needed.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

impl Poster for HyperPoster {
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
        Box::pin(async move {
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(self.endpoint.clone())
                .body(Full::new(body))
                .map_err(PostError::Request)?;
            *request.headers_mut() = headers;
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| PostError::Transport(error.into()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT)
                .collect()
                .await
                .map_err(PostError::Body)?;
            Ok(PostAnswer::from_parts(&parts, body.to_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_http_addresses_are_endpoints() {
        assert!(HyperPoster::new("http://127.0.0.1:8000/api/internal/events").is_ok());
        for wrong in [
            "",
            "/api/internal/events",
            "127.0.0.1:80",
            "ftp://hub.example/",
            "http:///x",
        ] {
            assert!(
                matches!(HyperPoster::new(wrong), Err(EndpointError::Address)),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn the_headers_that_matter_are_taken_and_nothing_unprintable() {
        let answer = |name: &str, value: &[u8]| {
            let (parts, ()) = http::Response::builder()
                .status(503)
                .header(name, value)
                .body(())
                .unwrap()
                .into_parts();
            PostAnswer::from_parts(&parts, "")
        };
        assert_eq!(
            answer("retry-after", b"7").retry_after,
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            answer("retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT").retry_after,
            None
        );
        assert_eq!(
            answer("x-request-id", b"abc-1").request_id.as_deref(),
            Some("abc-1")
        );
        assert_eq!(answer("x-request-id", b"a b").request_id, None);
        assert_eq!(answer("x-request-id", &[b'x'; 129]).request_id, None);
    }
}
