//! Typed events: own light structs, parsed straight from the frame.

mod channel;
mod filter;
mod guild;
mod voice;
mod wire;

use serde::Deserialize;
use twilight_model::id::{
    Id,
    marker::{GuildMarker, UserMarker},
};

pub use self::{
    channel::RoomChannel,
    filter::{EventFilter, EventKind},
    guild::{GuildState, Ready},
    voice::{VoiceFlags, VoiceServerUpdate, VoiceState, VoiceToken},
};

/// An event and its number in the session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayEvent {
    /// The event's sequence number. Numbers rise within a session and start
    /// anew with READY; gaps are events that were not wanted. To resume after
    /// a restart, store [`ShardHandle::session`](crate::ShardHandle::session)
    /// with what was made of the event.
    pub seq: u64,
    /// What happened.
    pub event: Event,
}

impl GatewayEvent {
    /// An event, for tests and for replaying what was stored.
    pub fn new(seq: u64, event: Event) -> Self {
        Self { seq, event }
    }

    /// Reads a dispatch: its sequence number, its name (`GUILD_CREATE`) and
    /// the JSON of `d`. `None` where this crate knows no such event.
    ///
    /// # Errors
    ///
    /// The payload does not have the fields that this crate needs.
    pub fn parse(seq: u64, name: &str, data: &str) -> Option<Result<Self, PayloadError>> {
        let kind = EventKind::from_name(name)?;
        Some(
            Event::parse(kind, data)
                .map(|event| Self { seq, event })
                .map_err(PayloadError),
        )
    }
}

/// A payload lacks a field that this crate needs, or has it in another form.
/// Discord is to blame, or this crate is too old.
#[derive(Debug, thiserror::Error)]
#[error("the event's payload has not the form that is expected")]
pub struct PayloadError(#[source] serde_json::Error);

/// What Discord said. A kind comes only where the
/// [`EventFilter`] wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A new session has begun; what happened since the last one is in the
    /// snapshots that follow, and nowhere else.
    Ready(Box<Ready>),
    /// The session goes on; every event that was missed has been delivered
    /// before this one.
    Resumed,
    /// A guild's snapshot: at the start, when it became available, or when the
    /// bot joined it.
    GuildCreate(Box<GuildState>),
    /// A guild has an outage: its state is not known until the next snapshot.
    GuildUnavailable {
        /// The guild.
        id: Id<GuildMarker>,
    },
    /// The bot is no longer in the guild.
    GuildDelete {
        /// The guild.
        id: Id<GuildMarker>,
    },
    /// A channel was made.
    ChannelCreate(Box<RoomChannel>),
    /// A channel was changed, or what the bot may see of it.
    ChannelUpdate(Box<RoomChannel>),
    /// A channel was deleted.
    ChannelDelete(Box<RoomChannel>),
    /// Somebody joined, moved, left, or threw a switch.
    VoiceStateUpdate(Box<VoiceState>),
    /// Where to connect for voice.
    VoiceServerUpdate(Box<VoiceServerUpdate>),
    /// A member left or was removed.
    GuildMemberRemove {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// The member.
        user_id: Id<UserMarker>,
    },
    /// Discord did not act on a command: too many of its kind. The command is
    /// not sent again by itself; who still wants it sends it after the wait.
    ///
    /// Source: Discord documentation, "Gateway Events", Rate Limited.
    RateLimited {
        /// The command's opcode.
        opcode: u64,
        /// Seconds until it may be sent again.
        retry_after: RetryAfter,
        /// For [`Command::Members`](crate::Command::Members) (op 8): the guild
        /// that was asked about.
        guild_id: Option<Id<GuildMarker>>,
        /// For [`Command::Members`](crate::Command::Members): its nonce.
        nonce: Option<Box<str>>,
    },
    /// An event that was asked for by name.
    Raw {
        /// Its name.
        name: Box<str>,
        /// The JSON of `d`.
        json: Box<str>,
    },
    /// A wanted event whose payload could not be read; it is logged and
    /// counted. A tracker holds the guild for stale from then on, and the shard
    /// begins a new session for the sake of its snapshots: see
    /// [`ProtocolConfig::resync_interval`](crate::ProtocolConfig::resync_interval).
    Undecodable {
        /// Its name.
        name: Box<str>,
        /// The guild it is about, where that much could be read.
        guild_id: Option<Id<GuildMarker>>,
        /// What was wrong, with the position; no content.
        reason: Box<str>,
    },
}

/// A wait in seconds with fractions, as RATE_LIMITED carries it; never
/// negative and never more than a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(std::time::Duration);

impl RetryAfter {
    /// The wait.
    pub fn duration(self) -> std::time::Duration {
        self.0
    }
}

#[derive(Deserialize)]
struct WireRateLimited {
    opcode: u64,
    retry_after: f64,
    #[serde(default)]
    meta: Option<WireRateLimitMeta>,
}

/// What stands in `meta` depends on the opcode; this is op 8's.
#[derive(Deserialize, Default)]
struct WireRateLimitMeta {
    #[serde(default)]
    guild_id: Option<Id<GuildMarker>>,
    #[serde(default)]
    nonce: Option<Box<str>>,
}

/// The guild that an event is about, if that much of it can be read.
pub(crate) fn guild_of(kind: EventKind, data: &str) -> Option<Id<GuildMarker>> {
    #[derive(Deserialize)]
    struct Named {
        id: Id<GuildMarker>,
    }
    #[derive(Deserialize)]
    struct Within {
        guild_id: Id<GuildMarker>,
    }
    match kind {
        EventKind::GuildCreate | EventKind::GuildDelete => serde_json::from_str::<Named>(data)
            .ok()
            .map(|named| named.id),
        _ => serde_json::from_str::<Within>(data)
            .ok()
            .map(|within| within.guild_id),
    }
}

impl Event {
    pub(crate) fn parse(kind: EventKind, data: &str) -> serde_json::Result<Self> {
        Ok(match kind {
            EventKind::Ready => Self::Ready(Box::new(Ready::parse(data)?)),
            EventKind::Resumed => Self::Resumed,
            EventKind::GuildCreate => match guild::GuildCreate::parse(data)? {
                guild::GuildCreate::Available(state) => Self::GuildCreate(Box::new(state)),
                guild::GuildCreate::Unavailable(id) => Self::GuildUnavailable { id },
            },
            EventKind::GuildDelete => {
                let guild: guild::GuildDelete = serde_json::from_str(data)?;
                if guild.unavailable {
                    Self::GuildUnavailable { id: guild.id }
                } else {
                    Self::GuildDelete { id: guild.id }
                }
            }
            EventKind::ChannelCreate => Self::ChannelCreate(serde_json::from_str(data)?),
            EventKind::ChannelUpdate => Self::ChannelUpdate(serde_json::from_str(data)?),
            EventKind::ChannelDelete => Self::ChannelDelete(serde_json::from_str(data)?),
            EventKind::VoiceStateUpdate => Self::VoiceStateUpdate(serde_json::from_str(data)?),
            EventKind::VoiceServerUpdate => Self::VoiceServerUpdate(serde_json::from_str(data)?),
            EventKind::GuildMemberRemove => {
                let removed: guild::MemberRemove = serde_json::from_str(data)?;
                Self::GuildMemberRemove {
                    guild_id: removed.guild_id,
                    user_id: removed.user_id(),
                }
            }
            EventKind::RateLimited => {
                let wire: WireRateLimited = serde_json::from_str(data)?;
                let seconds = wire.retry_after.clamp(0.0, 86_400.0);
                let meta = wire.meta.unwrap_or_default();
                Self::RateLimited {
                    guild_id: meta.guild_id,
                    nonce: meta.nonce,
                    opcode: wire.opcode,
                    retry_after: RetryAfter(std::time::Duration::from_secs_f64(seconds)),
                }
            }
        })
    }
}
