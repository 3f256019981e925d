//! The default connector on loopback sockets.

use std::{io, net::SocketAddr, sync::Arc};

use spellcoven_discord_voice::{DatagramSocket, TcpTlsUdp, UdpOptions, VoiceConnector};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};
use tokio_rustls::rustls::{self, pki_types::PrivateKeyDer};

async fn send(socket: &mut dyn DatagramSocket, datagram: &[u8]) -> io::Result<()> {
    std::future::poll_fn(|cx| socket.poll_send(cx, datagram)).await
}

async fn receive(socket: &mut dyn DatagramSocket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 100];
    let length = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await?;
    Ok(buffer[..length].to_vec())
}

async fn there_and_back(any: &str) {
    let server = UdpSocket::bind(any).await.unwrap();
    let stranger = UdpSocket::bind(any).await.unwrap();
    let remote = server.local_addr().unwrap();
    let mut socket = TcpTlsUdp::new()
        .udp(remote, UdpOptions::default())
        .await
        .unwrap();
    send(&mut *socket, b"hello").await.unwrap();
    let mut buffer = [0; 100];
    let (length, from) = server.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"hello");
    let local = socket.local_addr().unwrap();
    assert_eq!(local.port(), from.port());
    // What others send does not arrive.
    stranger.send_to(b"spam", from).await.unwrap();
    server.send_to(b"answer", from).await.unwrap();
    assert_eq!(receive(&mut *socket).await.unwrap(), b"answer");
}

#[tokio::test]
async fn datagrams_go_there_and_back_over_ipv4() {
    there_and_back("127.0.0.1:0").await;
}

#[tokio::test]
async fn datagrams_go_there_and_back_over_ipv6() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        println!("this machine has no IPv6");
        return;
    }
    there_and_back("[::1]:0").await;
}

#[tokio::test]
async fn a_datagram_to_nowhere_does_not_end_the_socket() {
    let gone: SocketAddr = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.local_addr().unwrap()
    };
    let mut socket = TcpTlsUdp::new()
        .udp(gone, UdpOptions::default())
        .await
        .unwrap();
    send(&mut *socket, b"x").await.unwrap();
    let back = UdpSocket::bind(gone).await.unwrap();
    let local = socket.local_addr().unwrap();
    back.send_to(b"here", local).await.unwrap();
    // Where the system tells of the ICMP answer, it is an error that passes.
    let first = receive(&mut *socket).await;
    let got = match first {
        Ok(datagram) => datagram,
        Err(_) => receive(&mut *socket).await.unwrap(),
    };
    assert_eq!(got, b"here");
}

#[tokio::test]
async fn wss_is_tls_and_the_certificate_is_checked() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.write_all(b"hi").await;
                let _ = tls.shutdown().await;
            }
        }
    });
    let url: http::Uri = format!("wss://localhost:{port}/?v=8").parse().unwrap();
    let trusting = |roots| {
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TcpTlsUdp::with_tls(Arc::new(config))
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut stream = trusting(roots).dial(&url).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hi");
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(other.cert.der().clone()).unwrap();
    assert!(trusting(roots).dial(&url).await.is_err());
}
