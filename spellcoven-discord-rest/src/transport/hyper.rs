//! The default transport: hyper with a pool of connections.

use std::{fmt, io, sync::Arc, time::Duration};

use ::hyper::body::Body as _;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    BoxFuture, Transport, TransportError,
    connect::{Connector, Dial, Stream},
    tls::{self, TlsError},
};

/// Idle connections are closed after this time, before Discord's edge does it.
const IDLE: Duration = Duration::from_secs(60);
/// Idle connections kept to one host.
const MAX_IDLE: usize = 8;

/// HTTP/1.1 over hyper, with a pool of connections; TLS by rustls on ring.
///
/// The client builds one by itself. Make one to reach Discord (or a simulator)
/// over streams of your own with [`HyperTransport::over`].
#[derive(Clone)]
pub struct HyperTransport {
    client: Client<Connector, Full<Bytes>>,
    max_response_bytes: usize,
}

/// What the client's builder decides for its transport.
pub(crate) struct HyperOptions {
    /// TLS roots; `None` for a base URL that begins with `http://`.
    pub(crate) roots: Option<rustls::RootCertStore>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_response_bytes: usize,
}

impl HyperTransport {
    /// Sends over streams that `dial` opens: a proxy, a Unix socket, or an
    /// in-memory pipe to a simulator. `dial` gets the scheme, host and port;
    /// whatever TLS there is to be is its own.
    ///
    /// A connection must stand within 5 seconds; bodies of answers may have 8 MiB.
    pub fn over<D, F, S>(dial: D) -> Self
    where
        D: Fn(Uri) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let dial: Arc<Dial> = Arc::new(move |uri| {
            let connecting = dial(uri);
            Box::pin(async move { Ok(Stream::new(TokioIo::new(connecting.await?))) })
        });
        let connector = Connector::dial(dial, crate::builder::DEFAULT_CONNECT_TIMEOUT);
        Self::with_connector(connector, crate::builder::DEFAULT_MAX_RESPONSE_BYTES)
    }

    pub(crate) fn new(options: HyperOptions) -> Result<Self, TlsError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(options.connect_timeout));
        let builder = HttpsConnectorBuilder::new();
        let https = match options.roots {
            Some(roots) => builder
                .with_tls_config(tls::config(roots)?)
                .https_only()
                .enable_http1()
                .wrap_connector(http),
            // Nothing is trusted, since no TLS is ever spoken here.
            None => {
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(TlsError::Config)?
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
                builder
                    .with_tls_config(config)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(http)
            }
        };
        Ok(Self::with_connector(
            Connector::network(https, options.connect_timeout),
            options.max_response_bytes,
        ))
    }

    fn with_connector(connector: Connector, max_response_bytes: usize) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            client,
            max_response_bytes,
        }
    }
}

impl Transport for HyperTransport {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let answer = self
                .client
                .request(request.map(Full::new))
                .await
                .map_err(|error| {
                    if error.is_connect() {
                        TransportError::not_sent(error)
                    } else {
                        TransportError::maybe_sent(error)
                    }
                })?;
            let (parts, body) = answer.into_parts();
            // What announces too much is not read at all.
            if body.size_hint().lower() > self.max_response_bytes as u64 {
                return Err(TransportError::response_too_large());
            }
            let body = Limited::new(body, self.max_response_bytes)
                .collect()
                .await
                .map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        TransportError::response_too_large()
                    } else {
                        TransportError::maybe_sent(error)
                    }
                })?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        })
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport")
            .field("max_response_bytes", &self.max_response_bytes)
            .finish_non_exhaustive()
    }
}
