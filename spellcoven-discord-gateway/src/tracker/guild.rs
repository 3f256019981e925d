//! What is known of one guild, and how events change it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker, UserMarker},
};

use super::{
    TrackerLimits, TrackerStats,
    change::{Cause, Change, GuildSnapshot, Room, RoomMember, RoomSnapshot},
};
use crate::{GuildState, RoomChannel, VoiceFlags, VoiceState};

/// How many deleted channels are remembered, so that an update that comes late
/// does not bring one back. Ids never return.
const TOMBSTONES: usize = 128;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Guild {
    id: Id<GuildMarker>,
    pub(super) fresh: bool,
    rooms: BTreeMap<Id<ChannelMarker>, Room>,
    /// Everyone in voice, also those in channels that are no rooms (stages,
    /// channels that are not known yet).
    voice: BTreeMap<Id<UserMarker>, Voice>,
    tombstones: VecDeque<Id<ChannelMarker>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Voice {
    channel_id: Id<ChannelMarker>,
    session_id: String,
    flags: VoiceFlags,
}

/// What one event gives to write to, beside the guild itself.
pub(super) struct Context<'a> {
    pub(super) limits: TrackerLimits,
    pub(super) stats: &'a mut TrackerStats,
    pub(super) changes: &'a mut Vec<Change>,
}

impl Guild {
    /// The first snapshot.
    pub(super) fn new(state: &GuildState, cx: &mut Context<'_>) -> Self {
        let mut guild = Self {
            id: state.id,
            fresh: true,
            rooms: BTreeMap::new(),
            voice: BTreeMap::new(),
            tombstones: VecDeque::new(),
        };
        guild.rooms = guild.rooms_of(state, cx);
        guild.voice = voice_of(state, cx);
        cx.changes.push(Change::Present(guild.snapshot()));
        guild
    }

    pub(super) fn snapshot(&self) -> GuildSnapshot {
        let mut members: BTreeMap<Id<ChannelMarker>, Vec<RoomMember>> = BTreeMap::new();
        for (user_id, voice) in &self.voice {
            let member = RoomMember {
                user_id: *user_id,
                flags: voice.flags,
            };
            members.entry(voice.channel_id).or_default().push(member);
        }
        let rooms = self
            .rooms
            .values()
            .map(|room| RoomSnapshot {
                room: room.clone(),
                members: members.remove(&room.channel_id).unwrap_or_default(),
            })
            .collect();
        GuildSnapshot {
            guild_id: self.id,
            rooms,
        }
    }

    /// A later snapshot: tells the differences, each thing once, in an order
    /// in which they can be applied.
    pub(super) fn replace(&mut self, state: &GuildState, cx: &mut Context<'_>) {
        let rooms = self.rooms_of(state, cx);
        let voice = voice_of(state, cx);
        let old_rooms = std::mem::replace(&mut self.rooms, rooms);
        let old_voice = std::mem::replace(&mut self.voice, voice);
        self.tombstones.retain(|id| !self.rooms.contains_key(id));
        let (guild_id, cause) = (self.id, Cause::Snapshot);

        for (user_id, voice) in &old_voice {
            let was = visible(&old_rooms, Some(voice));
            if let (Some(channel_id), None) = (was, visible(&self.rooms, self.voice.get(user_id))) {
                cx.changes.push(Change::Left {
                    guild_id,
                    cause,
                    channel_id,
                    user_id: *user_id,
                });
            }
        }
        for (id, room) in &self.rooms {
            match old_rooms.get(id) {
                None => {
                    cx.changes.push(Change::RoomCreated {
                        guild_id,
                        cause,
                        room: room.clone(),
                    });
                }
                Some(old) if old != room => {
                    cx.changes.push(Change::RoomUpdated {
                        guild_id,
                        cause,
                        room: room.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        for (user_id, voice) in &self.voice {
            let old = old_voice.get(user_id);
            let old = old.map(|old| (visible(&old_rooms, Some(old)), old));
            let now = (visible(&self.rooms, Some(voice)), voice);
            // Those who left have been told of above.
            if now.0.is_some() {
                cx.changes
                    .extend(transition(guild_id, cause, *user_id, old, Some(now)));
            }
        }
        for channel_id in old_rooms.keys().filter(|id| !self.rooms.contains_key(id)) {
            cx.changes.push(Change::RoomDeleted {
                guild_id,
                cause,
                channel_id: *channel_id,
            });
        }
        if !std::mem::replace(&mut self.fresh, true) {
            cx.changes.push(Change::GuildFresh { guild_id });
        }
    }

    pub(super) fn make_stale(&mut self, changes: &mut Vec<Change>) {
        if std::mem::replace(&mut self.fresh, false) {
            changes.push(Change::GuildStale { guild_id: self.id });
        }
    }

    /// The bot is no longer in the guild.
    pub(super) fn remove(self, changes: &mut Vec<Change>) {
        let (guild_id, cause) = (self.id, Cause::GuildRemoved);
        for (user_id, voice) in &self.voice {
            if let Some(channel_id) = visible(&self.rooms, Some(voice)) {
                changes.push(Change::Left {
                    guild_id,
                    cause,
                    channel_id,
                    user_id: *user_id,
                });
            }
        }
        changes.push(Change::GuildRemoved { guild_id });
    }

    /// CHANNEL_CREATE and CHANNEL_UPDATE: either may come for a channel that
    /// is known or not, and may come twice.
    pub(super) fn channel(&mut self, channel: &RoomChannel, cx: &mut Context<'_>) {
        let guild_id = self.id;
        if !channel.is_room() {
            self.room_gone(channel.id, Cause::ChannelChanged, cx);
            return;
        }
        if self.tombstones.contains(&channel.id) {
            cx.stats.late_channel_events += 1;
            return;
        }
        let old = self.rooms.get(&channel.id);
        if old.is_none() && self.rooms.len() >= cx.limits.rooms {
            cx.stats.over_limit += 1;
            return;
        }
        let room = merged(old, channel);
        let cause = Cause::Live;
        match old {
            Some(old) if *old == room => return,
            Some(_) => cx.changes.push(Change::RoomUpdated {
                guild_id,
                cause,
                room: room.clone(),
            }),
            None => {
                cx.changes.push(Change::RoomCreated {
                    guild_id,
                    cause,
                    room: room.clone(),
                });
                // Whoever was in the channel before it was a room.
                for (user_id, voice) in &self.voice {
                    if voice.channel_id == channel.id {
                        cx.changes.push(Change::Joined {
                            guild_id,
                            cause: Cause::ChannelChanged,
                            channel_id: channel.id,
                            user_id: *user_id,
                            flags: voice.flags,
                        });
                    }
                }
            }
        }
        self.rooms.insert(channel.id, room);
    }

    /// CHANNEL_DELETE: nobody is in the channel any more, whether or not
    /// Discord also says so of each.
    pub(super) fn channel_deleted(&mut self, id: Id<ChannelMarker>, cx: &mut Context<'_>) {
        self.room_gone(id, Cause::ChannelDeleted, cx);
        self.voice.retain(|_, voice| voice.channel_id != id);
        if !self.tombstones.contains(&id) {
            if self.tombstones.len() >= TOMBSTONES {
                self.tombstones.pop_front();
            }
            self.tombstones.push_back(id);
        }
    }

    /// The channel is no room any more. Its occupants leave the room; where
    /// they are in voice stays known.
    fn room_gone(&mut self, channel_id: Id<ChannelMarker>, cause: Cause, cx: &mut Context<'_>) {
        if self.rooms.remove(&channel_id).is_none() {
            return;
        }
        let guild_id = self.id;
        for (user_id, voice) in &self.voice {
            if voice.channel_id == channel_id {
                cx.changes.push(Change::Left {
                    guild_id,
                    cause,
                    channel_id,
                    user_id: *user_id,
                });
            }
        }
        cx.changes.push(Change::RoomDeleted {
            guild_id,
            cause,
            channel_id,
        });
    }

    /// VOICE_STATE_UPDATE.
    pub(super) fn voice_state(&mut self, state: &VoiceState, cx: &mut Context<'_>) {
        let Some(channel_id) = state.channel_id else {
            self.leave(state.user_id, Cause::Live, cx);
            return;
        };
        if !self.voice.contains_key(&state.user_id) && self.voice.len() >= cx.limits.members {
            cx.stats.over_limit += 1;
            return;
        }
        let new = Voice {
            channel_id,
            session_id: state.session_id.clone(),
            flags: state.flags,
        };
        let old = self.voice.get(&state.user_id);
        let old = old.map(|old| (visible(&self.rooms, Some(old)), old));
        let now = (visible(&self.rooms, Some(&new)), &new);
        cx.changes.extend(transition(
            self.id,
            Cause::Live,
            state.user_id,
            old,
            Some(now),
        ));
        self.voice.insert(state.user_id, new);
    }

    /// The member is in no channel any more.
    pub(super) fn leave(&mut self, user_id: Id<UserMarker>, cause: Cause, cx: &mut Context<'_>) {
        let Some(old) = self.voice.remove(&user_id) else {
            cx.stats.duplicate_leaves += 1;
            return;
        };
        let old = (visible(&self.rooms, Some(&old)), &old);
        cx.changes
            .extend(transition(self.id, cause, user_id, Some(old), None));
    }

    fn rooms_of(
        &self,
        state: &GuildState,
        cx: &mut Context<'_>,
    ) -> BTreeMap<Id<ChannelMarker>, Room> {
        let mut rooms = BTreeMap::new();
        for channel in state.channels.iter().filter(|channel| channel.is_room()) {
            if rooms.len() >= cx.limits.rooms {
                cx.stats.over_limit += 1;
                continue;
            }
            rooms.insert(channel.id, merged(self.rooms.get(&channel.id), channel));
        }
        rooms
    }
}

fn voice_of(state: &GuildState, cx: &mut Context<'_>) -> BTreeMap<Id<UserMarker>, Voice> {
    let mut members = BTreeMap::new();
    for voice in &state.voice_states {
        let Some(channel_id) = voice.channel_id else {
            continue;
        };
        if members.len() >= cx.limits.members {
            cx.stats.over_limit += 1;
            continue;
        }
        let entry = Voice {
            channel_id,
            session_id: voice.session_id.clone(),
            flags: voice.flags,
        };
        members.insert(voice.user_id, entry);
    }
    members
}

/// A channel as a room. Placeholders never overwrite what is known.
fn merged(known: Option<&Room>, channel: &RoomChannel) -> Room {
    let hidden = channel.is_obfuscated();
    let (name, user_limit) = match known.filter(|_| hidden) {
        Some(known) => (known.name.clone(), known.user_limit),
        None => (channel.name.clone(), channel.user_limit),
    };
    Room {
        channel_id: channel.id,
        name,
        parent_id: channel.parent_id,
        user_limit,
        hidden,
    }
}

/// The room that somebody is in, if the channel is one.
fn visible(
    rooms: &BTreeMap<Id<ChannelMarker>, Room>,
    voice: Option<&Voice>,
) -> Option<Id<ChannelMarker>> {
    voice
        .map(|voice| voice.channel_id)
        .filter(|id| rooms.contains_key(id))
}

/// What a member's step from one state to another means, seen through rooms.
fn transition(
    guild_id: Id<GuildMarker>,
    cause: Cause,
    user_id: Id<UserMarker>,
    old: Option<(Option<Id<ChannelMarker>>, &Voice)>,
    new: Option<(Option<Id<ChannelMarker>>, &Voice)>,
) -> Option<Change> {
    let from = old.and_then(|(room, _)| room);
    let to = new.and_then(|(room, voice)| room.map(|room| (room, voice)));
    match (from, to) {
        (None, None) => None,
        (Some(channel_id), None) => Some(Change::Left {
            guild_id,
            cause,
            channel_id,
            user_id,
        }),
        (None, Some((channel_id, voice))) => Some(Change::Joined {
            guild_id,
            cause,
            channel_id,
            user_id,
            flags: voice.flags,
        }),
        (Some(from), Some((to, voice))) if from != to => Some(Change::Moved {
            guild_id,
            cause,
            from,
            to,
            user_id,
            flags: voice.flags,
        }),
        (Some(channel_id), Some((_, voice))) => {
            let (_, before) = old?;
            let session_changed = before.session_id != voice.session_id;
            (session_changed || before.flags != voice.flags).then_some(Change::Updated {
                guild_id,
                cause,
                channel_id,
                user_id,
                flags: voice.flags,
                session_changed,
            })
        }
    }
}
