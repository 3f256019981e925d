//! A guild's rooms and who is in them, kept by applying snapshots and events:
//! the forwarder's mirror and the client's view.

use std::collections::BTreeMap;

use crate::wire::{GuildSnapshot, HubEvent, Member, Room, RoomPayload, Snowflake};

/// More rooms than any guild can have (Discord allows 500 channels): a bound
/// against a sender gone wild. Rooms beyond it are not taken in.
const MAX_ROOMS: usize = 10_000;
/// The same for people in rooms.
const MAX_MEMBERS: usize = 500_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct RoomInfo {
    name: String,
    parent_id: Option<Snowflake>,
    user_limit: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    channel_id: Snowflake,
    member: Member,
}

/// Rooms by channel, people by user: a person is in one room at most. Somebody
/// in a channel that is no known room is kept and shows once the room does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuildModel {
    rooms: BTreeMap<Snowflake, RoomInfo>,
    people: BTreeMap<Snowflake, Place>,
}

impl GuildModel {
    pub(crate) fn from_snapshot(snapshot: &GuildSnapshot) -> Self {
        let mut model = Self::default();
        for room in &snapshot.rooms {
            let info = RoomInfo {
                name: room.name.clone(),
                parent_id: room.parent_id,
                user_limit: room.user_limit,
            };
            model.put_room(room.channel_id, info);
            for member in &room.members {
                model.put_person(Place {
                    channel_id: room.channel_id,
                    member: *member,
                });
            }
        }
        model
    }

    pub(crate) fn apply(&mut self, event: &HubEvent) {
        match event {
            HubEvent::RoomCreated(room) | HubEvent::RoomUpdated(room) => {
                self.put_room(room.channel_id, info(room))
            }
            HubEvent::RoomDeleted(room) => {
                self.rooms.remove(&room.channel_id);
                self.people
                    .retain(|_, place| place.channel_id != room.channel_id);
            }
            HubEvent::VoiceJoined(joined) => {
                // As the hub does: where they are in this room already, an absent flag leaves what is known.
                let known = self.people.get(&joined.user_id);
                let known = known.filter(|place| place.channel_id == joined.channel_id);
                let known = known.map(|place| place.member);
                let flag =
                    |told: Option<bool>, known: Option<bool>| told.or(known).unwrap_or(false);
                self.put_person(Place {
                    channel_id: joined.channel_id,
                    member: Member {
                        user_id: joined.user_id,
                        self_mute: flag(joined.self_mute, known.map(|member| member.self_mute)),
                        self_deaf: flag(joined.self_deaf, known.map(|member| member.self_deaf)),
                        self_video: flag(joined.self_video, known.map(|member| member.self_video)),
                    },
                });
            }
            HubEvent::VoiceLeft(left) => {
                let place = self.people.get(&left.user_id);
                // A leave that names another channel is late: the person has moved on.
                if place
                    .is_some_and(|place| left.channel_id.is_none_or(|id| id == place.channel_id))
                {
                    self.people.remove(&left.user_id);
                }
            }
            HubEvent::VoiceUpdated(updated) => {
                if let Some(place) = self.people.get_mut(&updated.user_id)
                    && place.channel_id == updated.channel_id
                {
                    place.member.self_mute = updated.self_mute;
                    place.member.self_deaf = updated.self_deaf;
                    place.member.self_video = updated.self_video;
                }
            }
        }
    }

    fn put_room(&mut self, channel_id: Snowflake, info: RoomInfo) {
        if self.rooms.len() < MAX_ROOMS || self.rooms.contains_key(&channel_id) {
            self.rooms.insert(channel_id, info);
        }
    }

    fn put_person(&mut self, place: Place) {
        let user_id = place.member.user_id;
        if self.people.len() < MAX_MEMBERS || self.people.contains_key(&user_id) {
            self.people.insert(user_id, place);
        }
    }

    /// Rooms by rising channel id, members by rising user id.
    pub(crate) fn snapshot(&self, guild_id: Snowflake) -> GuildSnapshot {
        let mut members: BTreeMap<Snowflake, Vec<Member>> = BTreeMap::new();
        for place in self.people.values() {
            members
                .entry(place.channel_id)
                .or_default()
                .push(place.member);
        }
        let rooms = self.rooms.iter().map(|(channel_id, info)| Room {
            channel_id: *channel_id,
            name: info.name.clone(),
            parent_id: info.parent_id,
            user_limit: info.user_limit,
            members: members.remove(channel_id).unwrap_or_default(),
        });
        GuildSnapshot {
            guild_id,
            rooms: rooms.collect(),
        }
    }
}

#[cfg(feature = "forward")]
impl GuildModel {
    /// The people who are in a channel that is no known room yet: no snapshot
    /// can name them, so they are told when the room is.
    pub(crate) fn unshown(&self, channel_id: Snowflake) -> Vec<Member> {
        if self.rooms.contains_key(&channel_id) {
            return Vec::new();
        }
        let inside = self
            .people
            .values()
            .filter(|place| place.channel_id == channel_id);
        inside.map(|place| place.member).collect()
    }
}

#[cfg(feature = "client")]
impl GuildModel {
    pub(crate) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn channel_of(&self, user_id: Snowflake) -> Option<Snowflake> {
        self.people.get(&user_id).map(|place| place.channel_id)
    }

    pub(crate) fn room(&self, channel_id: Snowflake) -> Option<Room> {
        let info = self.rooms.get(&channel_id)?;
        let inside = self
            .people
            .values()
            .filter(|place| place.channel_id == channel_id);
        Some(Room {
            channel_id,
            name: info.name.clone(),
            parent_id: info.parent_id,
            user_limit: info.user_limit,
            members: inside.map(|place| place.member).collect(),
        })
    }
}

fn info(room: &RoomPayload) -> RoomInfo {
    RoomInfo {
        name: room.name.clone(),
        parent_id: room.parent_id,
        user_limit: room.user_limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::VoiceJoined;

    #[test]
    fn a_repeated_join_without_flags_keeps_them_and_a_move_does_not() {
        let guild_id = Snowflake::new(1);
        let user_id = Snowflake::new(4);
        let join = |channel_id: u64, self_mute| {
            HubEvent::VoiceJoined(VoiceJoined {
                guild_id,
                channel_id: channel_id.into(),
                user_id,
                self_mute,
                self_deaf: None,
                self_video: None,
            })
        };
        let mut model = GuildModel::default();
        let mute_after = |event: &HubEvent, model: &mut GuildModel| {
            model.apply(event);
            model.people[&user_id].member.self_mute
        };
        assert!(mute_after(&join(2, Some(true)), &mut model));
        assert!(mute_after(&join(2, None), &mut model));
        assert!(!mute_after(&join(3, None), &mut model));
    }
}
