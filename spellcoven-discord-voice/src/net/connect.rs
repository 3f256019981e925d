use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{DatagramSocket, UdpOptions, datagram};

/// A boxed future, as the traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes in both directions, TLS already done where the URL asks for it.
pub trait VoiceStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> VoiceStream for T {}

/// How a client reaches a voice server: the seam for proxies and tests.
pub trait VoiceConnector: Send + Sync + 'static {
    /// Opens a stream to the host and port of `url`, whose scheme is `wss` (Discord names no scheme; a connector may
    /// speak plain where it knows the host to). The WebSocket handshake follows on the stream. The client bounds the
    /// time.
    ///
    /// # Errors
    ///
    /// Whatever kept the stream from opening; it is logged, so it must not quote a secret.
    ///
    /// # Cancel safety
    ///
    /// The client drops the future when the time is over or the call ends: what was begun must end with it.
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>>;

    /// Opens a socket for datagrams to and from `remote`, which the voice server named.
    ///
    /// # Errors
    ///
    /// Whatever kept it from opening.
    ///
    /// # Cancel safety
    ///
    /// As for [`dial`](Self::dial).
    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>>;

    /// Whether [`udp`](Self::udp) does nothing but open a plain UDP socket of this host, so that a
    /// [`VoicePool`](crate::VoicePool) may use sockets of its own in its place, each for several calls. Default: no.
    fn is_plain_udp(&self) -> bool {
        false
    }
}

impl<T: VoiceConnector + ?Sized> VoiceConnector for Arc<T> {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        (**self).dial(url)
    }

    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        (**self).udp(remote, options)
    }

    fn is_plain_udp(&self) -> bool {
        (**self).is_plain_udp()
    }
}

/// The default: TCP with TLS by rustls for the voice gateway, with ring named explicitly, so that no process-wide
/// crypto provider is read or set; and a connected UDP socket, IPv4 or IPv6 as the server's address is.
///
/// Which certificates are trusted is decided by the features `rustls-native-roots` and `rustls-webpki-roots` (both
/// may be on), or by [`with_tls`](Self::with_tls). With neither, a `wss` URL cannot be dialled.
///
/// Clients may share one: `Arc<TcpTlsUdp>` is a connector too, and reads the system's certificates once.
#[derive(Debug, Default)]
pub struct TcpTlsUdp {
    /// Read once, at the first dial that needs it.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TcpTlsUdp {
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

impl VoiceConnector for TcpTlsUdp {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
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
                return Ok(Box::new(tcp) as Box<dyn VoiceStream>);
            }
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(self.config()?);
            Ok(Box::new(connector.connect(name, tcp).await?) as Box<dyn VoiceStream>)
        })
    }

    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        Box::pin(async move {
            let socket = datagram::udp(remote, options)?;
            Ok(Box::new(socket) as Box<dyn DatagramSocket>)
        })
    }

    fn is_plain_udp(&self) -> bool {
        true
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
