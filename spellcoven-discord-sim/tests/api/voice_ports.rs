//! A voice server on real ports: TLS and UDP on loopback.

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;
use futures_util::io::{AsyncRead, AsyncWrite};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use spellcoven_discord_sim::Authority;
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::support::scene;
use super::voice_support::{AES, Crypto, discovered, discovery, join};

#[tokio::test]
async fn a_call_over_tls_and_udp() {
    tokio::time::timeout(Duration::from_secs(20), call("127.0.0.1:0"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_call_over_ipv6() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        return;
    }
    tokio::time::timeout(Duration::from_secs(20), call("[::1]:0"))
        .await
        .unwrap();
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocketStream<S>) -> Value {
    loop {
        if let Message::Text(text) = ws.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn call(addr: &str) {
    let scene = scene();
    let mut server = scene.sim.listen("127.0.0.1:0").await.unwrap();
    let authority = Authority::generate().unwrap();
    let voice = server.listen_voice(addr, &authority).await.unwrap();
    assert_eq!(
        scene.sim.voice_servers(),
        std::slice::from_ref(&voice),
        "in the place of the first"
    );
    let (_client, ticket) = join(&scene).await;
    assert_eq!(ticket.endpoint, json!(voice.endpoint));

    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(&voice.endpoint).await.unwrap();
    let ip = tcp.peer_addr().unwrap().ip();
    let name = ServerName::IpAddress(ip.into());
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, tcp).await.unwrap();
    let url = format!("ws://{}/?v=8", voice.endpoint);
    let (mut ws, _) = async_tungstenite::client_async(url, tls.compat())
        .await
        .unwrap();

    assert_eq!(next(&mut ws).await["op"], 8);
    let identify = json!({"op": 0, "d": ticket.identify()});
    ws.send(Message::text(identify.to_string())).await.unwrap();
    let ready = next(&mut ws).await["d"].clone();
    assert_eq!(ready["ip"], ip.to_string());
    assert_eq!(ready["port"], voice.udp.port());
    let ssrc = ready["ssrc"].as_u64().unwrap() as u32;
    let udp = UdpSocket::bind((ip, 0)).await.unwrap();
    udp.connect(voice.udp).await.unwrap();
    udp.send(&discovery(ssrc)).await.unwrap();
    let mut bytes = [0; 2000];
    let len = udp.recv(&mut bytes).await.unwrap();
    let (address, port) = discovered(&bytes[..len], ssrc);
    assert_eq!(
        (address.as_str(), port),
        (ip.to_string().as_str(), udp.local_addr().unwrap().port())
    );
    let select = json!({"op": 1, "d": {
        "protocol": "udp", "data": {"address": address, "port": port, "mode": AES},
    }});
    ws.send(Message::text(select.to_string())).await.unwrap();
    let description = next(&mut ws).await["d"].clone();
    let key: Vec<u8> = serde_json::from_value(description["secret_key"].clone()).unwrap();
    let mut crypto = Crypto::new(AES, &key);
    // A packet is counted once it has come and is opened.
    let mut packet = vec![0x80, 120, 0, 1, 0, 0, 0, 2];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0xF8, 0xFF, 0xFE]);
    udp.send(&crypto.seal(&packet, 12)).await.unwrap();
    while scene
        .sim
        .media()
        .get(&scene.bot.user_id)
        .is_none_or(|counts| counts.packets == 0)
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = server.listen_voice(addr, &authority).await.unwrap();
    assert_eq!(scene.sim.voice_servers(), [voice, other]);
    server.shutdown().await;
}
