use std::{collections::BTreeMap, time::Instant};

use super::{Gone, GuildRooms, MemberEntry, members::Flags};
use crate::wire::{GuildSnapshot, HubEvent, RoomPayload, Snowflake};

impl GuildRooms {
    /// The worker's view of everything. What differs comes out as events: left, deleted, created and updated, joined,
    /// voice updated, each by rising id.
    ///
    /// Rooms that were deleted are ignored, with who is in them: the snapshot is older than the deletion. A room of the API
    /// that the worker never reported stays, and Discord is asked about it. A person who stands in several rooms counts in
    /// the first.
    pub(crate) fn handle_snapshot(
        &mut self,
        snapshot: GuildSnapshot,
        now: Instant,
    ) -> Vec<HubEvent> {
        let mut out = Vec::new();
        if snapshot.guild_id != self.guild_id {
            return out;
        }
        self.synced = true;
        let (rooms, members) = self.read(snapshot);
        self.drop_left(&rooms, &members, &mut out);
        self.drop_rooms(&rooms, now, &mut out);
        for (id, room) in rooms {
            self.gone.remove(&id);
            self.handle_room(room, true, &mut out);
        }
        // Joins before changes of flags, so two passes.
        for joins in [true, false] {
            for (user_id, member) in &members {
                if self.is_in(*user_id, member.channel_id) != joins {
                    self.place(*user_id, member.channel_id, member.flags, &mut out);
                }
            }
        }
        out
    }

    fn is_in(&self, user_id: Snowflake, channel_id: Snowflake) -> bool {
        self.members
            .get(&user_id)
            .is_some_and(|member| member.channel_id == channel_id)
    }

    /// The snapshot as maps, without what was deleted meanwhile.
    fn read(
        &self,
        snapshot: GuildSnapshot,
    ) -> (
        BTreeMap<Snowflake, RoomPayload>,
        BTreeMap<Snowflake, MemberEntry>,
    ) {
        let mut rooms = BTreeMap::new();
        let mut members = BTreeMap::new();
        for room in snapshot.rooms {
            let channel_id = room.channel_id;
            if self.gone.get(&channel_id) == Some(&Gone::Deleted) {
                continue;
            }
            for member in &room.members {
                let flags = Flags::of(member);
                members
                    .entry(member.user_id)
                    .or_insert(MemberEntry { channel_id, flags });
            }
            rooms.entry(channel_id).or_insert(RoomPayload {
                channel_id,
                name: room.name,
                guild_id: self.guild_id,
                parent_id: room.parent_id,
                user_limit: room.user_limit,
            });
        }
        (rooms, members)
    }

    fn drop_left(
        &mut self,
        rooms: &BTreeMap<Snowflake, RoomPayload>,
        members: &BTreeMap<Snowflake, MemberEntry>,
        out: &mut Vec<HubEvent>,
    ) {
        let left: Vec<_> = self
            .members
            .iter()
            .filter(|(user_id, member)| {
                let same = members
                    .get(user_id)
                    .is_some_and(|now| now.channel_id == member.channel_id);
                !same || !rooms.contains_key(&member.channel_id)
            })
            .map(|(user_id, _)| *user_id)
            .collect();
        for user_id in left {
            self.remove_member(user_id, out);
        }
    }

    fn drop_rooms(
        &mut self,
        rooms: &BTreeMap<Snowflake, RoomPayload>,
        now: Instant,
        out: &mut Vec<HubEvent>,
    ) {
        let missing: Vec<_> = self
            .rooms
            .keys()
            .filter(|id| !rooms.contains_key(id))
            .copied()
            .collect();
        for id in missing {
            match self.unconfirmed.get_mut(&id) {
                Some(ask) => {
                    ask.get_or_insert(now);
                }
                None => self.remove_room(id, Gone::Vanished, out),
            }
        }
    }
}
