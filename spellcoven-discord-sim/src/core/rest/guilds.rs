//! Guilds: the guild, its roles, its channels.

use serde_json::{Value, json};

use super::error::{ApiError, UNKNOWN_GUILD};
use super::{Answer, Call};
use crate::core::model::Guild;
use crate::core::{World, wire};
use crate::ids::{GuildId, UserId};

impl World {
    /// The guild, for a bot that is in it. A guild the bot is not in does not exist for it.
    pub(super) fn guild_for(&self, bot: UserId, id: GuildId) -> Result<&Guild, ApiError> {
        self.guilds
            .get(&id)
            .filter(|guild| guild.members.contains_key(&bot))
            .ok_or(UNKNOWN_GUILD)
    }

    /// `GET /guilds/{guild.id}`, with `with_counts`.
    pub(super) fn get_guild(&self, call: &Call<'_>, id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, id)?;
        let mut out = wire::guild_base(guild);
        if matches!(call.param("with_counts"), Some("true" | "1")) {
            out["approximate_member_count"] = json!(guild.members.len());
            out["approximate_presence_count"] = json!(guild.members.len());
        }
        Ok((200, out))
    }

    /// `GET /guilds/{guild.id}/roles`.
    pub(super) fn get_roles(&self, call: &Call<'_>, id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, id)?;
        Ok((200, guild.roles.values().map(wire::role).collect()))
    }

    /// `GET /guilds/{guild.id}/channels`: with obfuscation, without those the bot cannot view.
    pub(super) fn get_channels(&self, call: &Call<'_>, id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, id)?;
        let visible = self.visible_channels(guild, call.bot);
        let channels: Vec<Value> = guild
            .channels
            .values()
            .filter(|channel| !self.settings.obfuscation || visible.contains(&channel.id))
            .map(|channel| wire::channel(channel, true))
            .collect();
        Ok((200, Value::Array(channels)))
    }
}
