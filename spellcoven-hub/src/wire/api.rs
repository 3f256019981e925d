use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Snowflake;

/// The body of every error answer of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiErrorBody {
    /// A sentence for a developer.
    pub message: String,
    /// A word to match on, such as `VALIDATION_FAILED`.
    pub code: String,
    /// The request's id, as in `X-Request-Id`; quote it when asking for help.
    pub request_id: String,
    /// More, by code: `field` and `reason` for `VALIDATION_FAILED`, `retryAfter` in seconds for `RATE_LIMITED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Map<String, Value>>,
}

/// The body of `POST /api/create-room`. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateRoomBody {
    /// 1 to 100 characters; default `spell-coven-<nonce>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A category of the guild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Snowflake>,
    /// 0 to 99, 0 for no limit; default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_limit: Option<u16>,
}

/// The 200 answer of `POST /api/create-room`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedRoomBody {
    /// The new voice channel.
    pub channel_id: Snowflake,
    /// Its name, as Discord took it.
    pub name: String,
    /// The guild.
    pub guild_id: Snowflake,
}

/// The 200 answer of `DELETE /api/end-room/:channelId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRoomBody {
    /// Always `true`.
    pub ok: bool,
}
