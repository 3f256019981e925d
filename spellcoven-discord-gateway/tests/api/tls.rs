//! `wss` on loopback with certificates made here, and no process-wide crypto
//! provider.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use spellcoven_discord_gateway::{Event, Shard, ShardBuilder, Shutdown, TcpTls};
use spellcoven_discord_sim::Sim;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A root made for this test alone, and a server for `localhost` whose
/// certificate it has signed.
fn certificates() -> (CertificateDer<'static>, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (root.der().clone(), config)
}

/// A shard's settings for the simulator behind TLS, with these roots to trust,
/// or with the server's.
async fn shard(roots: Option<RootCertStore>) -> (Sim, ShardBuilder) {
    let sim = Sim::builder().build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let (root, config) = certificates();
    let roots = roots.unwrap_or_else(|| {
        let mut own = RootCertStore::empty();
        own.add(root).unwrap();
        own
    });
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = sim.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            if let Ok(io) = acceptor.accept(io).await {
                let server = server.clone();
                tokio::spawn(async move { server.serve_connection(io).await });
            }
        }
    });
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = Shard::builder(bot.token.as_str())
        .gateway_url(format!("wss://localhost:{port}"))
        .connector(TcpTls::with_tls(Arc::new(tls)));
    (sim, builder)
}

#[tokio::test]
async fn a_session_over_wss_with_a_root_of_ones_own() {
    let (_sim, builder) = shard(None).await;
    let mut shard = builder.start();
    let event = shard.next_event().await.unwrap().unwrap().event;
    assert!(matches!(event, Event::Ready(_)), "{event:?}");
    assert!(shard.shutdown(Shutdown::KeepSession).await.is_some());
    assert!(
        CryptoProvider::get_default().is_none(),
        "nothing was installed for the process"
    );
}

/// Nothing is sent to a server whom nobody vouches for; the shard tries again.
#[tokio::test]
async fn an_unknown_root_is_refused() {
    let (sim, builder) = shard(Some(RootCertStore::empty())).await;
    let before = sim.journal().entries().len();
    let shard = builder.start();
    let handle = shard.handle();
    let mut states = handle.watch();
    while handle.status().reconnects == 0 {
        states.changed().await.unwrap();
    }
    assert_eq!(handle.status().identifies, 0);
    assert_eq!(sim.journal().entries().len(), before, "nothing arrived");
}
