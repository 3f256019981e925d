use std::{error::Error, time::Duration};

use crate::{BoxFuture, wire::Snowflake};

/// Discord's channel type of voice channels (Discord documentation, "Channel", section "Channel Types").
pub const VOICE_CHANNEL: u8 = 2;

/// What the hub needs of Discord.
///
/// The hub calls it from tasks of its own, so that a caller who goes away does not leave a room half made: a method runs
/// to its end. Retries, rate limits and time-outs belong into the implementation; an answer must come at some time.
/// With feature `discord-rest` there is `DiscordRooms`.
pub trait RoomService: Send + Sync + 'static {
    /// Makes a voice channel in the guild (the specification's `createVoiceChannel`).
    fn create_voice_channel(
        &self,
        room: CreateRoom,
    ) -> BoxFuture<'_, Result<CreatedRoom, RoomError>>;

    /// Deletes a channel (the specification's `deleteChannel`). Already gone when a try is repeated counts as done.
    fn delete_channel<'a>(
        &'a self,
        id: Snowflake,
        request_id: &'a str,
    ) -> BoxFuture<'a, Result<(), RoomError>>;

    /// Looks a channel up. `None` only where Discord says that there is none: the hub then announces a room as gone, for
    /// good. A channel that the bot may not see is [`RoomError::Forbidden`].
    fn channel(&self, id: Snowflake) -> BoxFuture<'_, Result<Option<ChannelInfo>, RoomError>>;

    /// Tells whether Discord can be reached with this bot; for `/ready`. By default it says yes.
    fn check(&self) -> BoxFuture<'_, Result<(), RoomError>> {
        Box::pin(async { Ok(()) })
    }
}

/// A room to make. The hub has checked the ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRoom {
    /// 1 to 100 characters.
    pub name: String,
    /// The category to put it into.
    pub parent_id: Option<Snowflake>,
    /// 0 to 99; 0 means no limit.
    pub user_limit: u16,
    /// The request's id, for the audit log.
    pub request_id: String,
    /// The `sub` of who asks, for the audit log.
    pub user: String,
}

/// A room that Discord made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedRoom {
    /// The voice channel.
    pub channel_id: Snowflake,
    /// Its name as Discord took it.
    pub name: String,
    /// The category it stands in.
    pub parent_id: Option<Snowflake>,
    /// Its user limit.
    pub user_limit: u16,
}

/// What Discord says of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// The channel.
    pub channel_id: Snowflake,
    /// The guild it belongs to; `None` for a channel outside guilds.
    pub guild_id: Option<Snowflake>,
    /// Its type; [`VOICE_CHANNEL`] for a voice channel.
    pub kind: u8,
    /// Its name.
    pub name: String,
    /// The category it stands in.
    pub parent_id: Option<Snowflake>,
}

/// Why Discord did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// Discord refuses the bot: it lacks a permission. Answered 403.
    #[error("Discord refuses the bot: a permission is missing")]
    Forbidden,
    /// The channel or the parent does not exist. Answered 404.
    #[error("Discord does not know the channel")]
    NotFound,
    /// A limit of the guild is reached, such as 500 channels. Answered 409.
    #[error("a limit of the guild is reached: {limit}")]
    Conflict {
        /// Which limit.
        limit: String,
    },
    /// Discord's rate limit, after the retries are spent. Answered 429.
    #[error("Discord's rate limit holds for {} s more", retry_after.as_secs_f32())]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// Discord (or the client's own check) refuses a value. Answered 400.
    #[error("the value of {field} is refused: {reason}")]
    Rejected {
        /// The field, by its name in the hub's API.
        field: String,
        /// Why.
        reason: String,
    },
    /// Discord answered with something unexpected. Answered 502.
    #[error("Discord answered with an error")]
    Upstream {
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Discord cannot be reached, or keeps failing after the retries. Answered 503.
    #[error("Discord cannot be reached")]
    Unavailable {
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}
