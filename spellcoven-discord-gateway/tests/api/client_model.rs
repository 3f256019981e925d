//! A client that applies changes, and insists that each makes sense.

use std::collections::BTreeMap;

use spellcoven_discord_gateway::{Change, GuildSnapshot, VoiceFlags};

/// Channel id -> name, and user id -> self-mute.
pub(crate) type View = BTreeMap<u64, (String, BTreeMap<u64, bool>)>;

/// A client that knows nothing but the changes, and insists on each.
#[derive(Default)]
pub(crate) struct Client {
    /// `None` until the guild was presented.
    pub(crate) view: Option<View>,
}

impl Client {
    pub(crate) fn apply(&mut self, change: &Change) {
        if let Change::Present(snapshot) = change {
            assert!(self.view.is_none(), "a known guild is presented again");
            self.view = Some(view_of(snapshot));
            return;
        }
        let view = self
            .view
            .as_mut()
            .expect("the first change of a guild is Present");
        let mute = |flags: &VoiceFlags| flags.self_mute;
        match change {
            Change::RoomCreated { room, .. } => {
                let old = view.insert(room.channel_id.get(), (room.name.clone(), BTreeMap::new()));
                assert!(old.is_none(), "created twice");
            }
            Change::RoomUpdated { room, .. } => {
                let entry = view
                    .get_mut(&room.channel_id.get())
                    .expect("updated, so known");
                assert_ne!(entry.0, room.name, "an update without a difference");
                entry.0.clone_from(&room.name);
            }
            Change::RoomDeleted { channel_id, .. } => {
                let (_, members) = view.remove(&channel_id.get()).expect("deleted, so known");
                assert!(members.is_empty(), "deleted with somebody in it");
            }
            Change::Joined {
                channel_id,
                user_id,
                flags,
                ..
            } => {
                let user = user_id.get();
                assert!(
                    !view.values().any(|room| room.1.contains_key(&user)),
                    "joined twice"
                );
                let room = view
                    .get_mut(&channel_id.get())
                    .expect("joined a known room");
                room.1.insert(user, mute(flags));
            }
            Change::Left {
                channel_id,
                user_id,
                ..
            } => {
                let room = view.get_mut(&channel_id.get()).expect("left a known room");
                assert!(
                    room.1.remove(&user_id.get()).is_some(),
                    "left without being there"
                );
            }
            Change::Moved {
                from,
                to,
                user_id,
                flags,
                ..
            } => {
                assert_ne!(from, to);
                let room = view.get_mut(&from.get()).expect("moved from a known room");
                assert!(
                    room.1.remove(&user_id.get()).is_some(),
                    "moved without being there"
                );
                let room = view.get_mut(&to.get()).expect("moved to a known room");
                room.1.insert(user_id.get(), mute(flags));
            }
            Change::Updated {
                channel_id,
                user_id,
                flags,
                session_changed,
                ..
            } => {
                let room = view
                    .get_mut(&channel_id.get())
                    .expect("updated in a known room");
                let old = room.1.insert(user_id.get(), mute(flags));
                let old = old.expect("updated, so it was there");
                assert!(
                    old != mute(flags) || *session_changed,
                    "an update without a difference"
                );
            }
            _ => {}
        }
    }
}

pub(crate) fn view_of(snapshot: &GuildSnapshot) -> View {
    snapshot
        .rooms
        .iter()
        .map(|room| {
            let members = room
                .members
                .iter()
                .map(|m| (m.user_id.get(), m.flags.self_mute))
                .collect();
            (
                room.room.channel_id.get(),
                (room.room.name.clone(), members),
            )
        })
        .collect()
}
