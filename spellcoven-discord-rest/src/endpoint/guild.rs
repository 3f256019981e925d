//! Endpoints of a guild.

use http::Method;
use serde::{Deserialize, Serialize};
use twilight_model::{
    channel::{Channel, ChannelType},
    http::permission_overwrite::PermissionOverwrite,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker},
    },
};

use super::{Endpoint, Major, Route};
use crate::validate::{self, ValidationError};

/// `GET /guilds/{guild_id}/channels`. See Discord: Guild Resource, "Get Guild
/// Channels". Since November 2026 the answer leaves out channels that the bot
/// cannot view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GetChannels {
    guild_id: Id<GuildMarker>,
}

impl GetChannels {
    /// Asks for a guild's channels.
    #[must_use]
    pub fn new(guild_id: Id<GuildMarker>) -> Self {
        Self { guild_id }
    }
}

impl Endpoint for GetChannels {
    type Response = Vec<Channel>;

    fn name(&self) -> &'static str {
        "getChannels"
    }

    fn route(&self) -> Route {
        Route::new(
            Method::GET,
            "/guilds/{guild_id}/channels",
            Major::Guild(self.guild_id.get()),
        )
        .param(self.guild_id)
    }
}

/// The body of `POST /guilds/{guild_id}/channels`. See Discord: Guild Resource,
/// "Create Guild Channel".
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CreateChannelBody {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: ChannelType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_id: Option<Id<ChannelMarker>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_limit: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bitrate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permission_overwrites: Option<Vec<PermissionOverwrite>>,
}

impl CreateChannelBody {
    pub(crate) fn route(guild_id: Id<GuildMarker>) -> Route {
        Route::new(
            Method::POST,
            "/guilds/{guild_id}/channels",
            Major::Guild(guild_id.get()),
        )
        .param(guild_id)
    }

    /// The bounds are those that hold in every guild: a bitrate above 96,000
    /// needs a boosted guild, which only Discord knows.
    pub(crate) fn validate(&self) -> Result<(), ValidationError> {
        validate::text("name", &self.name, 1, 100)?;
        if let Some(user_limit) = self.user_limit {
            validate::range("user_limit", user_limit, 0, 99)?;
        }
        if let Some(bitrate) = self.bitrate {
            validate::range("bitrate", bitrate, 8_000, 384_000)?;
        }
        if let Some(overwrites) = &self.permission_overwrites {
            validate::range("permission_overwrites", overwrites.len(), 0, 100)?;
        }
        Ok(())
    }
}

/// `GET /guilds/{guild_id}/audit-logs`, only what the look-up of a create needs.
/// See Discord: Audit Log, "Get Guild Audit Log".
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditLog {
    pub(crate) guild_id: Id<GuildMarker>,
}

/// Part of the answer; all else in it is not read.
#[derive(Debug, Deserialize)]
pub(crate) struct AuditLogPage {
    pub(crate) audit_log_entries: Vec<AuditLogEntry>,
}

/// Part of one entry.
#[derive(Debug, Deserialize)]
pub(crate) struct AuditLogEntry {
    #[serde(default)]
    pub(crate) target_id: Option<String>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

impl Endpoint for AuditLog {
    type Response = AuditLogPage;

    fn name(&self) -> &'static str {
        "getAuditLog"
    }

    fn route(&self) -> Route {
        /// See Discord: Audit Log, "Audit Log Events": CHANNEL_CREATE.
        const CHANNEL_CREATE: u8 = 10;
        Route::new(
            Method::GET,
            "/guilds/{guild_id}/audit-logs",
            Major::Guild(self.guild_id.get()),
        )
        .param(self.guild_id)
        .query("action_type", CHANNEL_CREATE)
        .query("limit", 100)
    }
}
