use serde::{Deserialize, Serialize};

use super::Snowflake;

/// Every room of a guild and who is in it; the payload of the worker's `guild.snapshot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuildSnapshot {
    /// The guild.
    pub guild_id: Snowflake,
    /// Its rooms. The hub sends them by rising channel id.
    pub rooms: Vec<Room>,
}

/// One room of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// The voice channel.
    pub channel_id: Snowflake,
    /// Its name.
    pub name: String,
    /// The category it stands in, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Snowflake>,
    /// How many may be inside, 0 to 99; 0 means no limit.
    #[serde(default)]
    pub user_limit: u16,
    /// Who is inside. The hub sends them by rising user id.
    #[serde(default)]
    pub members: Vec<Member>,
}

/// One person in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Who.
    pub user_id: Snowflake,
    /// Whether they muted themselves.
    #[serde(default)]
    pub self_mute: bool,
    /// Whether they deafened themselves.
    #[serde(default)]
    pub self_deaf: bool,
    /// Whether their camera is on.
    #[serde(default)]
    pub self_video: bool,
}

/// A snapshot with the point it stands at: the payload of `room.snapshot` and the body of `GET /api/rooms`.
///
/// Events with a higher `seq` of the same `epoch` come on top of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSnapshot {
    /// The guild.
    pub guild_id: Snowflake,
    /// Its rooms, by rising channel id.
    pub rooms: Vec<Room>,
    /// The epoch of the hub's memory.
    pub epoch: String,
    /// The last event that is contained in this snapshot; 0 before the first.
    pub seq: u64,
}

impl RoomSnapshot {
    /// The rooms without the point they stand at.
    #[must_use]
    pub fn into_guild(self) -> GuildSnapshot {
        GuildSnapshot {
            guild_id: self.guild_id,
            rooms: self.rooms,
        }
    }
}
