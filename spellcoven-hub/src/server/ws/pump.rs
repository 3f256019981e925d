use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::server::log::{Cursor, Head};

/// Bytes handed to the socket at once. Small, since the WebSocket's write buffer never shrinks again: after a flood, a
/// connection keeps this and a piece, rounded up.
const BATCH: usize = 3 * 1024;
/// A longer message is sent in pieces of this size (RFC 6455, section 5.4), for the same reason: a snapshot would leave a buffer
/// of its size behind with everyone who got it.
const PIECE: usize = 2 * 1024;
/// Answers that may wait for a client; until it takes them, nothing more is read from it.
const MAX_DIRECT: usize = 16;
/// The read buffer of an idle connection; clients send little. It grows with a message that is larger.
const READ_BUFFER: usize = 512;

/// Moves messages between a WebSocket and the log, both ways at once, without a lock.
pub(super) struct Pump<S> {
    ws: WebSocketStream<Compat<S>>,
    /// Answers to this client, before events.
    direct: VecDeque<Message>,
    /// A snapshot, to be sent when the reader stands at this number.
    snapshot: Option<(u64, Utf8Bytes)>,
    cursor: Option<Cursor>,
    /// What is left of a message that is sent in pieces; nothing but control frames may come in between.
    rest: Bytes,
    /// The bytes of the log up to which everything was handed to the transport.
    flushed: u64,
    /// Where the log ended when the client resumed: what it had missed does not count as slowness.
    catch_up: u64,
    dirty: bool,
    /// Events handed to the transport since last asked.
    delivered: u64,
    /// Events in the WebSocket's buffer.
    batch: u64,
}

/// What a connection brought.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    Binary,
    Control,
    /// The peer closed, perhaps with a code.
    Closed(Option<u16>),
    /// The peer is gone without a word.
    Gone,
    TooLarge,
    /// The peer broke the WebSocket protocol.
    Protocol,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    pub(super) async fn new(io: S, max_message: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Nothing is written before the flush, so a batch costs one write.
            .write_buffer_size(2 * (BATCH + PIECE))
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let ws = WebSocketStream::from_raw_socket(io.compat(), Role::Server, Some(config)).await;
        Self {
            ws,
            direct: VecDeque::new(),
            snapshot: None,
            cursor: None,
            rest: Bytes::new(),
            flushed: 0,
            catch_up: 0,
            dirty: false,
            delivered: 0,
            batch: 0,
        }
    }

    /// Sends an answer before any further event.
    pub(super) fn send(&mut self, message: Message) {
        self.direct.push_back(message);
    }

    /// Begins to deliver what comes after the cursor. `head` is where the log ends now.
    pub(super) fn go_live(&mut self, cursor: Cursor, head: Head) {
        self.flushed = cursor.at().offset;
        self.catch_up = head.offset;
        self.cursor = Some(cursor);
    }

    /// Sends a snapshot as soon as all events that it contains are sent. One that still waits is replaced by the newer.
    pub(super) fn send_snapshot(&mut self, seq: u64, message: Utf8Bytes) {
        self.snapshot = Some((seq, message));
    }

    /// The number of the last event handed over.
    pub(super) fn position(&self) -> u64 {
        self.cursor.as_ref().map_or(0, |cursor| cursor.at().seq)
    }

    /// The bytes of the log that wait for this client, without what it had missed before it came.
    pub(super) fn buffered(&self, head: Head) -> u64 {
        if self.cursor.is_none() {
            0
        } else {
            head.offset.saturating_sub(self.flushed.max(self.catch_up))
        }
    }

    /// Events handed to the transport since the last call.
    pub(super) fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    /// Writes what can be written; then reads, if wanted. Pending only when both wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Incoming> {
        if self.poll_write(cx).is_err() {
            return Poll::Ready(Incoming::Gone);
        }
        // Who does not take its answers is not asked for more; its silence ends the connection.
        if !read || self.direct.len() >= MAX_DIRECT {
            return Poll::Pending;
        }
        let Poll::Ready(next) = Pin::new(&mut self.ws).poll_next(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(match next {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(_))) => Incoming::Binary,
            Some(Ok(Message::Close(frame))) => {
                Incoming::Closed(frame.map(|frame| frame.code.into()))
            }
            Some(Ok(Message::Ping(_))) => {
                // The pong is queued; the next flush sends it.
                self.dirty = true;
                Incoming::Control
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Incoming::Control,
            Some(Err(Error::Capacity(_))) => Incoming::TooLarge,
            // Not the peer's mistake, but its end: the connection broke.
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                Incoming::Gone
            }
            Some(Err(Error::Protocol(_) | Error::Utf8(_))) => Incoming::Protocol,
            Some(Err(_)) | None => Incoming::Gone,
        })
    }

    /// Says farewell and waits until the peer has answered, at most so long.
    pub(super) async fn close(&mut self, code: u16, reason: &'static str, wait: Duration) {
        // Events of the log are not sent any more: the client resumes after the last that it got. A message that is half
        // sent is completed, since an error message may follow.
        self.cursor = None;
        self.snapshot = None;
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: Utf8Bytes::from_static(reason),
        };
        self.send(Message::Close(Some(frame)));
        let farewell = async {
            // Until the peer has answered; a peer that broke the protocol is not understood any more.
            let written = poll_fn(|cx| {
                while let Poll::Ready(incoming) = self.poll(cx, true) {
                    if !matches!(
                        incoming,
                        Incoming::Text(_) | Incoming::Binary | Incoming::Control
                    ) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            });
            written.await;
            self.flush().await;
            self.drain().await;
        };
        let _ = tokio::time::timeout(wait, farewell).await;
    }

    /// Writes what is left after the peer closed, at most so long.
    pub(super) async fn finish(&mut self, wait: Duration) {
        self.cursor = None;
        self.rest = Bytes::new();
        self.snapshot = None;
        // The answer to the close frame is in the WebSocket's buffer.
        self.dirty = true;
        let _ = tokio::time::timeout(wait, self.flush()).await;
    }

    async fn flush(&mut self) {
        poll_fn(|cx| match self.poll_write(cx) {
            Ok(false) => Poll::Pending,
            Ok(true) | Err(_) => Poll::Ready(()),
        })
        .await;
    }

    /// Reads to the end: over TCP, a connection closed with unread input is reset, and the close frame may be lost.
    async fn drain(&mut self) {
        let io = self.ws.get_mut().get_mut();
        let mut buffer = [0; 1024];
        let _ = io.shutdown().await;
        while let Ok(1..) = io.read(&mut buffer).await {}
    }

    /// Whether all is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        loop {
            if self.dirty {
                match Pin::new(&mut self.ws).poll_flush(cx) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => return Ok(false),
                }
                self.dirty = false;
                self.delivered += std::mem::take(&mut self.batch);
                self.flushed = self
                    .cursor
                    .as_ref()
                    .map_or(self.flushed, |cursor| cursor.at().offset);
            }
            let mut bytes = 0;
            while bytes < BATCH {
                match Pin::new(&mut self.ws).poll_ready(cx) {
                    Poll::Ready(result) => result?,
                    // Only after a blocked write, and then `dirty` was set and the flush came first.
                    Poll::Pending => return Ok(false),
                }
                let Some(message) = self.next_message() else {
                    break;
                };
                bytes += message.len();
                Pin::new(&mut self.ws).start_send(message)?;
                self.dirty = true;
            }
            if !self.dirty {
                return Ok(true);
            }
        }
    }

    fn next_message(&mut self) -> Option<Message> {
        if !self.rest.is_empty() {
            let piece = self.rest.split_to(PIECE.min(self.rest.len()));
            let last = self.rest.is_empty();
            let piece = Frame::message(piece, OpCode::Data(Data::Continue), last);
            return Some(Message::Frame(piece));
        }
        match self.next_whole()? {
            Message::Text(text) if text.len() > PIECE => {
                self.rest = text.into();
                let piece = self.rest.split_to(PIECE);
                let piece = Frame::message(piece, OpCode::Data(Data::Text), false);
                Some(Message::Frame(piece))
            }
            message => Some(message),
        }
    }

    fn next_whole(&mut self) -> Option<Message> {
        if let Some(message) = self.direct.pop_front() {
            return Some(message);
        }
        let position = self.position();
        if let Some((_, message)) = self.snapshot.take_if(|(seq, _)| *seq <= position) {
            return Some(Message::Text(message));
        }
        let text = self.cursor.as_mut()?.advance()?.clone();
        self.batch += 1;
        Some(Message::Text(text))
    }
}

/// A server's ping.
pub(super) fn ping() -> Message {
    Message::Ping(Bytes::new())
}
