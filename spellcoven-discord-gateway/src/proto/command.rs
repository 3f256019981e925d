use serde::Serialize;
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker, UserMarker},
};

use crate::CommandError;

/// Discord documentation, "Gateway", Sending Events.
pub(crate) const MAX_PAYLOAD: usize = 4096;

/// Something to send over the Gateway. It waits for READY or RESUMED, and for
/// the limit of 120 messages per minute; a command that was sent is never sent
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Join, move to or leave a voice channel (op 4).
    VoiceState {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// The channel; `None` leaves.
        channel_id: Option<Id<ChannelMarker>>,
        /// Whether the bot mutes itself.
        self_mute: bool,
        /// Whether the bot deafens itself.
        self_deaf: bool,
    },
    /// Ask for members by id (op 8). Where Discord answers with
    /// [`Event::RateLimited`](crate::Event::RateLimited) (documented for
    /// requests for all members of a guild, which this one is not) nothing is
    /// sent again by itself. They come as `GUILD_MEMBERS_CHUNK`, which
    /// [`EventFilter::raw`](crate::EventFilter::raw) can ask for.
    Members {
        /// The guild.
        guild_id: Id<GuildMarker>,
        /// At most 100.
        user_ids: Vec<Id<UserMarker>>,
        /// At most 32 bytes; comes back in the answer.
        nonce: Option<String>,
    },
    /// The bot's status (op 3).
    Presence {
        /// The status.
        status: PresenceStatus,
        /// A line under the bot's name ("custom status"), at most 128
        /// characters.
        text: Option<String>,
    },
    /// Ask for the status line and start time of a guild's voice channels
    /// (op 43); they come as `CHANNEL_INFO`.
    ChannelInfo {
        /// The guild.
        guild_id: Id<GuildMarker>,
    },
}

/// The colours of a presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PresenceStatus {
    /// Green.
    Online,
    /// Yellow.
    Idle,
    /// Red: do not disturb.
    Dnd,
    /// Shown as offline.
    Invisible,
}

#[derive(Serialize)]
struct Payload<D> {
    op: u8,
    d: D,
}

#[derive(Serialize)]
struct VoiceStateData {
    guild_id: Id<GuildMarker>,
    channel_id: Option<Id<ChannelMarker>>,
    self_mute: bool,
    self_deaf: bool,
}

#[derive(Serialize)]
struct MembersData<'a> {
    guild_id: Id<GuildMarker>,
    user_ids: &'a [Id<UserMarker>],
    limit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

#[derive(Serialize)]
struct PresenceData<'a> {
    since: Option<u64>,
    activities: Vec<ActivityData<'a>>,
    status: PresenceStatus,
    afk: bool,
}

#[derive(Serialize)]
struct ActivityData<'a> {
    name: &'static str,
    #[serde(rename = "type")]
    kind: u8,
    state: &'a str,
}

#[derive(Serialize)]
struct ChannelInfoData {
    guild_id: Id<GuildMarker>,
    fields: [&'static str; 2],
}

impl Command {
    /// The payload as it goes over the wire.
    ///
    /// # Errors
    ///
    /// [`CommandError::TooLarge`] over 4096 bytes, [`CommandError::Invalid`]
    /// where a field is out of its range.
    pub fn encode(&self) -> Result<String, CommandError> {
        let text = match self {
            Self::VoiceState {
                guild_id,
                channel_id,
                self_mute,
                self_deaf,
            } => json(
                4,
                VoiceStateData {
                    guild_id: *guild_id,
                    channel_id: *channel_id,
                    self_mute: *self_mute,
                    self_deaf: *self_deaf,
                },
            ),
            Self::Members {
                guild_id,
                user_ids,
                nonce,
            } => {
                check_members(user_ids, nonce.as_deref())?;
                json(
                    8,
                    MembersData {
                        guild_id: *guild_id,
                        user_ids,
                        limit: 0,
                        nonce: nonce.as_deref(),
                    },
                )
            }
            Self::Presence { status, text } => json(
                3,
                PresenceData {
                    since: None,
                    activities: text
                        .iter()
                        .map(|state| ActivityData {
                            name: "Custom Status",
                            kind: 4,
                            state,
                        })
                        .collect(),
                    status: *status,
                    afk: false,
                },
            ),
            Self::ChannelInfo { guild_id } => json(
                43,
                ChannelInfoData {
                    guild_id: *guild_id,
                    fields: ["status", "voice_start_time"],
                },
            ),
        };
        if text.len() > MAX_PAYLOAD {
            return Err(CommandError::TooLarge { size: text.len() });
        }
        Ok(text)
    }
}

fn check_members(user_ids: &[Id<UserMarker>], nonce: Option<&str>) -> Result<(), CommandError> {
    if user_ids.is_empty() || user_ids.len() > 100 {
        return Err(CommandError::Invalid {
            field: "user_ids",
            why: "1 to 100 ids",
        });
    }
    if nonce.is_some_and(|nonce| nonce.len() > 32) {
        // A longer one is ignored by Discord, and the answer could not be told
        // from another's.
        return Err(CommandError::Invalid {
            field: "nonce",
            why: "at most 32 bytes",
        });
    }
    Ok(())
}

pub(crate) fn json(op: u8, d: impl Serialize) -> String {
    serde_json::to_string(&Payload { op, d })
        .expect("structs with string keys and no maps always serialise")
}
