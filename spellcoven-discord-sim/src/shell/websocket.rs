//! One Gateway connection: frames in, frames out, a timer.

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use async_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::line::{Line, Rules};
use crate::core::Output;
use crate::sim::Door;

/// Frames taken from the world at once, under one lock. A flush follows when none is left.
const BATCH: usize = 256;
/// How long a client may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// What a client's message may have before the connection is broken off; the world judges what is below.
const MESSAGE_LIMIT: usize = 1024 * 1024;

/// How the sending side ended.
enum Sent {
    /// A close frame is out; the client's answer is awaited.
    Closing,
    /// The connection is to be dropped.
    Dropped,
}

/// The world's end of one WebSocket.
pub(super) trait End {
    /// What goes out now, at most so many frames, and when to look again.
    fn outputs(&self, most: usize) -> (Vec<Output>, Option<Instant>);
    /// A text message came.
    fn text(&self, payload: &[u8]);
    /// A binary message came.
    fn binary(&self, payload: &[u8]);
    /// The client's side ended; with its code, or because the connection broke. Told once more at the very end.
    fn closed(&self, code: Option<u16>);
}

/// Runs one WebSocket from its 101 on. `open` is called when it is there.
pub(super) async fn run<T, E>(io: T, open: impl FnOnce() -> (E, Arc<Door>))
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
    E: End,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT));
    let (line, rules) = Line::new(io);
    let socket = WebSocketStream::from_raw_socket(line.compat(), Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let (end, door) = open();
    // If this future is dropped, the network broke.
    let guard = Leaving(end);
    let end = &guard.0;

    let send = send(end, &door, &rules, &mut sink);
    let receive = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Text(text) => end.text(text.as_bytes()),
                Message::Binary(bytes) => end.binary(&bytes),
                // Reading on sends the answer, and ends the stream.
                Message::Close(frame) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    end.closed(Some(code));
                }
                _ => {}
            }
        }
    };
    let sent = tokio::select! {
        biased;
        () = door.cut.notified() => Sent::Dropped,
        sent = send => sent,
        () = receive => Sent::Dropped,
    };
    if matches!(sent, Sent::Closing) {
        let drain = async { while let Some(Ok(_)) = stream.next().await {} };
        // A client that does not answer is dropped all the same.
        let _ = tokio::time::timeout(CLOSE_WAIT, drain).await;
    }
    drop(guard);
}

struct Leaving<E: End>(E);

impl<E: End> Drop for Leaving<E> {
    fn drop(&mut self) {
        self.0.closed(None);
    }
}

async fn send<S>(end: &impl End, door: &Door, rules: &Rules, sink: &mut S) -> Sent
where
    S: futures_util::Sink<Message> + Unpin,
{
    let mut flushed = true;
    loop {
        let (outputs, timeout) = end.outputs(BATCH);
        if outputs.is_empty() && !flushed {
            if sink.flush().await.is_err() {
                return Sent::Dropped;
            }
            flushed = true;
            // More may have come meanwhile.
            continue;
        }
        if outputs.is_empty() {
            let wake = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = door.wake.notified() => {}
                () = wake => {}
            }
            continue;
        }
        for output in outputs {
            match write(sink, rules, output).await {
                Ok(None) => {}
                Ok(Some(ended)) => return ended,
                Err(_) => return Sent::Dropped,
            }
        }
        flushed = false;
    }
}

/// Does one thing, and tells if it was the last. What was fed is not flushed, unless the line's rules change.
async fn write<S>(sink: &mut S, rules: &Rules, output: Output) -> Result<Option<Sent>, S::Error>
where
    S: futures_util::Sink<Message> + Unpin,
{
    match output {
        Output::Text(text) => sink.feed(Message::text(text)).await?,
        Output::Binary(bytes) => sink.feed(Message::binary(bytes)).await?,
        Output::Ping => sink.feed(Message::Ping(Bytes::new())).await?,
        Output::Fragments { text, parts } => {
            let last = parts.len().saturating_sub(1);
            for (number, part) in parts.into_iter().enumerate() {
                let kind = match (number, text) {
                    (0, true) => Data::Text,
                    (0, false) => Data::Binary,
                    _ => Data::Continue,
                };
                let frame = Frame::message(part, OpCode::Data(kind), number == last);
                sink.feed(Message::Frame(frame)).await?;
            }
        }
        Output::Torn { text, payload } => {
            sink.flush().await?;
            rules.stop_after(payload.len().div_ceil(2));
            let kind = if text { Data::Text } else { Data::Binary };
            let frame = Frame::message(payload, OpCode::Data(kind), true);
            // The line breaks in the middle, which is no failure here: `Drop` follows.
            let _ = sink.send(Message::Frame(frame)).await;
            return Ok(Some(Sent::Dropped));
        }
        Output::Pace(pace) => {
            sink.flush().await?;
            rules.set_pace(pace);
        }
        Output::Hush => {
            sink.flush().await?;
            rules.hush();
        }
        Output::Close { code, reason } => {
            let frame = CloseFrame {
                code: CloseCode::from(code),
                reason: (&*reason).into(),
            };
            sink.send(Message::Close(Some(frame))).await?;
            return Ok(Some(Sent::Closing));
        }
        Output::Drop => return Ok(Some(Sent::Dropped)),
    }
    Ok(None)
}
