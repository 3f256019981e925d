//! TLS with ring, without a process-wide provider.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use spellcoven_discord_rest::{
    BotToken, DiscordRestClient, DiscordRestClientBuilder, RestErrorKind,
};
use spellcoven_discord_sim::{Bot, Sim};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::support::assert_kind;

/// A root made for this test alone (as PEM), and a server for `localhost` whose
/// certificate it has signed.
fn certificates() -> (String, ServerConfig) {
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
    (root.pem(), config)
}

/// The simulator behind TLS on loopback; with the root to trust.
async fn discord() -> (SocketAddr, Bot, String) {
    let sim = Sim::builder().build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let (root, config) = certificates();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            if let Ok(io) = acceptor.accept(io).await {
                sim.serve_connection(io).await;
            }
        }
    });
    (address, bot, root)
}

fn builder(address: SocketAddr, bot: &Bot) -> DiscordRestClientBuilder {
    DiscordRestClient::builder(BotToken::new(bot.token.clone()).unwrap())
        .base_url(format!("https://localhost:{}/api/v10", address.port()))
        .max_retries(0)
}

#[tokio::test]
async fn with_a_root_certificate_of_ones_own() {
    let (address, bot, root) = discord().await;
    let client = builder(address, &bot)
        .extra_root_certificates(root)
        .build()
        .unwrap();
    client.get_gateway_bot().await.unwrap();
    assert!(
        CryptoProvider::get_default().is_none(),
        "nothing was installed for the process"
    );
}

/// And it was never sent, so even a create may be repeated.
#[cfg(any(feature = "rustls-native-roots", feature = "rustls-webpki-roots"))]
#[tokio::test]
async fn an_unknown_root_is_refused() {
    let (address, bot, _) = discord().await;
    let Ok(client) = builder(address, &bot).build() else {
        return; // This machine trusts nobody at all.
    };
    let error = client
        .create_voice_channel(twilight_model::id::Id::new(1), "x")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Transport);
}

/// `http://` is spoken only where the base URL says so.
#[tokio::test]
async fn plain_text_is_not_an_answer_to_https() {
    let sim = Sim::builder().build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let server = sim.listen("127.0.0.1:0").await.unwrap();
    let client = builder(server.addr(), &bot)
        .extra_root_certificates(certificates().0)
        .build()
        .unwrap();
    assert_kind!(
        client.get_gateway_bot().await.unwrap_err(),
        RestErrorKind::Transport
    );
    server.shutdown().await;
}
