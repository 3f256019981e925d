//! Hyper over pipes and over loopback.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use spellcoven_discord_rest::{
    BotToken, DiscordRestClient, HyperTransport, RestErrorKind, TransportErrorKind,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::support::{assert_kind, channel_id};

/// A server that reads one request for each connection and writes what it is told.
fn scripted_server(answer: &'static [u8]) -> (HyperTransport, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let transport = HyperTransport::over(move |_| {
        let (near, far) = tokio::io::duplex(4096);
        let seen = seen.clone();
        tokio::spawn(serve(far, answer, seen));
        async move { Ok(near) }
    });
    (transport, requests)
}

async fn serve(mut io: DuplexStream, answer: &'static [u8], seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        match io.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => request.extend_from_slice(&buffer[..n]),
        }
    }
    seen.lock()
        .unwrap()
        .push(String::from_utf8(request).unwrap());
    let _ = io.write_all(answer).await;
}

fn client(transport: HyperTransport) -> DiscordRestClient {
    DiscordRestClient::builder(BotToken::new("t").unwrap())
        .base_url("http://discord.test:80/api/v10")
        .transport(transport)
        .max_retries(0)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn over_a_pipe() {
    let (transport, requests) =
        scripted_server(b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"id\":\"2\",\"type\":2}");
    let channel = client(transport).get_channel(channel_id()).await.unwrap();
    assert_eq!(channel.id, channel_id());
    let request = requests.lock().unwrap()[0].to_lowercase();
    assert!(
        request.starts_with("get /api/v10/channels/2 http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: discord.test"), "{request}");
}

/// The body ends in the middle: the outcome of a change would be unknown.
#[tokio::test(start_paused = true)]
async fn a_body_cut_short_is_not_an_answer() {
    let (transport, _) =
        scripted_server(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"id\":\"2\"");
    assert_kind!(
        client(transport)
            .get_channel(channel_id())
            .await
            .unwrap_err(),
        RestErrorKind::Transport
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large() {
    let (transport, _) = scripted_server(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{");
    let error = client(transport)
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Transport);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the answer is larger than allowed");
}

#[tokio::test(start_paused = true)]
async fn what_was_surely_not_sent() {
    use spellcoven_discord_rest::Transport as _;
    let refused =
        HyperTransport::over(|_| async { Err::<DuplexStream, _>(io::Error::other("refused")) });
    let never = HyperTransport::over(|_| std::future::pending::<io::Result<DuplexStream>>());
    let request = || {
        http::Request::get("http://discord.test/")
            .body(bytes::Bytes::new())
            .unwrap()
    };
    for transport in [refused, never] {
        let start = tokio::time::Instant::now();
        let error = transport.send(request()).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::NotSent);
        assert!(start.elapsed() <= Duration::from_secs(6));
    }
    // The peer hangs up after the request: nobody knows.
    let (transport, requests) = scripted_server(b"");
    let error = transport.send(request()).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::MaybeSent);
    assert_eq!(requests.lock().unwrap().len(), 1);
}

/// Real sockets: a refused connection is retried and then reported as such.
#[tokio::test]
async fn nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = DiscordRestClient::builder(BotToken::new("t").unwrap())
        .base_url(format!("http://{address}/api/v10"))
        .max_retries(1)
        .build()
        .unwrap();
    let error = client
        .create_voice_channel(twilight_model::id::Id::new(1), "x")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Transport);
    assert_eq!(error.attempts(), 2);
}
