use serde::Serialize;

use crate::{Bot, ChannelId, GuildId, UserId};

/// What a client needs to know of a simulator: the line that `discord-sim` prints, and `GET info` of the control API.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Base URL for REST, ending in `/api/v10`.
    pub api_base: String,
    /// URL of the Gateway.
    pub gateway_url: String,
    /// Base URL of the control API.
    pub control_url: String,
    /// The guild.
    pub guild_id: GuildId,
    /// A voice channel in it.
    pub voice_channel_id: ChannelId,
    /// The bots, each a member of the guild.
    pub bots: Vec<BotDescription>,
    /// The people, each a member of the guild.
    pub people: Vec<PersonDescription>,
}

/// A bot and its token, which works on this simulator and nowhere else.
#[derive(Clone, Debug, Serialize)]
pub struct BotDescription {
    /// Its user id.
    pub user_id: UserId,
    /// Its token.
    pub token: String,
}

impl From<Bot> for BotDescription {
    fn from(bot: Bot) -> Self {
        Self {
            user_id: bot.user_id,
            token: bot.token,
        }
    }
}

/// A person whom the control API can make act.
#[derive(Clone, Debug, Serialize)]
pub struct PersonDescription {
    /// Their user id.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
}
