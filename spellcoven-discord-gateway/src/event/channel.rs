use serde::{Deserialize, Serialize};
use twilight_model::{
    channel::ChannelType,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker},
    },
};

use super::wire;

/// The fields of a guild channel that rooms need; everything else in the
/// payload is skipped without being stored.
///
/// Source: Discord documentation, "Channels Resource", Channel Object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomChannel {
    /// The channel.
    pub id: Id<ChannelMarker>,
    /// Its guild. Channels inside a guild snapshot carry none on the wire;
    /// there the guild's id is filled in.
    #[serde(default)]
    pub guild_id: Option<Id<GuildMarker>>,
    /// Its type; 2 is a voice channel.
    #[serde(rename = "type", deserialize_with = "wire::channel_kind")]
    pub kind: ChannelType,
    /// Its name; `___hidden___` where it is [obfuscated](Self::is_obfuscated).
    #[serde(default, deserialize_with = "wire::null_default")]
    pub name: String,
    /// The category it stands in.
    #[serde(default)]
    pub parent_id: Option<Id<ChannelMarker>>,
    /// How many may be in it, 0 to 99; 0 is no limit.
    #[serde(default, deserialize_with = "wire::null_default")]
    pub user_limit: u16,
    /// Bits, see Discord's Channel Flags.
    #[serde(default, deserialize_with = "wire::null_default")]
    pub flags: u64,
}

impl RoomChannel {
    /// `CHANNEL_OBFUSCATED`: the bot cannot view the channel, and only `id`,
    /// `type`, `position` and `parent_id` are real (Discord documentation,
    /// "Channels Resource", Obfuscated Channels).
    pub const OBFUSCATED: u64 = 1 << 17;

    /// Whether its name and limits are placeholders.
    pub fn is_obfuscated(&self) -> bool {
        self.flags & Self::OBFUSCATED != 0
    }

    /// Whether it is a voice channel (type 2), and so a room.
    pub fn is_room(&self) -> bool {
        self.kind == ChannelType::GuildVoice
    }
}
