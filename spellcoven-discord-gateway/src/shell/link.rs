//! One WebSocket connection: dialling, reading and writing, closing.

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
use futures_util::{Sink as _, Stream as _};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::{BoxFuture, Connector, GatewayStream};

pub(super) type WebSocket = WebSocketStream<Compat<Box<dyn GatewayStream>>>;

/// For saying goodbye; after it the stream is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) enum Link {
    None,
    Dialing(BoxFuture<'static, Result<WebSocket, WsError>>),
    Open(Box<Open>),
}

pub(super) struct Open {
    socket: WebSocket,
    /// Bounded by what the protocol sends per minute: 120 messages.
    outgoing: VecDeque<String>,
    needs_flush: bool,
}

pub(super) enum LinkEvent {
    Connected,
    ConnectFailed(WsError),
    Message(Message),
    Closed(Option<u16>),
}

impl Link {
    pub(super) fn dial(
        connector: Arc<dyn Connector>,
        url: String,
        max_message_size: usize,
    ) -> Self {
        Self::Dialing(Box::pin(async move {
            let uri: http::Uri = url.parse().map_err(io::Error::other)?;
            let stream = connector.dial(&uri).await?;
            let config = WebSocketConfig::default()
                .read_buffer_size(16 << 10)
                .write_buffer_size(0)
                .max_message_size(Some(max_message_size))
                .max_frame_size(Some(max_message_size));
            let request = url.into_client_request()?;
            let (socket, _) =
                async_tungstenite::client_async_with_config(request, stream.compat(), Some(config))
                    .await?;
            Ok(socket)
        }))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    pub(super) fn send(&mut self, text: String) {
        if let Self::Open(open) = self {
            open.outgoing.push_back(text);
        }
    }

    /// Ends the connection: what was to be sent is sent, then the close frame.
    pub(super) fn close(&mut self, code: u16) -> Option<BoxFuture<'static, ()>> {
        let Self::Open(mut open) = std::mem::replace(self, Self::None) else {
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
                // The peer's answer, so that a close frame is not overtaken by
                // a reset of the stream.
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

    /// The next thing that happens on the connection. Nothing is read unless
    /// `reading`. Pends for ever without a connection.
    ///
    /// Dropping the future loses nothing: all state is in `self`.
    pub(super) async fn next(&mut self, reading: bool) -> LinkEvent {
        std::future::poll_fn(|cx| self.poll_next(cx, reading)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<LinkEvent> {
        match self {
            Self::None => Poll::Pending,
            Self::Dialing(dial) => match ready!(dial.as_mut().poll(cx)) {
                Ok(socket) => {
                    let outgoing = VecDeque::new();
                    *self = Self::Open(Box::new(Open {
                        socket,
                        outgoing,
                        needs_flush: false,
                    }));
                    Poll::Ready(LinkEvent::Connected)
                }
                Err(error) => {
                    *self = Self::None;
                    Poll::Ready(LinkEvent::ConnectFailed(error))
                }
            },
            Self::Open(open) => {
                let event = ready!(open.poll(cx, reading));
                if let LinkEvent::Closed(_) = event {
                    *self = Self::None;
                }
                Poll::Ready(event)
            }
        }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<LinkEvent> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx)
            && !reading
        {
            // While reading, a close frame that has already arrived says more
            // than the failed write does.
            return Poll::Ready(closed(&error));
        }
        if !reading {
            return Poll::Pending;
        }
        match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            // The stream is dropped without an answer: tungstenite would echo
            // the code, and an echoed 1000 could be taken for ours, which ends
            // the session.
            Some(Ok(Message::Close(frame))) => {
                Poll::Ready(LinkEvent::Closed(frame.map(|frame| frame.code.into())))
            }
            Some(Ok(message)) => Poll::Ready(LinkEvent::Message(message)),
            Some(Err(error)) => Poll::Ready(closed(&error)),
            None => Poll::Ready(LinkEvent::Closed(None)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        while !self.outgoing.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            if let Some(text) = self.outgoing.pop_front() {
                self.needs_flush = true;
                Pin::new(&mut self.socket).start_send(Message::text(text))?;
            }
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn closed(error: &WsError) -> LinkEvent {
    tracing::debug!(%error, "the connection failed");
    LinkEvent::Closed(None)
}
