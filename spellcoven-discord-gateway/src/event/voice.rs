use std::fmt;

use serde::{Deserialize, Serialize};
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker, UserMarker},
};

use super::wire;

/// Where a member is in voice, and how.
///
/// Source: Discord documentation, "Voice Resource", Voice State Object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireVoiceState")]
#[non_exhaustive]
pub struct VoiceState {
    /// The guild; absent inside a guild snapshot.
    pub guild_id: Option<Id<GuildMarker>>,
    /// The channel; `None` means that the member left.
    pub channel_id: Option<Id<ChannelMarker>>,
    /// The member.
    pub user_id: Id<UserMarker>,
    /// The Gateway session of the member's own client. It may change without
    /// the member leaving.
    pub session_id: String,
    /// Mute, deafen, camera and so on.
    pub flags: VoiceFlags,
}

/// The switches of a [`VoiceState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VoiceFlags {
    /// The member muted themselves.
    pub self_mute: bool,
    /// The member deafened themselves.
    pub self_deaf: bool,
    /// The member's camera is on.
    pub self_video: bool,
    /// The member streams their screen.
    pub self_stream: bool,
    /// The guild muted the member.
    pub mute: bool,
    /// The guild deafened the member.
    pub deaf: bool,
    /// The member may not speak (stage audience).
    pub suppress: bool,
}

/// Where to connect for voice, after a [`Command::VoiceState`](crate::Command::VoiceState).
///
/// Source: Discord documentation, "Gateway Events", Voice Server Update.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct VoiceServerUpdate {
    /// The guild.
    pub guild_id: Id<GuildMarker>,
    /// The secret for the voice connection.
    pub token: VoiceToken,
    /// Host and port; `None` means that the server went away: drop the voice
    /// connection and wait for the next update.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// The secret of one voice connection. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct VoiceToken(String);

impl VoiceToken {
    /// The secret itself, to be sent to the voice server and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for VoiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoiceToken(<redacted>)")
    }
}

/// The object as it stands on the wire. The switches are listed here once more
/// because serde's `flatten` would buffer the whole object, `member` included.
#[derive(Deserialize)]
struct WireVoiceState {
    #[serde(default)]
    guild_id: Option<Id<GuildMarker>>,
    #[serde(default)]
    channel_id: Option<Id<ChannelMarker>>,
    user_id: Id<UserMarker>,
    #[serde(default, deserialize_with = "wire::null_default")]
    session_id: String,
    #[serde(default, deserialize_with = "wire::null_default")]
    self_mute: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    self_deaf: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    self_video: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    self_stream: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    mute: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    deaf: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    suppress: bool,
}

impl From<WireVoiceState> for VoiceState {
    fn from(wire: WireVoiceState) -> Self {
        Self {
            guild_id: wire.guild_id,
            channel_id: wire.channel_id,
            user_id: wire.user_id,
            session_id: wire.session_id,
            flags: VoiceFlags {
                self_mute: wire.self_mute,
                self_deaf: wire.self_deaf,
                self_video: wire.self_video,
                self_stream: wire.self_stream,
                mute: wire.mute,
                deaf: wire.deaf,
                suppress: wire.suppress,
            },
        }
    }
}
