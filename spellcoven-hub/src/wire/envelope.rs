use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Snowflake;

/// The `v` of every message.
pub const PROTOCOL_VERSION: u8 = 1;

/// Names of events, as they stand in `event`.
pub mod names {
    /// Answer to a good `auth`.
    pub const AUTH_OK: &str = "auth.ok";
    /// `event` of a message of type `error`.
    pub const ERROR: &str = "error";
    /// A voice channel was made.
    pub const ROOM_CREATED: &str = "room.created";
    /// A voice channel changed.
    pub const ROOM_UPDATED: &str = "room.updated";
    /// A voice channel was deleted.
    pub const ROOM_DELETED: &str = "room.deleted";
    /// All rooms, on request or where a resume was not possible.
    pub const ROOM_SNAPSHOT: &str = "room.snapshot";
    /// A person joined a room.
    pub const VOICE_JOINED: &str = "voice.joined";
    /// A person left a room.
    pub const VOICE_LEFT: &str = "voice.left";
    /// A person in a room changed mute, deafen or camera.
    pub const VOICE_UPDATED: &str = "voice.updated";
    /// Webhook only: all rooms as the worker sees them.
    pub const GUILD_SNAPSHOT: &str = "guild.snapshot";
    /// Webhook only: changes nothing, asks for the hub's epoch.
    pub const HUB_PING: &str = "hub.ping";
}

/// A message from the hub to a client of `/api/ws`.
///
/// `P` is the payload; a reader takes it raw first, and reads it by the `event`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<P = Box<RawValue>> {
    /// [`PROTOCOL_VERSION`].
    pub v: u8,
    /// What sort of message it is.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// The name of what happened, one of [`names`].
    pub event: String,
    /// What belongs to the name; always there.
    pub payload: P,
    /// When the hub made the message, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// On `auth.ok` alone: the guild, once more, for clients that read it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guild_id: Option<Snowflake>,
    /// The epoch of the hub's memory; on events and snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// The event's number within the epoch; on a snapshot, the last number contained in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// On messages of type `error`: what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// The `type` of an [`Envelope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MessageKind {
    /// Something happened, or a snapshot.
    Event,
    /// Answer to a message of the client.
    Ack,
    /// A message of the client was refused, or the connection is about to be closed.
    Error,
    /// A type this version does not know; to be ignored.
    #[serde(other)]
    Unknown,
}

/// The `error` of a message of type `error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What sort of error.
    pub code: ErrorCode,
    /// A sentence for a developer.
    pub message: String,
}

/// The codes of WebSocket errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The token is missing, bad or expired.
    Unauthorized,
    /// The user may not.
    Forbidden,
    /// Not a message of the protocol.
    BadRequest,
    /// The hub failed.
    InternalError,
    /// A code this version does not know.
    #[serde(other)]
    Unknown,
}

/// The payload of `auth.ok`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthOk {
    /// The guild whose events follow.
    pub guild_id: Snowflake,
    /// How a client should reconnect. Absent on the original hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<ReconnectAdvice>,
    /// The epoch of the hub's memory. Absent on the original hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Where this connection stands: the next event has this number plus one. After a good resume it is the `seq`
    /// that the client sent, and the missed events follow. Absent on the original hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Only where the client asked to resume: whether the missed events follow (`true`) or a `room.snapshot` (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<bool>,
}

/// How a client should reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconnectAdvice {
    /// After so many failed attempts in a row, stop and ask the person (MAX_WS_RECONNECT_ATTEMPTS).
    pub max_attempts: u32,
}
