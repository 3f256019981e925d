//! Who is in which room, told as transitions.

mod change;
mod guild;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twilight_model::id::{Id, marker::GuildMarker};

pub use self::change::{Cause, Change, GuildSnapshot, Room, RoomMember, RoomSnapshot};
use self::guild::{Context, Guild};
use crate::{Event, GatewayEvent, event::Ready};

/// Turns events into what happened in the rooms (voice channels, type 2) of
/// guilds: joined, left, moved, updated, and the rooms themselves.
///
/// It holds the state that Discord's events leave out (a voice state does not
/// say where the member was before), and compares each new snapshot of a guild
/// with it: when a session could not be resumed, what happened meanwhile is
/// told as net effect, nothing twice and nothing left out. It has no clock and
/// does no I/O.
///
/// # Members in channels that are no rooms
///
/// Somebody in a stage channel, or in a channel that is not known (yet), is
/// remembered and not shown. A step from a room to such a channel is
/// [`Change::Left`], a step back [`Change::Joined`]; when the channel becomes
/// known as a room, its [`Change::RoomCreated`] is followed by a `Joined` for
/// each.
///
/// # Restarts
///
/// It can be stored with serde. Store it together with the number of the event
/// it has seen last (`{handle.session(), tracker}`, in one transaction), and
/// give both back at the start. Events that were seen already change
/// nothing but what a newer event will change back.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct GuildTracker {
    guilds: BTreeMap<Id<GuildMarker>, Guild>,
    #[serde(default)]
    limits: TrackerLimits,
    #[serde(skip)]
    stats: TrackerStats,
}

/// How much is kept. What is over a limit is ignored, neither kept nor told
/// of, and counted in [`TrackerStats::over_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackerLimits {
    /// Guilds. Default 5000, twice what Discord puts on one shard.
    pub guilds: usize,
    /// Rooms of one guild. Default 1000, twice Discord's limit of channels.
    pub rooms: usize,
    /// Members of one guild in voice at once. Default 100,000.
    pub members: usize,
}

impl Default for TrackerLimits {
    fn default() -> Self {
        Self {
            guilds: 5000,
            rooms: 1000,
            members: 100_000,
        }
    }
}

/// Counters. All only rise, and begin at 0 in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrackerStats {
    /// Somebody left who was not there: a duplicate, or the second of two ways
    /// in which Discord tells of a leave.
    pub duplicate_leaves: u64,
    /// Events of a guild of which no snapshot has come.
    pub unknown_guild: u64,
    /// Channel events that came after the channel was deleted.
    pub late_channel_events: u64,
    /// Guilds, rooms or members over [`TrackerLimits`].
    pub over_limit: u64,
}

impl GuildTracker {
    /// A tracker that knows nothing.
    pub fn new(limits: TrackerLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// What the event changes, in order.
    pub fn handle(&mut self, event: &GatewayEvent) -> Vec<Change> {
        let mut changes = Vec::new();
        self.handle_into(event, &mut changes);
        changes
    }

    /// The same, appended to `changes`.
    pub fn handle_into(&mut self, event: &GatewayEvent, changes: &mut Vec<Change>) {
        match &event.event {
            Event::Ready(ready) => self.ready(ready, changes),
            Event::GuildCreate(state) => self.guild_create(state, changes),
            Event::GuildUnavailable { id } => {
                if let Some(guild) = self.guilds.get_mut(id) {
                    guild.make_stale(changes);
                }
            }
            Event::GuildDelete { id } => {
                if let Some(guild) = self.guilds.remove(id) {
                    guild.remove(changes);
                }
            }
            Event::ChannelCreate(channel) | Event::ChannelUpdate(channel) => {
                self.in_guild(channel.guild_id, changes, |guild, cx| {
                    guild.channel(channel, cx)
                });
            }
            Event::ChannelDelete(channel) => {
                self.in_guild(channel.guild_id, changes, |guild, cx| {
                    guild.channel_deleted(channel.id, cx);
                });
            }
            Event::VoiceStateUpdate(state) => {
                self.in_guild(state.guild_id, changes, |guild, cx| {
                    guild.voice_state(state, cx)
                });
            }
            Event::GuildMemberRemove { guild_id, user_id } => {
                self.in_guild(Some(*guild_id), changes, |guild, cx| {
                    guild.leave(*user_id, Cause::MemberRemoved, cx);
                });
            }
            // What it said is missing from what is known.
            Event::Undecodable {
                guild_id: Some(id), ..
            } => {
                if let Some(guild) = self.guilds.get_mut(id) {
                    guild.make_stale(changes);
                }
            }
            Event::Resumed
            | Event::VoiceServerUpdate(_)
            | Event::RateLimited { .. }
            | Event::Raw { .. }
            | Event::Undecodable { .. } => {}
        }
    }

    /// The rooms of a guild and who is in them; `None` before its first
    /// snapshot.
    pub fn snapshot(&self, guild_id: Id<GuildMarker>) -> Option<GuildSnapshot> {
        self.guilds.get(&guild_id).map(Guild::snapshot)
    }

    /// Whether what is known of a guild is up to date: after READY, and while
    /// it is unavailable, it is not, until its next snapshot.
    pub fn is_fresh(&self, guild_id: Id<GuildMarker>) -> bool {
        self.guilds.get(&guild_id).is_some_and(|guild| guild.fresh)
    }

    /// The guilds that are known, by rising id.
    pub fn guild_ids(&self) -> impl Iterator<Item = Id<GuildMarker>> {
        self.guilds.keys().copied()
    }

    /// The counters.
    pub fn stats(&self) -> TrackerStats {
        self.stats
    }

    /// A new session: nothing is cleared, for the snapshots that follow are
    /// compared with it. Guilds of this shard that are not named are lost.
    fn ready(&mut self, ready: &Ready, changes: &mut Vec<Change>) {
        let [shard, shards] = ready.shard.unwrap_or([0, 1]);
        let of_this_shard = |id: &Id<GuildMarker>| match u64::from(shards) {
            0 => true,
            // Discord documentation, "Gateway", Sharding.
            shards => (id.get() >> 22) % shards == u64::from(shard),
        };
        let ids: Vec<_> = self.guilds.keys().copied().filter(of_this_shard).collect();
        for id in ids {
            if ready.guilds.contains(&id) {
                if let Some(guild) = self.guilds.get_mut(&id) {
                    guild.make_stale(changes);
                }
            } else if let Some(guild) = self.guilds.remove(&id) {
                guild.remove(changes);
            }
        }
    }

    fn guild_create(&mut self, state: &crate::GuildState, changes: &mut Vec<Change>) {
        let mut cx = Context {
            limits: self.limits,
            stats: &mut self.stats,
            changes,
        };
        if let Some(guild) = self.guilds.get_mut(&state.id) {
            guild.replace(state, &mut cx);
        } else if self.guilds.len() < self.limits.guilds {
            self.guilds.insert(state.id, Guild::new(state, &mut cx));
        } else {
            self.stats.over_limit += 1;
        }
    }

    fn in_guild(
        &mut self,
        guild_id: Option<Id<GuildMarker>>,
        changes: &mut Vec<Change>,
        act: impl FnOnce(&mut Guild, &mut Context<'_>),
    ) {
        match guild_id.and_then(|id| self.guilds.get_mut(&id)) {
            Some(guild) => {
                let mut cx = Context {
                    limits: self.limits,
                    stats: &mut self.stats,
                    changes,
                };
                act(guild, &mut cx);
            }
            None => self.stats.unknown_guild += 1,
        }
    }
}
