//! One WebSocket: its queue, its deadlines, its send limit.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::World;
use super::compress::{Codec, Encoded, SYNC_MARK};
use super::session::{Event, SessionKey};
use crate::ids::UserId;
use crate::journal::EntryKind;

/// Number of a WebSocket, from 1 in the order of opening; the journal names it `#1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something to do on a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send this text message.
    Text(String),
    /// Send this binary message.
    Binary(Vec<u8>),
    /// Send one message in so many frames (RFC 6455, 5.4).
    Fragments {
        /// Whether it is a text message.
        text: bool,
        /// The frames' payloads, in order.
        parts: Vec<Vec<u8>>,
    },
    /// Send half of the frame of this message; [`Drop`](Self::Drop) follows.
    Torn {
        /// Whether it is a text message.
        text: bool,
        /// The whole message.
        payload: Vec<u8>,
    },
    /// Send a ping.
    Ping,
    /// From now on send so many bytes in a second at most; `None` lifts it.
    Pace(Option<u32>),
    /// From now on send nothing and answer nothing, on any layer above TCP, which stays open.
    Hush,
    /// Send a close frame, then close TCP.
    Close {
        /// The close code.
        code: u16,
        /// The reason.
        reason: Arc<str>,
    },
    /// Close TCP without a close frame.
    Drop,
}

impl From<Encoded> for Output {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Text(text) => Self::Text(text),
            Encoded::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

#[derive(Debug)]
pub(in crate::core) enum Item {
    Text(String),
    Event(Arc<Event>),
    Ping,
    Pace(Option<u32>),
    Hush,
    Close(u16, Arc<str>),
    Drop,
}

/// What a fault does to the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Spoil {
    /// Half of it, then the end of TCP.
    Torn,
    /// JSON that ends in the middle.
    Json,
    /// Bytes that no decoder takes.
    Compression,
}

#[derive(Debug)]
pub(in crate::core) struct Connection {
    pub(in crate::core) bot: Option<UserId>,
    pub(in crate::core) session: Option<SessionKey>,
    /// Whether it came through the resume URL.
    pub(super) at_resume_url: bool,
    /// It came over TLS: READY names a URL that leads back to TLS.
    pub(super) secure: bool,
    pub(super) codec: Codec,
    pub(in crate::core) heartbeat_due: Duration,
    pub(super) ping_due: Option<Duration>,
    /// After op 7: when patience ends.
    pub(in crate::core) close_at: Option<Duration>,
    pub(in crate::core) closing: bool,
    /// Nothing goes out any more and nothing that comes in is heard.
    pub(in crate::core) silent: bool,
    pub(in crate::core) spoil: Option<Spoil>,
    /// The end has to wait until half of a message is out.
    pub(super) torn: bool,
    pub(in crate::core) out: VecDeque<Item>,
    /// What is left of a message that goes out in several.
    parts: VecDeque<Output>,
    /// Events that are kept back, with the time at which they go.
    pub(in crate::core) pending: VecDeque<(Duration, Arc<Event>)>,
    /// When the messages of the last 60 s arrived.
    received: VecDeque<Duration>,
}

impl Connection {
    pub(super) const fn new(heartbeat_due: Duration, ping_due: Option<Duration>) -> Self {
        Self {
            bot: None,
            session: None,
            at_resume_url: false,
            secure: false,
            codec: Codec::Plain,
            heartbeat_due,
            ping_due,
            close_at: None,
            closing: false,
            silent: false,
            spoil: None,
            torn: false,
            out: VecDeque::new(),
            parts: VecDeque::new(),
            pending: VecDeque::new(),
            received: VecDeque::new(),
        }
    }

    pub(in crate::core) fn waiting(&self) -> usize {
        self.out.len() + self.pending.len()
    }

    pub(in crate::core) fn push_event(&mut self, event: Arc<Event>) {
        self.out.push_back(Item::Event(event));
    }
}

/// How messages are cut into frames.
#[derive(Clone, Copy)]
struct Cutting {
    /// Every message, whatever its size.
    all: bool,
    /// Messages over this size.
    over: Option<usize>,
}

impl World {
    /// The next thing to send on a connection. After [`Output::Close`] and [`Output::Drop`] the connection is
    /// forgotten.
    pub fn poll_output(&mut self, id: ConnectionId) -> Option<Output> {
        let connection = self.connections.get_mut(&id)?;
        if let Some(part) = connection.parts.pop_front() {
            return Some(part);
        }
        let text = match connection.out.pop_front()? {
            Item::Text(text) => text,
            Item::Event(event) => event.frame(),
            Item::Ping => return Some(Output::Ping),
            Item::Pace(pace) => return Some(Output::Pace(pace)),
            Item::Hush => return Some(Output::Hush),
            Item::Close(code, reason) => {
                let silent = connection.silent;
                self.connections.remove(&id);
                return Some(if silent {
                    Output::Drop
                } else {
                    Output::Close { code, reason }
                });
            }
            Item::Drop => {
                self.connections.remove(&id);
                return Some(Output::Drop);
            }
        };
        let cutting = Cutting {
            all: connection
                .bot
                .and_then(|bot| self.bots.get(&bot))
                .is_some_and(|bot| bot.split),
            over: self.settings.fragment_over,
        };
        match connection.write(text, cutting) {
            Some((output, false)) => Some(output),
            Some((output, true)) => {
                self.cut_torn(id);
                Some(output)
            }
            None => {
                self.connections.remove(&id);
                Some(Output::Drop)
            }
        }
    }

    /// Ends a connection that is in the middle of a message.
    fn cut_torn(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.torn = true;
        }
        self.cut_connection(id, "fault: cut in mid-frame");
    }
}

impl Connection {
    /// One payload as a message, spoilt and cut as ordered, and whether it is torn.
    fn write(&mut self, mut text: String, cutting: Cutting) -> Option<(Output, bool)> {
        let spoil = self.spoil.take();
        if spoil == Some(Spoil::Json) {
            let half = (0..=text.len() / 2)
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.truncate(half.unwrap_or(0));
        }
        let encoded = match spoil {
            Some(Spoil::Compression) => Encoded::Binary(self.codec.junk()),
            _ => self.codec.encode(text)?,
        };
        if spoil == Some(Spoil::Torn) {
            let (text, payload) = encoded.into_parts();
            return Some((Output::Torn { text, payload }, true));
        }
        if cutting.all && self.codec.is_zlib_stream() {
            let (_, bytes) = encoded.into_parts();
            self.parts = split_stream(bytes)
                .into_iter()
                .map(Output::Binary)
                .collect();
            return Some((self.parts.pop_front()?, false));
        }
        if cutting.all || cutting.over.is_some_and(|over| encoded.len() > over) {
            let size = match cutting.over {
                Some(over) if !cutting.all => over,
                _ => encoded.len().div_ceil(3),
            };
            let (text, bytes) = encoded.into_parts();
            let parts = bytes.chunks(size.max(1)).map(<[u8]>::to_vec).collect();
            return Some((Output::Fragments { text, parts }, false));
        }
        Some((encoded.into(), false))
    }
}

/// A payload of a zlib stream in three messages; only the last ends with the mark that says it is complete.
fn split_stream(bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let third = bytes.len().div_ceil(3);
    let mut parts = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.len() > third {
        let mut at = third;
        while at < rest.len() && rest[..at].ends_with(&SYNC_MARK) {
            at += 1;
        }
        let (part, later) = rest.split_at(at);
        parts.push(part.to_vec());
        rest = later;
    }
    parts.push(rest.to_vec());
    parts
}

impl World {
    /// Counts a message in a sliding window of 60 s, the stricter reading of "120 events per 60 seconds".
    pub(super) fn within_send_limit(&mut self, id: ConnectionId, op: u64) -> bool {
        const WINDOW: Duration = Duration::from_secs(60);
        // A short heartbeat interval, as tests use, would break the limit by its beats alone.
        if op == 1 && self.settings.heartbeat_interval < Duration::from_secs(1) {
            return true;
        }
        let limit = usize::try_from(self.settings.send_limit).unwrap_or(usize::MAX);
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return true;
        };
        while connection
            .received
            .front()
            .is_some_and(|at| *at + WINDOW <= now)
        {
            connection.received.pop_front();
        }
        connection.received.push_back(now);
        connection.received.len() <= limit
    }

    /// Op 1, at any time after the connection is open: answered at once.
    pub(super) fn on_heartbeat(&mut self, id: ConnectionId, data: &Value) {
        let seq = match data {
            Value::Null => None,
            other => match other.as_u64() {
                Some(seq) => Some(seq),
                None => {
                    self.complain(
                        format!("#{id}"),
                        "sent a heartbeat whose d is neither null nor a number",
                    );
                    self.close_connection(id, 4001, "Unknown opcode.");
                    return;
                }
            },
        };
        let due = self
            .now
            .saturating_add(self.settings.heartbeat_interval.mul_f64(1.5));
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.heartbeat_due = due;
        let session = connection.session.and_then(|key| self.sessions.get(&key));
        let acked = connection
            .bot
            .and_then(|bot| self.bots.get(&bot))
            .and_then(|bot| bot.acks_muted_until)
            .is_none_or(|until| until <= self.now);
        if let (Some(seq), Some(sent)) = (seq, session.map(|session| session.seq))
            && seq > sent
        {
            self.complain(
                format!("#{id}"),
                format!("heartbeat names {seq}, only {sent} were sent"),
            );
        }
        if self.settings.journal_heartbeats {
            self.log(EntryKind::Heartbeat {
                connection: id.0,
                seq,
                acked,
            });
        }
        if acked {
            self.send_op(id, 11, &Value::Null);
        } else {
            // The deadline moved.
            self.ready.insert(id);
        }
    }
}
