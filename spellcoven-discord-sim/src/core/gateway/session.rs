//! A session: what outlives a connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::World;
use super::connection::ConnectionId;
use crate::ids::{GuildId, UserId};
use crate::intents::Intents;
use crate::journal::EntryKind;

/// Number of a session, in the order of their making.
pub(in crate::core) type SessionKey = u64;

/// A numbered event of one session.
#[derive(Debug)]
pub(in crate::core) struct Event {
    pub(in crate::core) seq: u64,
    pub(in crate::core) t: Arc<str>,
    pub(in crate::core) d: Arc<str>,
}

impl Event {
    /// The whole payload: compact, keys in the order t, s, op, d (observed; clients scan for the first three).
    pub(super) fn frame(&self) -> String {
        let mut seq = [0_u8; 20];
        let seq = decimal(self.seq, &mut seq);
        let mut text = String::with_capacity(self.d.len() + self.t.len() + seq.len() + 26);
        text.push_str(r#"{"t":"#);
        push_quoted(&mut text, &self.t);
        text.push_str(r#","s":"#);
        text.push_str(seq);
        text.push_str(r#","op":0,"d":"#);
        text.push_str(&self.d);
        text.push('}');
        text
    }
}

/// A name in quotes. Discord's need no escapes; a test may send any.
fn push_quoted(text: &mut String, name: &str) {
    if name
        .bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    {
        text.push('"');
        text.push_str(name);
        text.push('"');
    } else {
        text.push_str(&Value::from(name).to_string());
    }
}

fn decimal(mut number: u64, room: &mut [u8; 20]) -> &str {
    let mut start = room.len();
    loop {
        start -= 1;
        // A remainder by 10 always fits.
        room[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&room[start..]).unwrap_or("0")
}

#[derive(Debug)]
pub(in crate::core) struct Session {
    pub(in crate::core) id: Arc<str>,
    pub(in crate::core) bot: UserId,
    pub(in crate::core) intents: Intents,
    pub(in crate::core) shard: [u32; 2],
    pub(in crate::core) seq: u64,
    pub(in crate::core) connection: Option<ConnectionId>,
    pub(in crate::core) detached_at: Duration,
    /// Whether its client asked for payload compression.
    pub(super) compress: bool,
    /// Guilds that are unavailable to this session alone, and until when.
    pub(super) late: BTreeMap<GuildId, Duration>,
    ring: VecDeque<Arc<Event>>,
    /// The highest number that left the ring because it was full.
    evicted: u64,
}

impl Session {
    pub(super) fn new(
        id: Arc<str>,
        bot: UserId,
        intents: Intents,
        shard: [u32; 2],
        connection: ConnectionId,
    ) -> Self {
        Self {
            id,
            bot,
            intents,
            shard,
            seq: 0,
            connection: Some(connection),
            detached_at: Duration::ZERO,
            compress: false,
            late: BTreeMap::new(),
            ring: VecDeque::new(),
            evicted: 0,
        }
    }

    /// Whether a guild is this shard's.
    ///
    /// See: Discord documentation, Events, Gateway, "Sharding".
    pub(in crate::core) fn has_guild(&self, guild: GuildId) -> bool {
        (guild.0 >> 22) % u64::from(self.shard[1].max(1)) == u64::from(self.shard[0])
    }

    /// Whether this guild's events go to this session: it is the shard's, and not unavailable at its start.
    pub(in crate::core) fn follows(&self, guild: GuildId) -> bool {
        self.has_guild(guild) && !self.late.contains_key(&guild)
    }

    pub(in crate::core) fn push(&mut self, t: &Arc<str>, d: &Arc<str>, limit: usize) -> Arc<Event> {
        self.seq += 1;
        let event = Arc::new(Event {
            seq: self.seq,
            t: Arc::clone(t),
            d: Arc::clone(d),
        });
        self.ring.push_back(Arc::clone(&event));
        while self.ring.len() > limit {
            if let Some(old) = self.ring.pop_front() {
                self.evicted = old.seq;
            }
        }
        event
    }

    /// An event that is numbered but never replayed.
    pub(super) fn push_unkept(&mut self, t: &str, d: &str) -> Arc<Event> {
        self.seq += 1;
        Arc::new(Event {
            seq: self.seq,
            t: t.into(),
            d: d.into(),
        })
    }

    /// What came after `seq`, and nothing if the ring no longer reaches back to it.
    pub(super) fn after(&self, seq: u64) -> Option<Vec<Arc<Event>>> {
        if seq < self.evicted {
            return None;
        }
        Some(
            self.ring
                .iter()
                .filter(|event| event.seq > seq)
                .cloned()
                .collect(),
        )
    }
}

impl World {
    pub(in crate::core) fn detach_session(&mut self, key: SessionKey) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.connection = None;
        session.detached_at = now;
        let expiry = now.saturating_add(self.settings.resume_window);
        self.next_expiry = Some(self.next_expiry.map_or(expiry, |next| next.min(expiry)));
        // Every waiting shell takes the new deadline into account.
        self.ready.extend(self.connections.keys());
        self.went_away(key);
    }

    /// Forgets a session; its bot leaves the voice channels it was in through it.
    pub(in crate::core) fn end_session(&mut self, key: SessionKey, why: &str) {
        let Some(session) = self.sessions.remove(&key) else {
            return;
        };
        if let Some(connection) = session
            .connection
            .and_then(|id| self.connections.get_mut(&id))
        {
            connection.session = None;
            connection.pending.clear();
        }
        let voice: Vec<GuildId> = self
            .guilds
            .values()
            .filter(|guild| {
                guild
                    .voice
                    .get(&session.bot)
                    .is_some_and(|state| *state.session == *session.id)
            })
            .map(|guild| guild.id)
            .collect();
        self.log(EntryKind::SessionEnded {
            bot: session.bot,
            session: session.id,
            why: why.to_owned(),
        });
        for guild in voice {
            self.take_from_voice(session.bot, guild);
        }
    }

    pub(in crate::core) fn expire_sessions(&mut self) {
        let window = self.settings.resume_window;
        let now = self.now;
        let expired: Vec<SessionKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                session.connection.is_none() && session.detached_at.saturating_add(window) <= now
            })
            .map(|(key, _)| *key)
            .collect();
        for key in expired {
            self.end_session(key, "not resumed in time");
        }
        self.next_expiry = self
            .sessions
            .values()
            .filter(|session| session.connection.is_none())
            .map(|session| session.detached_at.saturating_add(window))
            .min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_compact_and_in_production_order() {
        let event = Event {
            seq: 1_234_567_890,
            t: "X".into(),
            d: "{}".into(),
        };
        assert_eq!(event.frame(), r#"{"t":"X","s":1234567890,"op":0,"d":{}}"#);
        let odd = Event {
            seq: 1,
            t: "\"\n".into(),
            d: "1".into(),
        };
        assert_eq!(odd.frame(), r#"{"t":"\"\n","s":1,"op":0,"d":1}"#);
    }

    #[test]
    fn a_full_ring_no_longer_reaches_back() {
        let mut session = Session::new(
            "s".into(),
            UserId(1),
            Intents::empty(),
            [0, 1],
            ConnectionId(1),
        );
        let (t, d): (Arc<str>, Arc<str>) = ("X".into(), "{}".into());
        for _ in 0..5 {
            session.push(&t, &d, 3);
        }
        assert!(session.after(1).is_none());
        assert_eq!(session.after(2).map(|events| events.len()), Some(3));
        assert_eq!(session.after(5).map(|events| events.len()), Some(0));
    }
}
