use serde::{Deserialize, Serialize};
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker, UserMarker},
};

use crate::VoiceFlags;

/// A voice channel (type 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Room {
    /// The channel.
    pub channel_id: Id<ChannelMarker>,
    /// Its name. Where the channel has been hidden ever since it was first
    /// seen, Discord's placeholder `___hidden___`.
    pub name: String,
    /// The category it stands in.
    pub parent_id: Option<Id<ChannelMarker>>,
    /// How many may be in it, 0 to 99; 0 is no limit.
    pub user_limit: u16,
    /// The bot cannot view the channel (Discord documentation, "Channels
    /// Resource", Obfuscated Channels): the name and the limit are the last
    /// that were seen.
    pub hidden: bool,
}

/// A member in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomMember {
    /// The member.
    pub user_id: Id<UserMarker>,
    /// Mute, deafen, camera and so on.
    pub flags: VoiceFlags,
}

/// A room and who is in it, by rising user id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomSnapshot {
    /// The room.
    pub room: Room,
    /// Who is in it.
    pub members: Vec<RoomMember>,
}

/// A guild's rooms, by rising channel id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuildSnapshot {
    /// The guild.
    pub guild_id: Id<GuildMarker>,
    /// Its rooms.
    pub rooms: Vec<RoomSnapshot>,
}

/// How a [`Change`] came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// An event told of it.
    Live,
    /// A guild's new snapshot differed from what was known: the net effect of
    /// what happened while nobody listened. What came and went in between
    /// cannot be known.
    Snapshot,
    /// The bot is no longer in the guild.
    GuildRemoved,
    /// The channel was deleted.
    ChannelDeleted,
    /// The channel became a voice channel, or ceased to be one.
    ChannelChanged,
    /// The member left the guild.
    MemberRemoved,
}

/// One step from one state of a guild's rooms to the next.
///
/// Applied in order to the state before, changes give the state after: a room
/// is created before anyone joins it and empty before it is deleted, and a
/// member is in one room of a guild at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Change {
    /// The first snapshot of a guild that was not known. The members in it
    /// did not join just now, so no [`Joined`](Self::Joined) comes for them.
    Present(GuildSnapshot),
    /// A room that was not there before.
    RoomCreated {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room; nobody is in it yet.
        room: Room,
    },
    /// A field of a room has another value.
    RoomUpdated {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room as it is now.
        room: Room,
    },
    /// A room is gone; whoever was in it has left or moved before.
    RoomDeleted {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room.
        channel_id: Id<ChannelMarker>,
    },
    /// Somebody who was in no room is in one.
    Joined {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room.
        channel_id: Id<ChannelMarker>,
        /// The member.
        user_id: Id<UserMarker>,
        /// Mute, deafen, camera and so on.
        flags: VoiceFlags,
    },
    /// Somebody who was in a room is in none.
    Left {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room that was left.
        channel_id: Id<ChannelMarker>,
        /// The member.
        user_id: Id<UserMarker>,
    },
    /// Somebody is in another room.
    Moved {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room that was left.
        from: Id<ChannelMarker>,
        /// The room that was entered.
        to: Id<ChannelMarker>,
        /// The member.
        user_id: Id<UserMarker>,
        /// Mute, deafen, camera and so on, after the move.
        flags: VoiceFlags,
    },
    /// Somebody stays in a room, and a switch or their client has changed.
    Updated {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// How it came to be known.
        cause: Cause,
        /// The room.
        channel_id: Id<ChannelMarker>,
        /// The member.
        user_id: Id<UserMarker>,
        /// Mute, deafen, camera and so on, as they are now.
        flags: VoiceFlags,
        /// Whether the member's own Gateway session is another (a new client,
        /// or a reconnect of theirs).
        session_changed: bool,
    },
    /// What is known of the guild may be old from here on: do nothing that
    /// cannot be undone (deleting an "empty" room, say) until
    /// [`GuildFresh`](Self::GuildFresh).
    GuildStale {
        /// The guild.
        guild_id: Id<GuildMarker>,
    },
    /// What is known of the guild is true again; the differences came before.
    GuildFresh {
        /// The guild.
        guild_id: Id<GuildMarker>,
    },
    /// The bot is no longer in the guild. Whoever was in a room has
    /// [`Left`](Self::Left) before; the rooms go with the guild.
    GuildRemoved {
        /// The guild.
        guild_id: Id<GuildMarker>,
    },
}

impl Change {
    /// The guild it is about.
    pub fn guild_id(&self) -> Id<GuildMarker> {
        match self {
            Self::Present(snapshot) => snapshot.guild_id,
            Self::RoomCreated { guild_id, .. }
            | Self::RoomUpdated { guild_id, .. }
            | Self::RoomDeleted { guild_id, .. }
            | Self::Joined { guild_id, .. }
            | Self::Left { guild_id, .. }
            | Self::Moved { guild_id, .. }
            | Self::Updated { guild_id, .. }
            | Self::GuildStale { guild_id }
            | Self::GuildFresh { guild_id }
            | Self::GuildRemoved { guild_id } => *guild_id,
        }
    }

    /// How it came to be known.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Present(_) | Self::GuildFresh { .. } => Cause::Snapshot,
            Self::RoomCreated { cause, .. }
            | Self::RoomUpdated { cause, .. }
            | Self::RoomDeleted { cause, .. }
            | Self::Joined { cause, .. }
            | Self::Left { cause, .. }
            | Self::Moved { cause, .. }
            | Self::Updated { cause, .. } => *cause,
            Self::GuildStale { .. } => Cause::Live,
            Self::GuildRemoved { .. } => Cause::GuildRemoved,
        }
    }
}
