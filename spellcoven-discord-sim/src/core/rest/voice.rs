//! Voice: a channel's status, and voice states of stage channels.
//!
//! See: Discord documentation, Resources, Voice, "Modify Current User Voice State", "Modify User Voice State"; Resources,
//! Channel, "Set Voice Channel Status".

use serde_json::{Value, json};

use super::error::{
    ApiError, MISSING_ACCESS, MISSING_PERMISSIONS, UNKNOWN_CHANNEL, UNKNOWN_VOICE_STATE,
    WRONG_CHANNEL_TYPE,
};
use super::form::Form;
use super::{Answer, Call};
use crate::core::World;
use crate::core::audit::{VOICE_STATUS_CLEAR, VOICE_STATUS_SET};
use crate::core::model::ChannelKind;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::permissions::Permissions;

impl World {
    /// `PUT /channels/{channel.id}/voice-status`: 204. Needs SET_VOICE_CHANNEL_STATUS, and MANAGE_CHANNELS of one who is
    /// not connected there.
    pub(super) fn put_voice_status(&mut self, call: &Call<'_>, id: ChannelId) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        let bits = self.channel_permissions(guild, call.bot, channel);
        if !bits.contains(Permissions::VIEW_CHANNEL) {
            return Err(MISSING_ACCESS);
        }
        if channel.kind != ChannelKind::Voice {
            return Err(WRONG_CHANNEL_TYPE);
        }
        let inside = guild
            .voice
            .get(&call.bot)
            .is_some_and(|state| state.channel == id);
        if !bits.contains(Permissions::SET_VOICE_CHANNEL_STATUS)
            || (!inside && !bits.contains(Permissions::MANAGE_CHANNELS))
        {
            return Err(MISSING_PERMISSIONS);
        }
        let mut form = Form::read(call)?;
        let status = form.text("status", 0..=500);
        form.done()?;
        let status = status.flatten().filter(|status| !status.is_empty());
        let guild_id = guild.id;
        self.set_voice_status(id, status.clone())
            .map_err(|_| UNKNOWN_CHANNEL)?;
        let record = match status {
            Some(status) => call
                .record(VOICE_STATUS_SET, Some(id.0))
                .options(json!({"channel_id": id, "status": status})),
            None => call
                .record(VOICE_STATUS_CLEAR, Some(id.0))
                .options(json!({ "channel_id": id })),
        };
        self.record(guild_id, record);
        Ok((204, Value::Null))
    }

    /// `PATCH /guilds/{guild.id}/voice-states/{user.id}` and `…/@me`: 204. For stage channels alone.
    pub(super) fn modify_voice_state(
        &mut self,
        call: &Call<'_>,
        guild_id: GuildId,
        user: UserId,
    ) -> Answer {
        let guild = self.guild_for(call.bot, guild_id)?;
        let own = user == call.bot;
        let mut form = Form::read(call)?;
        let channel = form.snowflake("channel_id").flatten().map(ChannelId);
        let suppress = form.flag("suppress").flatten();
        let request = form.timestamp("request_to_speak_timestamp");
        if request.is_some() && !own {
            let message = "Only for the own voice state.";
            form.wrong("request_to_speak_timestamp", "BASE_TYPE_FORBIDDEN", message);
        }
        form.done()?;
        let state = guild.voice.get(&user).ok_or(UNKNOWN_VOICE_STATE)?;
        let stage = guild.channels.get(&state.channel).ok_or(UNKNOWN_CHANNEL)?;
        if stage.kind != ChannelKind::Stage || channel.is_some_and(|id| id != stage.id) {
            return Err(WRONG_CHANNEL_TYPE);
        }
        let bits = self.channel_permissions(guild, call.bot, stage);
        if !bits.contains(Permissions::VIEW_CHANNEL) {
            return Err(MISSING_ACCESS);
        }
        let need = |wanted: bool, bit| -> Result<(), ApiError> {
            if wanted && !bits.contains(bit) {
                return Err(MISSING_PERMISSIONS);
            }
            Ok(())
        };
        // One may always suppress oneself, and take one's own request back.
        need(!own || suppress == Some(false), Permissions::MUTE_MEMBERS)?;
        need(
            matches!(request, Some(Some(_))),
            Permissions::REQUEST_TO_SPEAK,
        )?;
        let now = self.unix_ms();
        let is_bot = self.users.get(&user).is_some_and(|user| user.is_bot);
        if let Some(state) = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.voice.get_mut(&user))
        {
            if let Some(suppress) = suppress {
                state.suppress = suppress;
                // A person who is let speak by someone else is invited: the request is set to now.
                let invited = !suppress && !own && !is_bot;
                state.request_to_speak_ms = invited.then_some(now);
            }
            if let Some(request) = request {
                state.request_to_speak_ms = request;
            }
        }
        self.announce_voice(user, guild_id, "");
        Ok((204, Value::Null))
    }
}
