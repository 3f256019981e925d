//! Members and voice states.
//!
//! See: Discord documentation, Resources, Guild, "Modify Guild Member"; Resources, Voice.

use serde_json::{Value, json};

use super::error::{
    ApiError, MISSING_ACCESS, MISSING_PERMISSIONS, NOT_IN_VOICE, UNKNOWN_CHANNEL, UNKNOWN_MEMBER,
    UNKNOWN_VOICE_STATE,
};
use super::form::Form;
use super::{Answer, Call};
use crate::core::audit::{MEMBER_DISCONNECT, MEMBER_MOVE, MEMBER_UPDATE, change};
use crate::core::wire::VoiceStateParts;
use crate::core::{World, wire};
use crate::ids::{ChannelId, GuildId, UserId};
use crate::intents::Intents;
use crate::permissions::Permissions;

impl World {
    /// `GET /guilds/{guild.id}/members/{user.id}`.
    pub(super) fn get_member(&self, call: &Call<'_>, guild: GuildId, user: UserId) -> Answer {
        self.guild_for(call.bot, guild)?;
        Ok((200, self.member_body(guild, user)?))
    }

    fn member_body(&self, guild: GuildId, user: UserId) -> Result<Value, ApiError> {
        let member = self
            .guilds
            .get(&guild)
            .and_then(|g| g.members.get(&user))
            .ok_or(UNKNOWN_MEMBER)?;
        let account = self.users.get(&user).ok_or(UNKNOWN_MEMBER)?;
        Ok(wire::member(member, account))
    }

    /// `PATCH /guilds/{guild.id}/members/{user.id}`: 200 with the member. Of its fields `channel_id`, `mute`, `deaf`
    /// and `nick` are simulated; others are ignored.
    pub(super) fn modify_member(
        &mut self,
        call: &Call<'_>,
        guild_id: GuildId,
        user: UserId,
    ) -> Answer {
        let guild = self.guild_for(call.bot, guild_id)?;
        let member = guild.members.get(&user).ok_or(UNKNOWN_MEMBER)?;
        let mut form = Form::read(call)?;
        let channel = form.snowflake("channel_id");
        let (mute, deaf) = (form.flag("mute").flatten(), form.flag("deaf").flatten());
        let nick = form.text("nick", 0..=32);
        form.done()?;
        let bits = self.guild_permissions(guild, call.bot);
        let need = |wanted: bool, bit| {
            if wanted && !bits.contains(bit) {
                Err(MISSING_PERMISSIONS)
            } else {
                Ok(())
            }
        };
        need(channel.is_some(), Permissions::MOVE_MEMBERS)?;
        need(mute.is_some(), Permissions::MUTE_MEMBERS)?;
        need(deaf.is_some(), Permissions::DEAFEN_MEMBERS)?;
        need(nick.is_some(), Permissions::MANAGE_NICKNAMES)?;
        if nick.is_some() && user != call.bot && guild.rank(user) >= guild.rank(call.bot) {
            return Err(MISSING_PERMISSIONS);
        }
        let voice = guild.voice.get(&user).cloned();
        if (channel.is_some() || mute.is_some() || deaf.is_some()) && voice.is_none() {
            return Err(NOT_IN_VOICE);
        }
        if let Some(Some(target)) = channel {
            self.may_move_to(call.bot, guild_id, ChannelId(target))?;
        }
        let old = (member.nick.clone(), member.mute, member.deaf);
        let mut news = Vec::new();
        if let Some(member) = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.members.get_mut(&user))
        {
            if let Some(nick) = nick {
                let nick = nick.filter(|nick| !nick.is_empty());
                news.push(change("nick", Some(&json!(old.0)), Some(&json!(nick))));
                member.nick = nick;
            }
            for (key, wanted, before) in [("mute", mute, old.1), ("deaf", deaf, old.2)] {
                let Some(wanted) = wanted else { continue };
                news.push(change(key, Some(&json!(before)), Some(&json!(wanted))));
                if key == "mute" {
                    member.mute = wanted
                } else {
                    member.deaf = wanted
                }
            }
        }
        self.tell_member_change(call, guild_id, user, news, mute.is_some() || deaf.is_some());
        if let (Some(target), Some(state)) = (channel, voice) {
            self.move_member(call, guild_id, user, target.map(ChannelId), state);
        }
        Ok((200, self.member_body(guild_id, user)?))
    }

    /// The bot has to be able to connect to the target. MOVE_MEMBERS, which it has, passes over a full channel
    /// (observed).
    fn may_move_to(&self, bot: UserId, guild: GuildId, target: ChannelId) -> Result<(), ApiError> {
        let guild = self.guild_for(bot, guild)?;
        let channel = guild
            .channels
            .get(&target)
            .filter(|c| c.kind.is_voice())
            .ok_or(UNKNOWN_CHANNEL)?;
        let bits = self.channel_permissions(guild, bot, channel);
        if !bits.contains(Permissions::VIEW_CHANNEL | Permissions::CONNECT) {
            return Err(MISSING_ACCESS);
        }
        if !bits.contains(Permissions::MOVE_MEMBERS) {
            return Err(MISSING_PERMISSIONS);
        }
        Ok(())
    }

    fn tell_member_change(
        &mut self,
        call: &Call<'_>,
        guild: GuildId,
        user: UserId,
        news: Vec<Value>,
        voice: bool,
    ) {
        if news.is_empty() {
            return;
        }
        if voice {
            self.announce_voice(user, guild, "");
        }
        if let Ok(mut body) = self.member_body(guild, user) {
            body["guild_id"] = json!(guild);
            // A bot's own updates need no intent.
            self.dispatch_where(
                guild,
                "GUILD_MEMBER_UPDATE",
                Intents::GUILD_MEMBERS,
                Some(user),
                body.to_string(),
            );
        }
        self.record(
            guild,
            call.record(MEMBER_UPDATE, Some(user.0)).changes(news),
        );
    }

    fn move_member(
        &mut self,
        call: &Call<'_>,
        guild: GuildId,
        user: UserId,
        target: Option<ChannelId>,
        mut state: crate::core::model::VoiceState,
    ) {
        let Some(target) = target else {
            self.take_from_voice(user, guild);
            // Discord joins several of these into one entry with a count; here each is one.
            self.record(
                guild,
                call.record(MEMBER_DISCONNECT, None)
                    .options(json!({"count": "1"})),
            );
            return;
        };
        if state.channel == target {
            return;
        }
        state.channel = target;
        self.put_in_voice(user, guild, state);
        let options = json!({"channel_id": target, "count": "1"});
        self.record(guild, call.record(MEMBER_MOVE, None).options(options));
    }

    /// `GET /guilds/{guild.id}/voice-states/{user.id}` and `…/@me`: 404 10065 for one who is not in voice (observed).
    pub(super) fn get_voice_state(&self, call: &Call<'_>, guild: GuildId, user: UserId) -> Answer {
        let guild = self.guild_for(call.bot, guild)?;
        let state = guild.voice.get(&user).ok_or(UNKNOWN_VOICE_STATE)?;
        if user != call.bot {
            let channel = guild
                .channels
                .get(&state.channel)
                .ok_or(UNKNOWN_VOICE_STATE)?;
            let bits = self.channel_permissions(guild, call.bot, channel);
            if !bits.contains(Permissions::VIEW_CHANNEL | Permissions::CONNECT) {
                return Err(MISSING_ACCESS);
            }
        }
        let body = wire::voice_state(&VoiceStateParts {
            state: Some(state),
            last_session: "",
            member: guild.members.get(&user).ok_or(UNKNOWN_MEMBER)?,
            user: self.users.get(&user).ok_or(UNKNOWN_MEMBER)?,
            guild: Some(guild.id),
            with_member: true,
        });
        Ok((200, body))
    }
}
