//! TLS beside plain, with an authority of the run's own.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use spellcoven_discord_sim::{Authority, Sim};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::support::{Client, Http, INTENTS};

async fn connect(
    addr: std::net::SocketAddr,
    name: &'static str,
    ca: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let io = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(name).unwrap(), io)
        .await
}

#[tokio::test]
async fn rest_and_gateway_over_tls_beside_plain() {
    let sim = Sim::builder().seed(3).build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let mut server = sim.listen("127.0.0.1:0").await.unwrap();
    assert_eq!(server.ca_pem(), None);
    let authority = Authority::generate().unwrap();
    server.listen_tls("127.0.0.1:0", &authority).await.unwrap();
    assert!(
        server.listen_tls("127.0.0.1:0", &authority).await.is_err(),
        "once"
    );
    let (addr, ca) = (server.tls_addr().unwrap(), server.ca_pem().unwrap());
    let url = server.tls_gateway_url().unwrap();
    assert_eq!(url, format!("wss://{addr}"));

    for name in ["localhost", "127.0.0.1", "::1"] {
        let io = connect(addr, name, ca).await.unwrap();
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut http = Http::over(io).await;
        let answer = http
            .call("GET", "/api/v10/gateway/bot", &bot.token, None)
            .await;
        let (status, _, body) = answer.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, body["url"].as_str()), (200, Some(url.as_str())));
    }
    let mut plain = Http::over(TcpStream::connect(server.addr()).await.unwrap()).await;
    let (_, _, body) = plain
        .call("GET", "/api/v10/gateway", "", None)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["url"], server.gateway_url());

    let io = connect(addr, "localhost", ca).await.unwrap();
    let mut client = Client::over(io, "v=10").await;
    client.hello().await;
    client.identify(&bot.token, INTENTS).await;
    assert_eq!(client.expect("READY").await["resume_gateway_url"], url);
    server.shutdown().await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn another_authority_and_other_names_are_not_trusted() {
    let sim = Sim::builder().build();
    let mut server = sim.listen("127.0.0.1:0").await.unwrap();
    let authority = Authority::generate().unwrap();
    server.listen_tls("127.0.0.1:0", &authority).await.unwrap();
    let addr = server.tls_addr().unwrap();
    let other = Authority::generate().unwrap();
    assert!(connect(addr, "localhost", other.ca_pem()).await.is_err());
    assert!(
        connect(addr, "discord.com", authority.ca_pem())
            .await
            .is_err()
    );
    assert!(!format!("{authority:?}").contains("PRIVATE"));
}
