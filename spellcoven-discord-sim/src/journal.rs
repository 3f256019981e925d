//! The journal: all that happened, in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::ids::{ChannelId, UserId};

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Number of the entry, from 1, without gaps.
    pub number: u64,
    /// Time since the simulator's start; in JSON, seconds with decimals.
    #[serde(serialize_with = "seconds")]
    pub at: Duration,
    /// The same as wall time, Unix milliseconds.
    pub unix_ms: u64,
    /// What it was.
    #[serde(flatten)]
    pub what: EntryKind,
}

/// What an [`Entry`] tells. Tokens of bots never appear in it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryKind {
    /// A REST request was answered (or the connection closed instead).
    RestRequest(RestRequest),
    /// A WebSocket was opened and greeted.
    GatewayOpened {
        /// Number of the connection.
        connection: u64,
        /// Query of the URL.
        query: String,
        /// Whether it came through READY's `resume_gateway_url`, where that leads to an entrance of its own.
        at_resume_url: bool,
    },
    /// An Identify was accepted.
    Identified {
        /// The connection it came on.
        connection: u64,
        /// The bot.
        bot: UserId,
        /// The new session.
        session: Arc<str>,
        /// The intents asked for.
        intents: u64,
        /// The shard, `[id, count]`.
        shard: [u32; 2],
    },
    /// A Resume was accepted.
    Resumed {
        /// The connection it came on.
        connection: u64,
        /// The bot.
        bot: UserId,
        /// The session.
        session: Arc<str>,
        /// The sequence number the client named.
        seq: u64,
        /// How many dispatches were replayed.
        replayed: u64,
    },
    /// A Resume, or an Identify, was answered with op 9 `false`.
    Refused {
        /// The connection it came on.
        connection: u64,
        /// The bot, where the token was good.
        bot: Option<UserId>,
        /// Why.
        why: String,
    },
    /// A heartbeat arrived (only where the settings ask for it).
    Heartbeat {
        /// The connection.
        connection: u64,
        /// The sequence number in it.
        seq: Option<u64>,
        /// Whether it was answered.
        acked: bool,
    },
    /// A client sent a command (ops 3, 4, 8, 31, 43 and unknown ones).
    Commanded {
        /// The connection.
        connection: u64,
        /// The bot.
        bot: Option<UserId>,
        /// The opcode.
        op: u64,
        /// The data as JSON text; in the journal's JSON, as a value.
        #[serde(serialize_with = "as_value")]
        d: Arc<str>,
    },
    /// An event entered a session: from here on it is in the replay ring, and sent if a client is connected.
    Dispatched {
        /// The bot.
        bot: UserId,
        /// The session.
        session: Arc<str>,
        /// Its sequence number.
        seq: u64,
        /// The event's name.
        t: Arc<str>,
        /// The event's data as JSON text; in the journal's JSON, as a value.
        #[serde(serialize_with = "as_value")]
        d: Arc<str>,
    },
    /// A WebSocket ended.
    GatewayClosed {
        /// The connection.
        connection: u64,
        /// The bot, if it was known.
        bot: Option<UserId>,
        /// Who ended it.
        by: ClosedBy,
        /// The close code; none for a dropped TCP connection.
        code: Option<u16>,
        /// The reason.
        reason: String,
        /// Whether a session is left that can be resumed.
        resumable: bool,
    },
    /// A session is gone for good.
    SessionEnded {
        /// The bot.
        bot: UserId,
        /// The session.
        session: Arc<str>,
        /// Why.
        why: String,
    },
    /// A test, a person or a fault acted.
    Acted {
        /// Who, where it was a user.
        user: Option<UserId>,
        /// What was done.
        what: String,
    },
    /// A voice WebSocket was opened and greeted.
    VoiceOpened {
        /// Number of the connection; voice counts its own.
        connection: u64,
        /// Number of the voice server.
        server: u64,
        /// Query of the URL.
        query: String,
    },
    /// A voice Identify was accepted.
    VoiceIdentified {
        /// The connection it came on.
        connection: u64,
        /// The user.
        user: UserId,
        /// The channel.
        channel: ChannelId,
        /// The SSRC of the user's audio.
        ssrc: u32,
        /// The newest DAVE version that the client can.
        dave: u16,
    },
    /// A voice Resume was accepted.
    VoiceResumed {
        /// The connection it came on.
        connection: u64,
        /// The user.
        user: UserId,
        /// The sequence number the client named.
        seq: Option<u16>,
        /// How many messages were sent again.
        replayed: u64,
    },
    /// A voice heartbeat arrived (only where the settings ask for it).
    VoiceHeartbeat {
        /// The connection.
        connection: u64,
        /// The sequence number in it.
        seq: Option<u16>,
        /// Whether it was answered.
        acked: bool,
    },
    /// A voice WebSocket ended.
    VoiceClosed {
        /// The connection.
        connection: u64,
        /// The user, if one was identified.
        user: Option<UserId>,
        /// Who ended it.
        by: ClosedBy,
        /// The close code; none for a dropped TCP connection.
        code: Option<u16>,
        /// The reason.
        reason: String,
        /// Whether a session is left that can be resumed.
        resumable: bool,
    },
    /// Something happened in the end-to-end encryption of a call.
    Dave {
        /// The call's channel.
        channel: ChannelId,
        /// What.
        note: String,
    },
    /// A media packet that is not end-to-end encrypted, in a call where all have to be. Of each user the first 100 are
    /// told; all are counted.
    ClearMedia {
        /// Who sent it.
        user: UserId,
        /// The call's channel.
        channel: ChannelId,
        /// Its SSRC.
        ssrc: u32,
        /// Its sequence number.
        sequence: u16,
        /// Bytes of its payload.
        bytes: usize,
    },
    /// A client did what Discord's documentation forbids.
    Complaint {
        /// Which client.
        who: String,
        /// What it did.
        what: String,
    },
}

/// A request of the journal.
#[derive(Clone, Debug, Serialize)]
pub struct RestRequest {
    /// The method.
    pub method: String,
    /// The path and query as the client sent them.
    pub path: String,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
    /// The error code in the answer's body, if it was an error of Discord's shape.
    pub code: Option<u64>,
    /// The bot, where the token was good.
    pub bot: Option<UserId>,
    /// The audit-log reason, decoded.
    pub reason: Option<String>,
    /// The `User-Agent`.
    pub user_agent: Option<String>,
    /// The first 2048 bytes of the body, as text.
    pub body: String,
    /// Whether the request was carried out.
    pub executed: bool,
    /// The fault that struck it, if one did.
    pub fault: Option<String>,
}

/// Who ended a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// The simulator.
    Server,
    /// The client.
    Client,
}

fn seconds<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.as_secs_f64())
}

fn as_value<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
    value.serialize(serializer)
}

/// A copy of the journal at one instant.
#[derive(Clone, Debug, Serialize)]
pub struct Journal {
    dropped: u64,
    entries: Vec<Entry>,
}

impl Journal {
    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many older entries were dropped because the journal was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What clients did wrong.
    pub fn complaints(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| matches!(entry.what, EntryKind::Complaint { .. }))
    }

    /// The REST requests.
    pub fn requests(&self) -> impl Iterator<Item = &RestRequest> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            EntryKind::RestRequest(request) => Some(request),
            _ => None,
        })
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "({} older entries dropped)", self.dropped)?;
        }
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.3}s  {}", self.at.as_secs_f64(), self.what)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RestRequest(request) => write!(f, "{request}"),
            Self::GatewayOpened {
                connection,
                query,
                at_resume_url,
            } => {
                write!(f, "#{connection} opened a gateway connection ({query})")?;
                f.write_str(if *at_resume_url {
                    " at the resume URL"
                } else {
                    ""
                })
            }
            Self::Identified {
                connection,
                bot,
                session,
                intents,
                shard,
            } => write!(
                f,
                "#{connection} bot {bot} identified: session {session}, intents {intents}, shard {}/{}",
                shard[0], shard[1]
            ),
            Self::Resumed {
                connection,
                bot,
                session,
                seq,
                replayed,
            } => write!(
                f,
                "#{connection} bot {bot} resumed session {session} after {seq}, {replayed} replayed"
            ),
            Self::Refused {
                connection, why, ..
            } => write!(f, "#{connection} invalid session: {why}"),
            Self::Heartbeat {
                connection,
                seq,
                acked,
            } => {
                write!(
                    f,
                    "#{connection} heartbeat {seq:?}{}",
                    if *acked { "" } else { ", not acked" }
                )
            }
            Self::Commanded {
                connection, op, d, ..
            } => write!(f, "#{connection} -> op {op} {}", shorten(d)),
            Self::Dispatched {
                session, seq, t, d, ..
            } => write!(f, "{session} <- {seq} {t} {}", shorten(d)),
            Self::GatewayClosed {
                connection,
                by,
                code,
                reason,
                resumable,
                ..
            } => closed(f, *connection, *by, *code, reason, *resumable),
            Self::SessionEnded { session, why, .. } => write!(f, "session {session} ended: {why}"),
            Self::Acted {
                user: Some(user),
                what,
            } => write!(f, "user {user} {what}"),
            Self::Acted { user: None, what } => f.write_str(what),
            Self::VoiceOpened {
                connection,
                server,
                query,
            } => write!(
                f,
                "voice #{connection} opened at voice server {server} ({query})"
            ),
            Self::VoiceIdentified {
                connection,
                user,
                channel,
                ssrc,
                dave,
            } => write!(
                f,
                "voice #{connection} user {user} identified in {channel}: SSRC {ssrc}, DAVE {dave}"
            ),
            Self::VoiceResumed {
                connection,
                user,
                seq,
                replayed,
            } => write!(
                f,
                "voice #{connection} user {user} resumed after {seq:?}, {replayed} replayed"
            ),
            Self::VoiceHeartbeat {
                connection,
                seq,
                acked,
            } => write!(
                f,
                "voice #{connection} heartbeat {seq:?}{}",
                if *acked { "" } else { ", not acked" }
            ),
            Self::VoiceClosed {
                connection,
                by,
                code,
                reason,
                resumable,
                ..
            } => {
                f.write_str("voice ")?;
                closed(f, *connection, *by, *code, reason, *resumable)
            }
            Self::Dave { channel, note } => write!(f, "DAVE in {channel}: {note}"),
            Self::ClearMedia {
                user,
                channel,
                ssrc,
                sequence,
                bytes,
            } => write!(
                f,
                "CLEAR MEDIA of user {user} in {channel}: SSRC {ssrc}, sequence {sequence}, {bytes} bytes"
            ),
            Self::Complaint { who, what } => write!(f, "COMPLAINT about {who}: {what}"),
        }
    }
}

fn closed(
    f: &mut fmt::Formatter<'_>,
    connection: u64,
    by: ClosedBy,
    code: Option<u16>,
    reason: &str,
    resumable: bool,
) -> fmt::Result {
    let by = match by {
        ClosedBy::Server => "server",
        ClosedBy::Client => "client",
    };
    match code {
        Some(code) => write!(f, "#{connection} closed by {by}: {code} {reason}")?,
        None => write!(f, "#{connection} dropped by {by} {reason}")?,
    }
    f.write_str(if resumable { " (resumable)" } else { "" })
}

impl fmt::Display for RestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.method, self.path, self.status)?;
        if let Some(code) = self.code {
            write!(f, " (code {code})")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, " because {reason:?}")?;
        }
        if let Some(fault) = &self.fault {
            write!(
                f,
                " [fault: {fault}, {}executed]",
                if self.executed { "" } else { "not " }
            )?;
        }
        Ok(())
    }
}

fn shorten(text: &str) -> &str {
    const SHOWN: usize = 160;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The journal as it is written.
#[derive(Debug)]
pub(crate) struct Log {
    limit: usize,
    next: u64,
    entries: VecDeque<Entry>,
}

impl Log {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 1,
            entries: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, at: Duration, start_ms: u64, what: EntryKind) {
        let number = self.next;
        self.next += 1;
        if self.limit == 0 {
            return;
        }
        if self.entries.len() >= self.limit {
            self.entries.pop_front();
        }
        let elapsed = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let unix_ms = start_ms.saturating_add(elapsed);
        self.entries.push_back(Entry {
            number,
            at,
            unix_ms,
            what,
        });
    }

    /// A copy of the entries numbered `first` and later.
    pub(crate) fn since(&self, first: u64) -> Journal {
        let dropped = self.next - 1 - u64::try_from(self.entries.len()).unwrap_or(0);
        let skip = usize::try_from(first.saturating_sub(dropped + 1)).unwrap_or(usize::MAX);
        Journal {
            dropped,
            entries: self.entries.iter().skip(skip).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_drops_the_oldest_and_tells_how_many() {
        let mut log = Log::new(2);
        for what in ["a", "b", "c"] {
            let what = EntryKind::Acted {
                user: None,
                what: what.to_owned(),
            };
            log.push(Duration::ZERO, 0, what);
        }
        let journal = log.since(0);
        assert_eq!(journal.dropped(), 1);
        assert_eq!(
            journal
                .entries()
                .iter()
                .map(|e| e.number)
                .collect::<Vec<_>>(),
            [2, 3]
        );
        assert_eq!(log.since(3).entries().len(), 1);
        assert!(journal.to_string().starts_with("(1 older entries dropped)"));
    }
}
