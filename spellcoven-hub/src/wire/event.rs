use serde::{Deserialize, Serialize};

use super::{Snowflake, envelope::names};

/// Something that happened in a room of the guild.
///
/// The worker posts them to the webhook, and the hub sends them to every client of `/api/ws`. Serialised, it is
/// `{"event": name, "payload": {…}}`, the body of the webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload")]
#[non_exhaustive]
pub enum HubEvent {
    /// A voice channel was made.
    #[serde(rename = "room.created")]
    RoomCreated(RoomPayload),
    /// A voice channel's name, parent or user limit changed.
    #[serde(rename = "room.updated")]
    RoomUpdated(RoomPayload),
    /// A voice channel was deleted.
    #[serde(rename = "room.deleted")]
    RoomDeleted(RoomDeleted),
    /// A person joined a room.
    #[serde(rename = "voice.joined")]
    VoiceJoined(VoiceJoined),
    /// A person left a room.
    #[serde(rename = "voice.left")]
    VoiceLeft(VoiceLeft),
    /// A person in a room changed mute, deafen or camera.
    #[serde(rename = "voice.updated")]
    VoiceUpdated(VoiceUpdated),
}

/// Payload of `room.created` and `room.updated`: the room as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomPayload {
    /// The voice channel.
    pub channel_id: Snowflake,
    /// Its name.
    pub name: String,
    /// The guild it belongs to.
    pub guild_id: Snowflake,
    /// The category it stands in, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Snowflake>,
    /// How many may be inside, 0 to 99; 0 means no limit.
    #[serde(default)]
    pub user_limit: u16,
}

/// Payload of `room.deleted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomDeleted {
    /// The voice channel that is gone.
    pub channel_id: Snowflake,
    /// The guild it belonged to.
    pub guild_id: Snowflake,
}

/// Payload of `voice.joined`. A flag that is absent is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoiceJoined {
    /// The guild.
    pub guild_id: Snowflake,
    /// The room joined.
    pub channel_id: Snowflake,
    /// Who joined.
    pub user_id: Snowflake,
    /// Whether they muted themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_mute: Option<bool>,
    /// Whether they deafened themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_deaf: Option<bool>,
    /// Whether their camera is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_video: Option<bool>,
}

/// Payload of `voice.left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoiceLeft {
    /// The guild.
    pub guild_id: Snowflake,
    /// The room left; `null` where the sender does not know it.
    #[serde(default)]
    pub channel_id: Option<Snowflake>,
    /// Who left.
    pub user_id: Snowflake,
}

/// Payload of `voice.updated`: the flags as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoiceUpdated {
    /// The guild.
    pub guild_id: Snowflake,
    /// The room the person is in.
    pub channel_id: Snowflake,
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

impl HubEvent {
    /// The event's name on the wire, such as `room.created`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoomCreated(_) => names::ROOM_CREATED,
            Self::RoomUpdated(_) => names::ROOM_UPDATED,
            Self::RoomDeleted(_) => names::ROOM_DELETED,
            Self::VoiceJoined(_) => names::VOICE_JOINED,
            Self::VoiceLeft(_) => names::VOICE_LEFT,
            Self::VoiceUpdated(_) => names::VOICE_UPDATED,
        }
    }

    /// The guild the event belongs to.
    #[must_use]
    pub const fn guild_id(&self) -> Snowflake {
        match self {
            Self::RoomCreated(room) | Self::RoomUpdated(room) => room.guild_id,
            Self::RoomDeleted(room) => room.guild_id,
            Self::VoiceJoined(voice) => voice.guild_id,
            Self::VoiceLeft(voice) => voice.guild_id,
            Self::VoiceUpdated(voice) => voice.guild_id,
        }
    }

    /// Reads a payload by the event's name; `None` for a name this version does not know.
    ///
    /// # Errors
    ///
    /// The payload is not what the name promises; the sender is at fault.
    pub fn from_parts(name: &str, payload: &str) -> Option<Result<Self, serde_json::Error>> {
        Some(match name {
            names::ROOM_CREATED => serde_json::from_str(payload).map(Self::RoomCreated),
            names::ROOM_UPDATED => serde_json::from_str(payload).map(Self::RoomUpdated),
            names::ROOM_DELETED => serde_json::from_str(payload).map(Self::RoomDeleted),
            names::VOICE_JOINED => serde_json::from_str(payload).map(Self::VoiceJoined),
            names::VOICE_LEFT => serde_json::from_str(payload).map(Self::VoiceLeft),
            names::VOICE_UPDATED => serde_json::from_str(payload).map(Self::VoiceUpdated),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_fields_are_those_of_the_contract() {
        let id = Snowflake::new;
        let cases = [
            (
                HubEvent::RoomCreated(RoomPayload {
                    channel_id: id(2),
                    name: "n".into(),
                    guild_id: id(1),
                    parent_id: None,
                    user_limit: 4,
                }),
                r#"{"event":"room.created","payload":{"channelId":"2","name":"n","guildId":"1","userLimit":4}}"#,
            ),
            (
                HubEvent::RoomDeleted(RoomDeleted {
                    channel_id: id(2),
                    guild_id: id(1),
                }),
                r#"{"event":"room.deleted","payload":{"channelId":"2","guildId":"1"}}"#,
            ),
            (
                HubEvent::VoiceJoined(VoiceJoined {
                    guild_id: id(1),
                    channel_id: id(2),
                    user_id: id(3),
                    self_mute: None,
                    self_deaf: None,
                    self_video: None,
                }),
                r#"{"event":"voice.joined","payload":{"guildId":"1","channelId":"2","userId":"3"}}"#,
            ),
            (
                HubEvent::VoiceLeft(VoiceLeft {
                    guild_id: id(1),
                    channel_id: None,
                    user_id: id(3),
                }),
                r#"{"event":"voice.left","payload":{"guildId":"1","channelId":null,"userId":"3"}}"#,
            ),
        ];
        for (event, json) in cases {
            assert_eq!(serde_json::to_string(&event).unwrap(), json);
            assert_eq!(serde_json::from_str::<HubEvent>(json).unwrap(), event);
            assert!(json.contains(event.name()));
        }
    }
}
