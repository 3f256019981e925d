//! What the hub knows of the guild: pure, the time is an argument.
//!
//! Every input is compared with the state, and only what really changes comes out as events. The rules, and why:
//!
//! - A deleted channel leaves a tombstone. Snowflakes never return, so nothing but the tombstone's forgetting can bring
//!   the room back. A channel that merely vanished from a snapshot may come back (the bot may have lost and regained sight
//!   of it), but not by a late answer of the API.
//! - A room that is deleted with people in it is announced as `voice.left` for each, then `room.deleted`.
//! - A person in a channel that was not announced yet is kept and announced at once, and the room is kept as a room
//!   without a name, contained in snapshots, until `room.created` or a snapshot brings the rest. So snapshot plus events
//!   is always the whole truth, also with a worker that never announces rooms.
//! - `voice.left` and `room.deleted` of something never seen are passed on as long as no snapshot came in this epoch
//!   (the state may be incomplete), and dropped after that (it is complete).
//! - `voice.left` that names another channel than the one the person is in is late, and dropped.
//! - A room made through the API that the worker has not reported is not ended by a snapshot without it, which may be older
//!   than the room. Discord is asked instead: once its grace is over, and again whenever a later snapshot lacks it.

mod members;
mod memory;
mod snapshot;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use memory::{Deliveries, Memory};

use crate::wire::{
    GuildSnapshot, HubEvent, Member, Room, RoomDeleted, RoomPayload, Snowflake, VoiceLeft,
};
use members::Flags;

/// Bounds of the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLimits {
    pub(crate) max_rooms: usize,
    pub(crate) max_members: usize,
    pub(crate) tombstones: usize,
    pub(crate) confirm_grace: Duration,
}

/// Rooms of one guild and who is in them.
#[derive(Debug)]
pub(crate) struct GuildRooms {
    guild_id: Snowflake,
    limits: StateLimits,
    synced: bool,
    rooms: BTreeMap<Snowflake, RoomEntry>,
    members: BTreeMap<Snowflake, MemberEntry>,
    /// Rooms made through the API that the worker has not reported yet, and when to ask Discord whether they are still
    /// there. `None`: it said yes; the question comes again with a snapshot that lacks the room.
    unconfirmed: BTreeMap<Snowflake, Option<Instant>>,
    gone: Memory<Snowflake, Gone>,
    /// People who are known to be in no room, so that a second `voice.left` says nothing new.
    absent: Memory<Snowflake, ()>,
    overflow: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RoomEntry {
    /// `None`: somebody is inside, but nobody has announced the room.
    about: Option<About>,
    creator: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    name: String,
    parent_id: Option<Snowflake>,
    user_limit: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MemberEntry {
    channel_id: Snowflake,
    flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// Deleted, said the API or the Gateway: final.
    Deleted,
    /// Missing in a snapshot: the worker may bring it back.
    Vanished,
}

impl GuildRooms {
    pub(crate) fn new(guild_id: Snowflake, limits: StateLimits) -> Self {
        Self {
            guild_id,
            limits,
            synced: false,
            rooms: BTreeMap::new(),
            members: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            gone: Memory::new(limits.tombstones),
            absent: Memory::new(limits.tombstones),
            overflow: 0,
        }
    }

    /// Whether a snapshot came in this epoch.
    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    pub(crate) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Rooms and people that were not kept for want of space.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow
    }

    pub(crate) fn knows(&self, channel_id: Snowflake) -> bool {
        self.rooms.contains_key(&channel_id)
    }

    /// Who made the room through the API.
    pub(crate) fn creator(&self, channel_id: Snowflake) -> Option<Arc<str>> {
        self.rooms.get(&channel_id)?.creator.clone()
    }

    /// An event of the worker.
    pub(crate) fn handle_event(&mut self, event: HubEvent) -> Vec<HubEvent> {
        let mut out = Vec::new();
        if event.guild_id() != self.guild_id {
            return out;
        }
        match event {
            HubEvent::RoomCreated(room) => self.handle_room(room, false, &mut out),
            HubEvent::RoomUpdated(room) => self.handle_room(room, true, &mut out),
            HubEvent::RoomDeleted(room) => self.handle_deleted(room.channel_id, &mut out),
            HubEvent::VoiceJoined(voice) => self.handle_joined(voice, &mut out),
            HubEvent::VoiceLeft(voice) => self.handle_left(voice, &mut out),
            HubEvent::VoiceUpdated(voice) => self.handle_voice_updated(voice, &mut out),
        }
        out
    }

    /// The API's answer to a create: Discord made the room.
    pub(crate) fn api_created(
        &mut self,
        room: RoomPayload,
        creator: &str,
        now: Instant,
    ) -> Vec<HubEvent> {
        let mut out = Vec::new();
        let id = room.channel_id;
        // Made and already ended: the worker was faster than the answer.
        if self.gone.contains(&id) {
            return out;
        }
        let announced = self
            .rooms
            .get(&id)
            .is_some_and(|entry| entry.about.is_some());
        if !announced {
            if !self.put_room(room, &mut out) {
                return out;
            }
            self.unconfirmed
                .insert(id, Some(now + self.limits.confirm_grace));
        }
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.creator = Some(creator.into());
        }
        out
    }

    /// The API's answer to a delete (or a look-up): the channel is gone.
    pub(crate) fn api_deleted(&mut self, channel_id: Snowflake) -> Vec<HubEvent> {
        let mut out = Vec::new();
        self.handle_deleted(channel_id, &mut out);
        out
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.unconfirmed.values().flatten().min().copied()
    }

    /// The rooms that Discord is to be asked about now. Without an answer ([`api_found`](Self::api_found) or
    /// [`api_deleted`](Self::api_deleted)) each is due again after another grace.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Snowflake> {
        let again = now + self.limits.confirm_grace;
        let mut due = Vec::new();
        for (id, at) in &mut self.unconfirmed {
            if at.is_some_and(|at| at <= now) {
                *at = Some(again);
                due.push(*id);
            }
        }
        due
    }

    /// Discord was asked: the room is there.
    pub(crate) fn api_found(&mut self, channel_id: Snowflake) {
        if let Some(at) = self.unconfirmed.get_mut(&channel_id) {
            *at = None;
        }
    }

    /// The room's category, where the room is known in full and the state is that of the worker.
    pub(crate) fn announced(&self, channel_id: Snowflake) -> Option<(&str, Option<Snowflake>)> {
        let about = self.rooms.get(&channel_id)?.about.as_ref()?;
        self.synced.then_some((&about.name, about.parent_id))
    }

    /// Everything, by rising ids.
    pub(crate) fn snapshot(&self) -> GuildSnapshot {
        let mut inside: BTreeMap<Snowflake, Vec<Member>> = BTreeMap::new();
        for (user_id, member) in &self.members {
            inside
                .entry(member.channel_id)
                .or_default()
                .push(member.flags.member(*user_id));
        }
        let rooms = self.rooms.iter().map(|(id, entry)| {
            let about = entry.about.as_ref();
            Room {
                channel_id: *id,
                name: about.map(|about| about.name.clone()).unwrap_or_default(),
                parent_id: about.and_then(|about| about.parent_id),
                user_limit: about.map_or(0, |about| about.user_limit),
                members: inside.remove(id).unwrap_or_default(),
            }
        });
        GuildSnapshot {
            guild_id: self.guild_id,
            rooms: rooms.collect(),
        }
    }

    fn handle_room(&mut self, room: RoomPayload, update: bool, out: &mut Vec<HubEvent>) {
        let id = room.channel_id;
        if self.gone.get(&id) == Some(&Gone::Deleted) {
            return;
        }
        self.gone.remove(&id);
        self.unconfirmed.remove(&id);
        match self.rooms.get(&id).and_then(|entry| entry.about.as_ref()) {
            // A second `room.created` may be an old post sent again: it must not undo a later update.
            Some(_) if !update => {}
            Some(about) if *about == About::of(&room) => {}
            Some(_) => {
                let about = About::of(&room);
                if let Some(entry) = self.rooms.get_mut(&id) {
                    entry.about = Some(about);
                }
                out.push(HubEvent::RoomUpdated(room));
            }
            None => {
                self.put_room(room, out);
            }
        }
    }

    /// Puts a room in that was not announced, unless there is no space.
    fn put_room(&mut self, room: RoomPayload, out: &mut Vec<HubEvent>) -> bool {
        if !self.reserve_room(room.channel_id) {
            return false;
        }
        if let Some(entry) = self.rooms.get_mut(&room.channel_id) {
            entry.about = Some(About::of(&room));
        }
        out.push(HubEvent::RoomCreated(room));
        true
    }

    /// Makes sure that there is an entry, unless there is no space.
    fn reserve_room(&mut self, channel_id: Snowflake) -> bool {
        if !self.rooms.contains_key(&channel_id) {
            if self.rooms.len() >= self.limits.max_rooms {
                self.overflow += 1;
                return false;
            }
            self.rooms.insert(
                channel_id,
                RoomEntry {
                    about: None,
                    creator: None,
                },
            );
        }
        true
    }

    fn handle_deleted(&mut self, channel_id: Snowflake, out: &mut Vec<HubEvent>) {
        let known = self.rooms.contains_key(&channel_id);
        let was_gone = self.gone.contains(&channel_id);
        if known {
            self.remove_room(channel_id, Gone::Deleted, out);
            return;
        }
        self.gone.insert(channel_id, Gone::Deleted);
        if !was_gone && !self.synced {
            out.push(HubEvent::RoomDeleted(RoomDeleted {
                channel_id,
                guild_id: self.guild_id,
            }));
        }
    }

    fn remove_room(&mut self, channel_id: Snowflake, gone: Gone, out: &mut Vec<HubEvent>) {
        let inside: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.channel_id == channel_id)
            .map(|(id, _)| *id)
            .collect();
        for user_id in inside {
            self.remove_member(user_id, out);
        }
        self.rooms.remove(&channel_id);
        self.unconfirmed.remove(&channel_id);
        self.gone.insert(channel_id, gone);
        out.push(HubEvent::RoomDeleted(RoomDeleted {
            channel_id,
            guild_id: self.guild_id,
        }));
    }

    fn remove_member(&mut self, user_id: Snowflake, out: &mut Vec<HubEvent>) {
        if let Some(member) = self.members.remove(&user_id) {
            self.absent.insert(user_id, ());
            let channel_id = Some(member.channel_id);
            out.push(HubEvent::VoiceLeft(VoiceLeft {
                guild_id: self.guild_id,
                channel_id,
                user_id,
            }));
        }
    }
}

impl About {
    fn of(room: &RoomPayload) -> Self {
        Self {
            name: room.name.clone(),
            parent_id: room.parent_id,
            user_limit: room.user_limit,
        }
    }
}
