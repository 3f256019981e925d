//! One WebSocket: its queue, its deadlines, its send limit.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::World;
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
pub enum Output {
    /// Send this text frame.
    Text(String),
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

#[derive(Debug)]
pub(in crate::core) enum Item {
    Text(String),
    Event(Arc<Event>),
    Close(u16, Arc<str>),
    Drop,
}

#[derive(Debug)]
pub(in crate::core) struct Connection {
    pub(in crate::core) bot: Option<UserId>,
    pub(in crate::core) session: Option<SessionKey>,
    pub(in crate::core) heartbeat_due: Duration,
    /// After op 7: when patience ends.
    pub(in crate::core) close_at: Option<Duration>,
    pub(in crate::core) closing: bool,
    pub(in crate::core) out: VecDeque<Item>,
    /// Events that are kept back, with the time at which they go.
    pub(in crate::core) pending: VecDeque<(Duration, Arc<Event>)>,
    /// When the messages of the last 60 s arrived.
    received: VecDeque<Duration>,
}

impl Connection {
    pub(super) const fn new(heartbeat_due: Duration) -> Self {
        Self {
            bot: None,
            session: None,
            heartbeat_due,
            close_at: None,
            closing: false,
            out: VecDeque::new(),
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
        let acked = !connection
            .bot
            .and_then(|bot| self.bots.get(&bot))
            .is_some_and(|bot| bot.acks_muted);
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
