use std::{
    io,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::BoxFuture;

/// Bytes in both directions, TLS already done where the URL asks for it.
pub trait GatewayStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> GatewayStream for T {}

/// How a shard reaches the Gateway: the seam for proxies and tests.
///
/// The WebSocket handshake is not its business; it follows on the stream.
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream to the host and port of `url`, whose scheme is `ws` or
    /// `wss`. The shard bounds the time
    /// ([`connect_timeout`](crate::ShardBuilder::connect_timeout)) and tries
    /// again later.
    ///
    /// # Errors
    ///
    /// Whatever kept the stream from opening; it is logged, so it must not
    /// quote a secret.
    ///
    /// # Cancel safety
    ///
    /// The shard drops the future when the time is over or it shuts down: what
    /// was begun must end with it.
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn GatewayStream>>>;
}

impl<T: Connector + ?Sized> Connector for Arc<T> {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn GatewayStream>>> {
        (**self).dial(url)
    }
}

/// The default: TCP, and for `wss` TLS by rustls with ring, named explicitly,
/// so that no process-wide crypto provider is read or set.
///
/// Which certificates are trusted is decided by the features
/// `rustls-native-roots` and `rustls-webpki-roots` (both may be on), or by
/// [`with_tls`](Self::with_tls). With neither, a `wss` URL cannot be dialled.
#[derive(Debug, Default)]
pub struct TcpTls {
    /// Read once, at the first dial that needs it.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TcpTls {
    /// The roots of the features.
    pub fn new() -> Self {
        Self::default()
    }

    /// A TLS configuration of the caller's own.
    pub fn with_tls(config: Arc<ClientConfig>) -> Self {
        Self {
            config: OnceLock::from(config),
        }
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots()?)
            .with_no_client_auth();
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

impl Connector for TcpTls {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn GatewayStream>>> {
        let tls = url.scheme_str() == Some("wss");
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        // A URI keeps the brackets of an IPv6 address, a socket address has none.
        let host = url
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        Box::pin(async move {
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            tcp.set_nodelay(true)?;
            if !tls {
                return Ok(Box::new(tcp) as Box<dyn GatewayStream>);
            }
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(self.config()?);
            Ok(Box::new(connector.connect(name, tcp).await?) as Box<dyn GatewayStream>)
        })
    }
}

fn roots() -> io::Result<RootCertStore> {
    #[cfg_attr(
        not(any(feature = "rustls-native-roots", feature = "rustls-webpki-roots")),
        expect(unused_mut, reason = "without a feature there is nothing to add")
    )]
    let mut roots = RootCertStore::empty();
    #[cfg(feature = "rustls-native-roots")]
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    #[cfg(feature = "rustls-webpki-roots")]
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if roots.is_empty() {
        return Err(io::Error::other(
            "no certificate is trusted: switch rustls-native-roots or rustls-webpki-roots on, and see that the system has certificates",
        ));
    }
    Ok(roots)
}
