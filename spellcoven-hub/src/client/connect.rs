//! The seam to the network, and its implementation on TCP and TLS.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::future::BoxFuture;

/// A byte stream in both directions. Implemented by everything that fits.
pub trait IoStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> IoStream for T {}

/// Opens the byte stream that the WebSocket runs on.
pub trait Connector: Send + Sync + 'static {
    /// Connects to the host of `url` (scheme `ws` or `wss`), TLS included for
    /// `wss`. Dropped after 10 s, the WebSocket handshake included.
    fn dial<'a>(&'a self, url: &'a Uri) -> BoxFuture<'a, Result<Box<dyn IoStream>, DialError>>;
}

impl<T: Connector + ?Sized> Connector for Arc<T> {
    fn dial<'a>(&'a self, url: &'a Uri) -> BoxFuture<'a, Result<Box<dyn IoStream>, DialError>> {
        (**self).dial(url)
    }
}

/// No stream; the transport is at fault. The client tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The connection could not be made.
    #[error("the hub could not be reached")]
    Connect(#[source] std::io::Error),
    /// The TLS handshake failed: a certificate, or no TLS at that address.
    #[error("TLS failed")]
    Tls(#[source] std::io::Error),
    /// The address has no host, or one that TLS cannot name.
    #[error("the address has no host that can be connected to")]
    Address,
}

/// The [`Connector`] in use unless another is given: TCP with TCP_NODELAY, and
/// rustls with ring and the system's root certificates for `wss`.
#[derive(Clone)]
pub struct TcpTlsConnector {
    tls: Option<TlsConnector>,
}

impl fmt::Debug for TcpTlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTlsConnector")
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl TcpTlsConnector {
    /// For `ws` and `wss`; reads the system's root certificates.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up with ring's defaults.
    pub fn new() -> Result<Self, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        // Unreadable certificates are skipped: the handshake fails, and says
        // so, where one of them was needed.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::with_tls(Arc::new(config)))
    }

    /// For `ws` and `wss`, with this TLS configuration.
    #[must_use]
    pub fn with_tls(config: Arc<rustls::ClientConfig>) -> Self {
        Self {
            tls: Some(TlsConnector::from(config)),
        }
    }

    /// For `ws` only; a `wss` address fails with [`DialError::Address`].
    #[must_use]
    pub fn plain() -> Self {
        Self { tls: None }
    }
}

impl Connector for TcpTlsConnector {
    fn dial<'a>(&'a self, url: &'a Uri) -> BoxFuture<'a, Result<Box<dyn IoStream>, DialError>> {
        Box::pin(async move {
            let secure = url.scheme_str() == Some("wss");
            // An IPv6 address stands in brackets in a URL, and without them
            // everywhere else.
            let host = url.host().ok_or(DialError::Address)?;
            let host = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
            let tcp = TcpStream::connect((host, port))
                .await
                .map_err(DialError::Connect)?;
            tcp.set_nodelay(true).map_err(DialError::Connect)?;
            if !secure {
                return Ok(Box::new(tcp) as Box<dyn IoStream>);
            }
            let tls = self.tls.as_ref().ok_or(DialError::Address)?;
            let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::Address)?;
            Ok(
                Box::new(tls.connect(name, tcp).await.map_err(DialError::Tls)?)
                    as Box<dyn IoStream>,
            )
        })
    }
}
