//! Servers that do nothing but pass on bytes: what a measured server could reach at most with the same libraries.

use std::{convert::Infallible, io, net::SocketAddr};

use async_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};
use bytes::Bytes;
use futures_util::SinkExt as _;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use spellcoven_discord_sim::Response as SimResponse;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

pub(crate) type Socket = WebSocketStream<tokio_util::compat::Compat<TcpStream>>;

/// Messages between two flushes, as many as are made at once for the simulator.
pub(crate) const BATCH: u64 = 256;

/// Takes one WebSocket. The key is the one that the client of this bench sends.
pub(crate) async fn accept_socket(listener: &TcpListener) -> io::Result<Socket> {
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let accept = derive_accept_key(b"AAAAAAAAAAAAAAAAAAAAAA==");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(WebSocketStream::from_raw_socket(stream.compat(), Role::Server, None).await)
}

/// Sends a batch of equal messages.
pub(crate) async fn send_batch(socket: &mut Socket, text: &str) -> Result<(), crate::Error> {
    for _ in 0..BATCH {
        socket.feed(Message::text(text)).await?;
    }
    socket.flush().await?;
    Ok(())
}

/// An HTTP server that gives one and the same answer to everything.
pub(crate) async fn answer(listener: TcpListener, canned: SimResponse) {
    let mut response = Response::new(Full::new(canned.body));
    for (name, value) in canned.headers {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, hyper::header::HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let response = response.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let response: Response<Full<Bytes>> = response.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

pub(crate) async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
