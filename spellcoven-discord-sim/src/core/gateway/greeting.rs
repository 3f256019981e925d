//! The beginning of a connection: what its URL asks for, and HELLO.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::World;
use super::compress::Codec;
use super::connection::{Connection, ConnectionId};
use crate::journal::EntryKind;

/// Faults that strike whoever connects next: who that is, nobody can know before Identify or Resume.
#[derive(Debug, Default)]
pub(in crate::core) struct Entrance {
    /// So many connections get no HELLO.
    pub(in crate::core) withhold_hello: u32,
    /// So many connections get op 7 in its place.
    pub(in crate::core) reconnect_first: u32,
    /// The resume URL refuses every connection.
    pub(in crate::core) resume_url_dead: bool,
}

impl World {
    /// A WebSocket was opened with this query (`v=10&encoding=json`, in any order). HELLO waits in its output.
    ///
    /// `compress=zlib-stream` and `compress=zstd-stream` are served. A version that is not served closes with 4012; an
    /// encoding other than `json` and another transport compression with 4002: they are not simulated, and a close with
    /// a reason is clearer than frames that cannot be read.
    pub fn gateway_open(&mut self, now: Duration, query: &str) -> ConnectionId {
        self.open(now, query, false)
    }

    /// The same through the resume URL of the settings.
    pub fn gateway_open_at_resume_url(&mut self, now: Duration, query: &str) -> ConnectionId {
        self.open(now, query, true)
    }

    /// The same over TLS: READY names a URL that leads back there, whatever the resume URL of the settings is.
    pub fn gateway_open_secure(&mut self, now: Duration, query: &str) -> ConnectionId {
        let id = self.open(now, query, false);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.secure = true;
        }
        id
    }

    /// Whether [`Fault::DeadResumeUrl`](crate::Fault::DeadResumeUrl) is on: connections to the resume URL are to be
    /// refused before a WebSocket is opened.
    #[must_use]
    pub const fn resume_url_is_dead(&self) -> bool {
        self.entrance.resume_url_dead
    }

    fn open(&mut self, now: Duration, query: &str, at_resume_url: bool) -> ConnectionId {
        self.advance(now);
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let due = self.settings.heartbeat_interval.mul_f64(1.5);
        let ping = self.settings.ping_interval;
        let mut connection = Connection::new(
            self.now.saturating_add(due),
            ping.map(|interval| self.now.saturating_add(interval)),
        );
        connection.at_resume_url = at_resume_url;
        self.connections.insert(id, connection);
        self.log(EntryKind::GatewayOpened {
            connection: id.0,
            query: query.to_owned(),
            at_resume_url,
        });
        let value = |wanted: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='))
                .unwrap_or("")
        };
        if !matches!(value("v"), "" | "9" | "10") {
            self.close_connection(id, 4012, "Invalid API version.");
            return id;
        }
        if !matches!(value("encoding"), "" | "json") {
            self.complain(
                format!("#{id}"),
                "asked for an encoding that is not simulated",
            );
            self.close_connection(id, 4002, "The simulator speaks encoding=json only.");
            return id;
        }
        let Some(codec) = Codec::asked_for(value("compress")) else {
            self.complain(
                format!("#{id}"),
                "asked for a transport compression that is not simulated",
            );
            self.close_connection(
                id,
                4002,
                "The simulator speaks compress=zlib-stream, compress=zstd-stream, or none.",
            );
            return id;
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.codec = codec;
        }
        self.greet(id);
        id
    }

    fn greet(&mut self, id: ConnectionId) {
        if self.entrance.withhold_hello > 0 {
            self.entrance.withhold_hello -= 1;
            return;
        }
        if self.entrance.reconnect_first > 0 {
            self.entrance.reconnect_first -= 1;
            self.ask_to_reconnect(id);
            return;
        }
        let interval = self.settings.heartbeat_interval.as_millis();
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        let hello = json!({"heartbeat_interval": interval, "_trace": ["[\"discord-sim\",{\"micros\":0.0}]"]});
        self.send_op(id, 10, &hello);
    }

    /// Op 7, and a close after the grace.
    pub(in crate::core) fn ask_to_reconnect(&mut self, id: ConnectionId) {
        let at = self.now.saturating_add(self.settings.reconnect_grace);
        self.send_op(id, 7, &Value::Null);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close_at = Some(at);
        }
    }
}
