//! One voice gateway connection: dialling, reading and writing, closing.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest as _,
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::{BoxFuture, VoiceConnector, VoiceStream};

type WebSocket = WebSocketStream<Compat<Box<dyn VoiceStream>>>;

/// For dialling and the WebSocket handshake. The session bounds what follows.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// For saying goodbye; after it the stream is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest message that is read. An MLS welcome of a large call has some tens of kilobytes.
const MAX_MESSAGE: usize = 4 << 20;
/// Most messages have some hundred bytes, and a process may have thousands of connections.
const READ_BUFFER: usize = 1 << 10;
/// How many messages may wait for a connection that does not take them. A healthy one takes each at once; with this many
/// waiting it counts as dead, long before the heartbeat would tell.
const MAX_OUTGOING: usize = 512;

pub(super) enum Link {
    Dialing(BoxFuture<'static, io::Result<WebSocket>>),
    Open(Box<Open>),
    /// Nothing more comes.
    Done,
}

pub(super) struct Open {
    socket: WebSocket,
    outgoing: VecDeque<Message>,
    needs_flush: bool,
    overflowed: bool,
}

pub(super) enum LinkEvent {
    Opened,
    Failed(io::Error),
    Text(String),
    Binary(Bytes),
    Closed(Option<u16>),
}

impl Link {
    pub(super) fn dial(connector: Arc<dyn VoiceConnector>, url: String) -> Self {
        let dial = async move {
            let uri: http::Uri = url.parse().map_err(io::Error::other)?;
            let stream = connector.dial(&uri).await?;
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0)
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE));
            let request = url.into_client_request().map_err(io::Error::other)?;
            let (socket, _) =
                async_tungstenite::client_async_with_config(request, stream.compat(), Some(config))
                    .await
                    .map_err(io::Error::other)?;
            Ok(socket)
        };
        Self::Dialing(Box::pin(async move {
            tokio::time::timeout(DIAL_TIMEOUT, dial)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }))
    }

    /// Queues a message; it is written when the connection is polled. Without an open connection it is dropped, which
    /// the session learns by the connection's end.
    pub(super) fn send(&mut self, message: Message) {
        if let Self::Open(open) = self {
            if open.outgoing.len() < MAX_OUTGOING {
                open.outgoing.push_back(message);
            } else {
                open.overflowed = true;
            }
        }
    }

    /// Writes what waits, as far as the connection takes it. Where that fails, the next [`poll`](Self::poll) tells.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        if let Self::Open(open) = self {
            let _ = open.poll_write(cx);
        }
    }

    /// Ends the connection: what was to be sent is sent, then the close frame.
    pub(super) fn close(self, code: u16) -> Option<BoxFuture<'static, ()>> {
        let Self::Open(mut open) = self else {
            return None;
        };
        Some(Box::pin(async move {
            let goodbye = async {
                std::future::poll_fn(|cx| open.poll_write(cx)).await?;
                let frame = CloseFrame {
                    code: code.into(),
                    reason: "".into(),
                };
                open.socket.close(Some(frame)).await?;
                // The peer's answer, so that a close frame is not overtaken by a reset of the stream.
                while std::future::poll_fn(|cx| Pin::new(&mut open.socket).poll_next(cx))
                    .await
                    .is_some_and(|message| message.is_ok())
                {}
                Ok::<_, WsError>(())
            };
            // Whether the peer heard it changes nothing for us.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
        }))
    }

    /// Writes what waits, and gives the next thing that happens. All state is in `self`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LinkEvent> {
        let event = match self {
            Self::Done => return Poll::Pending,
            Self::Dialing(dial) => match ready!(dial.as_mut().poll(cx)) {
                Ok(socket) => {
                    *self = Self::Open(Box::new(Open {
                        socket,
                        outgoing: VecDeque::new(),
                        needs_flush: false,
                        overflowed: false,
                    }));
                    return Poll::Ready(LinkEvent::Opened);
                }
                Err(error) => LinkEvent::Failed(error),
            },
            Self::Open(open) => ready!(open.poll(cx)),
        };
        if matches!(event, LinkEvent::Closed(_) | LinkEvent::Failed(_)) {
            *self = Self::Done;
        }
        Poll::Ready(event)
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LinkEvent> {
        if self.overflowed {
            tracing::warn!("the voice gateway connection takes nothing any more: it is given up");
            return Poll::Ready(LinkEvent::Closed(None));
        }
        // Where writing fails, a close frame that has already arrived says more than the error does; reading finds it.
        let _ = self.poll_write(cx);
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Text(text))) => LinkEvent::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => LinkEvent::Binary(bytes),
                // The stream is dropped without an answer: tungstenite would echo the code, and an echoed 1000 could
                // be taken for ours, which ends the session.
                Some(Ok(Message::Close(frame))) => {
                    LinkEvent::Closed(frame.map(|frame| frame.code.into()))
                }
                // Pings are answered by tungstenite.
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    tracing::debug!(%error, "the voice gateway connection failed");
                    LinkEvent::Closed(None)
                }
                None => LinkEvent::Closed(None),
            });
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        while !self.outgoing.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            if let Some(message) = self.outgoing.pop_front() {
                self.needs_flush = true;
                Pin::new(&mut self.socket).start_send(message)?;
            }
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}
