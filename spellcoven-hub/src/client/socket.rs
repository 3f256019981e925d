//! One WebSocket: the handshake, frames in and out, the end.

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use futures_util::StreamExt;
use http::Uri;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::connect::{Connector, IoStream};

/// A hub that takes no bytes for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the other side's half of a closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Socket(Box<WebSocketStream<Compat<Box<dyn IoStream>>>>);

/// What came in.
pub(super) enum Frame {
    Text(Utf8Bytes),
    /// A ping, a pong, or binary data, which the protocol does not use.
    Other,
    Closed(Closed),
}

/// How a connection ended.
pub(super) struct Closed {
    pub(super) code: Option<u16>,
    pub(super) reason: String,
}

/// Connects and shakes hands. The error is for a person.
pub(super) async fn dial(
    connector: Arc<dyn Connector>,
    url: Uri,
    max_message_size: usize,
) -> Result<Socket, String> {
    let stream = connector
        .dial(&url)
        .await
        .map_err(|error| describe(&error))?;
    let config = WebSocketConfig::default()
        // Events are small; the default of 128 kB would be most of a client's memory.
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(max_message_size))
        .max_frame_size(Some(max_message_size));
    match async_tungstenite::client_async_with_config(url, stream.compat(), Some(config)).await {
        Ok((socket, _answer)) => Ok(Socket(Box::new(socket))),
        Err(Error::Http(answer)) => Err(format!(
            "the hub answered {} to the WebSocket request",
            answer.status().as_u16()
        )),
        Err(error) => Err(describe(&error)),
    }
}

impl Socket {
    /// The next frame. Cancel safe.
    pub(super) async fn next(&mut self) -> Frame {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Frame::Text(text),
            Some(Ok(Message::Close(frame))) => Frame::Closed(match frame {
                Some(CloseFrame { code, reason }) => Closed {
                    code: Some(code.into()),
                    reason: reason.as_str().to_owned(),
                },
                None => Closed {
                    code: None,
                    reason: "the hub closed the connection".to_owned(),
                },
            }),
            Some(Ok(_)) => Frame::Other,
            Some(Err(error)) => Frame::Closed(Closed {
                code: None,
                reason: describe(&error),
            }),
            None => Frame::Closed(Closed {
                code: None,
                reason: "the connection broke".to_owned(),
            }),
        }
    }

    pub(super) async fn send_text(&mut self, text: String) -> Result<(), String> {
        self.send(Message::Text(text.into())).await
    }

    pub(super) async fn ping(&mut self) -> Result<(), String> {
        self.send(Message::Ping(Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), String> {
        match timeout(WRITE_TIMEOUT, self.0.send(message)).await {
            Ok(result) => result.map_err(|error| describe(&error)),
            Err(_) => Err("the hub takes no data".to_owned()),
        }
    }

    /// Answers the hub's close frame and lets go.
    pub(super) async fn finish(mut self) {
        let _ = timeout(CLOSE_TIMEOUT, self.0.close(None)).await;
    }

    /// Sends a close frame, waits a moment for the hub's, and lets go.
    pub(super) async fn close(mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: Utf8Bytes::default(),
        };
        let goodbye = async {
            if self.0.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.0.next().await {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

/// An error and its causes in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries print the cause as well as giving it.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
