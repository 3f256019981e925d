//! The Gateway's side of a connection.

mod commands;
mod compress;
mod connection;
mod greeting;
mod identify;
mod resume;
mod session;

pub(super) use connection::{Connection, Item, Spoil};
pub use connection::{ConnectionId, Output};
pub(super) use greeting::Entrance;
pub(super) use session::{Event, Session, SessionKey};

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::World;
use crate::ids::UserId;
use crate::journal::{ClosedBy, EntryKind};

/// Close codes after which a session is no more, when the server sends them.
const fn ends_session(code: u16) -> bool {
    matches!(code, 4003 | 4004 | 4006 | 4007 | 4009 | 4010..=4014)
}

impl World {
    /// A text or binary message of the client.
    pub fn gateway_message(&mut self, now: Duration, id: ConnectionId, payload: &[u8]) {
        self.advance(now);
        if !self.is_open(id) || self.is_silent(id) {
            return;
        }
        if payload.len() > self.settings.max_payload {
            self.complain(
                format!("#{id}"),
                format!("sent {} bytes in one message", payload.len()),
            );
            self.close_connection(id, 4002, "Error while decoding payload.");
            return;
        }
        let Ok(Value::Object(message)) = serde_json::from_slice::<Value>(payload) else {
            self.complain(format!("#{id}"), "sent something that is no JSON object");
            self.close_connection(id, 4002, "Error while decoding payload.");
            return;
        };
        let Some(op) = message.get("op").and_then(Value::as_u64) else {
            self.complain(format!("#{id}"), "sent a payload without op");
            self.close_connection(id, 4001, "Unknown opcode.");
            return;
        };
        if !self.within_send_limit(id, op) {
            self.complain(
                format!("#{id}"),
                "sent more than the limit of messages in 60 s",
            );
            self.close_connection(id, 4008, "You are being rate limited.");
            return;
        }
        let data = message.get("d").unwrap_or(&Value::Null);
        match op {
            1 => self.on_heartbeat(id, data),
            2 => self.on_identify(id, data),
            6 => self.on_resume(id, data),
            _ => self.on_command(id, op, data),
        }
    }

    /// The WebSocket ended from the client's side: with its close code, or `None` for a connection that broke.
    ///
    /// 1000 and 1001 end the session; anything else leaves it to be resumed.
    pub fn gateway_closed(&mut self, now: Duration, id: ConnectionId, code: Option<u16>) {
        self.advance(now);
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        self.ready.remove(&id);
        if connection.closing {
            return;
        }
        let ends = matches!(code, Some(1000 | 1001));
        let resumable = connection.session.is_some() && !ends;
        self.log(EntryKind::GatewayClosed {
            connection: id.0,
            bot: connection.bot,
            by: ClosedBy::Client,
            code,
            reason: String::new(),
            resumable,
        });
        if let Some(key) = connection.session {
            if ends {
                self.end_session(key, "closed by the client with 1000 or 1001");
            } else {
                self.detach_session(key);
            }
        }
    }

    /// Connections that have output or a new deadline, since the last call.
    pub fn take_ready(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// Whether a connection waits to be dropped at once, whatever else was to be sent.
    #[must_use]
    pub fn is_cut(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|c| !c.torn && matches!(c.out.front(), Some(Item::Drop)))
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called for the whole world; a deadline in the past
    /// means now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let gateway = self
            .connections
            .keys()
            .filter_map(|id| self.connection_timeout(*id))
            .chain(self.next_expiry)
            .chain(self.next_late);
        #[cfg(feature = "voice")]
        let gateway = gateway.chain(self.voice_timeout());
        gateway.min()
    }

    /// The same for one connection and the sessions without one.
    #[must_use]
    pub fn poll_timeout_of(&self, id: ConnectionId) -> Option<Duration> {
        self.connection_timeout(id)
            .into_iter()
            .chain(self.next_expiry)
            .chain(self.next_late)
            .min()
    }

    fn connection_timeout(&self, id: ConnectionId) -> Option<Duration> {
        let connection = self.connections.get(&id)?;
        if connection.closing || connection.silent {
            return None;
        }
        let held = connection
            .bot
            .and_then(|bot| self.bots.get(&bot))
            .is_some_and(|bot| bot.hold);
        let pending = connection
            .pending
            .front()
            .filter(|_| !held)
            .map(|(due, _)| *due);
        [
            Some(connection.heartbeat_due),
            pending,
            connection.close_at,
            connection.ping_due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due: closes silent connections and those told to reconnect, releases delayed events, ends
    /// sessions that nobody resumed.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        #[cfg(feature = "voice")]
        self.voice_handle_timeout();
        let ids: Vec<ConnectionId> = self
            .connections
            .keys()
            .copied()
            .filter(|id| {
                self.connection_timeout(*id)
                    .is_some_and(|at| at <= self.now)
            })
            .collect();
        for id in ids {
            self.release_due(id);
            self.ping_if_due(id);
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            if connection.close_at.is_some_and(|at| at <= self.now) {
                self.close_connection(id, 4000, "Reconnect was asked for.");
            } else if connection.heartbeat_due <= self.now {
                let code = self.settings.missed_heartbeat_code;
                self.complain(format!("#{id}"), "missed its heartbeats");
                self.close_connection(id, code, "Heartbeats missed.");
            }
        }
    }

    fn is_silent(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| connection.silent)
    }

    fn ping_if_due(&mut self, id: ConnectionId) {
        let now = self.now;
        let interval = self.settings.ping_interval;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.ping_due.is_some_and(|at| at <= now) {
            connection.ping_due = interval.map(|interval| now.saturating_add(interval));
            connection.out.push_back(Item::Ping);
            self.ready.insert(id);
        }
    }

    pub(super) fn is_open(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| !connection.closing)
    }

    /// The open connection of each live session of a bot.
    pub(super) fn connections_of(&self, bot: UserId) -> Vec<ConnectionId> {
        self.sessions
            .values()
            .filter(|session| session.bot == bot)
            .filter_map(|session| session.connection)
            .collect()
    }

    /// Sends a payload that is no dispatch. The key order is the one seen in production.
    pub(super) fn send_op(&mut self, id: ConnectionId, op: u64, d: &Value) {
        let bound = self.settings.outgoing_bound();
        let Some(connection) = self
            .connections
            .get_mut(&id)
            .filter(|connection| !connection.closing && !connection.silent)
        else {
            return;
        };
        if connection.waiting() >= bound {
            self.cut_slow(id, bound);
            return;
        }
        let text = format!(r#"{{"t":null,"s":null,"op":{op},"d":{d}}}"#);
        connection.out.push_back(Item::Text(text));
        self.ready.insert(id);
    }

    /// Cuts a client that does not read. Its session stays resumable.
    pub(super) fn cut_slow(&mut self, id: ConnectionId, bound: usize) {
        self.complain(
            format!("#{id}"),
            format!("reads too slowly: {bound} frames wait; cut"),
        );
        self.cut_connection(id, "slow client");
    }

    /// Ends a connection with a close frame.
    pub(super) fn close_connection(&mut self, id: ConnectionId, code: u16, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.finish(
            id,
            Some(code),
            &reason,
            Item::Close(code, Arc::clone(&reason)),
        );
    }

    /// Ends a connection by dropping it, with all that was to be sent.
    pub(super) fn cut_connection(&mut self, id: ConnectionId, why: &str) {
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) {
            connection.out.clear();
        }
        self.finish(id, None, why, Item::Drop);
    }

    fn finish(&mut self, id: ConnectionId, code: Option<u16>, reason: &str, last: Item) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.closing {
            return;
        }
        connection.closing = true;
        connection.pending.clear();
        connection.out.push_back(last);
        let (bot, session) = (connection.bot, connection.session.take());
        self.ready.insert(id);
        let ends = code.is_some_and(ends_session);
        self.log(EntryKind::GatewayClosed {
            connection: id.0,
            bot,
            by: ClosedBy::Server,
            code,
            reason: reason.to_owned(),
            resumable: session.is_some() && !ends,
        });
        if let Some(key) = session {
            if ends {
                self.end_session(key, "closed with a code that ends sessions");
            } else {
                self.detach_session(key);
            }
        }
    }

    /// Op 9 `false` for an Identify or Resume: the socket stays open for another Identify.
    pub(super) fn refuse(&mut self, id: ConnectionId, bot: Option<UserId>, why: &str) {
        self.log(EntryKind::Refused {
            connection: id.0,
            bot,
            why: why.to_owned(),
        });
        self.send_op(id, 9, &Value::Bool(false));
    }
}
