//! Members and voice states.
//!
//! See: Discord documentation, Resources, Guild, "Modify Guild Member"; Resources, Voice.

use serde_json::{Value, json};

use super::error::{
    ApiError, MISSING_ACCESS, MISSING_PERMISSIONS, NOT_IN_VOICE, UNKNOWN_CHANNEL, UNKNOWN_MEMBER,
    UNKNOWN_ROLE, UNKNOWN_VOICE_STATE,
};
use super::form::{Form, Leaf};
use super::{Answer, Call};
use crate::clock::iso8601;
use crate::core::audit::{
    MEMBER_DISCONNECT, MEMBER_MOVE, MEMBER_ROLE_UPDATE, MEMBER_UPDATE, change,
};
use crate::core::model::{Guild, Member};
use crate::core::wire::VoiceStateParts;
use crate::core::{World, wire};
use crate::ids::{ChannelId, GuildId, RoleId, UserId};
use crate::intents::Intents;
use crate::permissions::Permissions;

/// The longest time-out: 28 days.
const LONGEST_TIMEOUT_MS: u64 = 28 * 24 * 3600 * 1000;

/// What a body wants of a member. Outer `None`: absent; inner `None`: null.
#[expect(
    clippy::option_option,
    reason = "absent and null are different requests"
)]
struct Wanted {
    channel: Option<Option<u64>>,
    mute: Option<bool>,
    deaf: Option<bool>,
    nick: Option<Option<String>>,
    roles: Option<Vec<RoleId>>,
    timeout: Option<Option<u64>>,
}

impl Wanted {
    fn read(call: &Call<'_>) -> Result<Self, ApiError> {
        let mut form = Form::read(call)?;
        let wanted = Self {
            channel: form.snowflake("channel_id"),
            mute: form.flag("mute").flatten(),
            deaf: form.flag("deaf").flatten(),
            nick: form.text("nick", 0..=32),
            roles: form
                .snowflakes("roles")
                .map(|roles| roles.into_iter().map(RoleId).collect()),
            timeout: form.timestamp("communication_disabled_until"),
        };
        form.done()?;
        Ok(wanted)
    }

    /// Whether it is about one who has to be in voice.
    const fn is_voice(&self) -> bool {
        self.channel.is_some() || self.mute.is_some() || self.deaf.is_some()
    }

    fn apply(self, member: &mut Member) {
        if let Some(nick) = self.nick {
            member.nick = nick.filter(|nick| !nick.is_empty());
        }
        if let Some(mute) = self.mute {
            member.mute = mute;
        }
        if let Some(deaf) = self.deaf {
            member.deaf = deaf;
        }
        if let Some(roles) = self.roles {
            member.roles = roles;
        }
        if let Some(until) = self.timeout {
            member.timeout_until_ms = until;
        }
    }
}

/// The changes of the audit log's "member update"; roles have an entry of their own.
fn differences(before: &Member, after: &Member) -> Vec<Value> {
    let values = |member: &Member| {
        [
            ("nick", json!(member.nick)),
            ("mute", json!(member.mute)),
            ("deaf", json!(member.deaf)),
            (
                "communication_disabled_until",
                json!(member.timeout_until_ms.map(iso8601)),
            ),
        ]
    };
    values(before)
        .into_iter()
        .zip(values(after))
        .filter(|((_, old), (_, new))| old != new)
        .map(|((key, old), (_, new))| change(key, Some(&old), Some(&new)))
        .collect()
}

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

    /// `PATCH /guilds/{guild.id}/members/{user.id}` and `…/@me`: 200 with the member. `channel_id`, `mute`, `deaf`,
    /// `nick`, `roles` and `communication_disabled_until` are simulated; other fields are ignored.
    pub(super) fn modify_member(
        &mut self,
        call: &Call<'_>,
        guild_id: GuildId,
        user: UserId,
    ) -> Answer {
        let guild = self.guild_for(call.bot, guild_id)?;
        let member = guild.members.get(&user).ok_or(UNKNOWN_MEMBER)?;
        let mut wanted = Wanted::read(call)?;
        self.may_modify(call, guild, user, &mut wanted)?;
        let voice = guild.voice.get(&user).cloned();
        if wanted.is_voice() && voice.is_none() {
            return Err(NOT_IN_VOICE);
        }
        if let Some(Some(target)) = wanted.channel {
            self.may_move_to(call.bot, guild_id, ChannelId(target))?;
        }
        let before = member.clone();
        let voice_flags = wanted.mute.is_some() || wanted.deaf.is_some();
        let channel = wanted.channel;
        let roles = wanted.roles.clone();
        if let Some(member) = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.members.get_mut(&user))
        {
            wanted.apply(member);
        }
        let after = self
            .guilds
            .get(&guild_id)
            .and_then(|guild| guild.members.get(&user))
            .cloned()
            .ok_or(UNKNOWN_MEMBER)?;
        let news = differences(&before, &after);
        self.tell_member_change(call, guild_id, user, news, voice_flags);
        if roles.is_some() {
            self.record_roles(call, guild_id, user, &before.roles, &after.roles);
        }
        if let (Some(target), Some(state)) = (channel, voice) {
            self.move_member(call, guild_id, user, target.map(ChannelId), state);
        }
        Ok((200, self.member_body(guild_id, user)?))
    }

    /// The permissions that each field needs, and the role hierarchy for `nick` and `roles`.
    fn may_modify(
        &self,
        call: &Call<'_>,
        guild: &Guild,
        user: UserId,
        wanted: &mut Wanted,
    ) -> Result<(), ApiError> {
        let bits = self.guild_permissions(guild, call.bot);
        let own = user == call.bot;
        let need = |wanted: bool, bit| {
            if wanted && !bits.contains(bit) {
                Err(MISSING_PERMISSIONS)
            } else {
                Ok(())
            }
        };
        need(wanted.channel.is_some(), Permissions::MOVE_MEMBERS)?;
        need(wanted.mute.is_some(), Permissions::MUTE_MEMBERS)?;
        need(wanted.deaf.is_some(), Permissions::DEAFEN_MEMBERS)?;
        need(wanted.timeout.is_some(), Permissions::MODERATE_MEMBERS)?;
        let nick = if own {
            Permissions::CHANGE_NICKNAME
        } else {
            Permissions::MANAGE_NICKNAMES
        };
        need(wanted.nick.is_some(), nick)?;
        let below = guild.rank(user) < guild.rank(call.bot);
        if (wanted.nick.is_some() || wanted.timeout.is_some()) && !own && !below {
            return Err(MISSING_PERMISSIONS);
        }
        if let Some(Some(until)) = wanted.timeout {
            let theirs = self.guild_permissions(guild, user);
            if guild.owner == user || theirs.contains(Permissions::ADMINISTRATOR) {
                return Err(MISSING_PERMISSIONS);
            }
            if until > self.unix_ms().saturating_add(LONGEST_TIMEOUT_MS) {
                let message = "Cannot disable communication for longer than 28 days.";
                return Err(ApiError::form(vec![Leaf::new(
                    "communication_disabled_until",
                    "GUILD_MEMBER_TIMEOUT_TOO_LONG",
                    message,
                )]));
            }
        }
        if let Some(roles) = &mut wanted.roles {
            roles.sort_unstable();
            roles.dedup();
            let now = &guild.members.get(&user).ok_or(UNKNOWN_MEMBER)?.roles;
            let changed = roles
                .iter()
                .filter(|role| !now.contains(role))
                .chain(now.iter().filter(|role| !roles.contains(role)));
            for role in changed {
                self.may_give(call.bot, guild, *role)?;
            }
        }
        Ok(())
    }

    /// Whether a bot may give a role, or take it: MANAGE_ROLES, and its own highest role is above.
    fn may_give(&self, bot: UserId, guild: &Guild, role: RoleId) -> Result<(), ApiError> {
        let found = guild.roles.get(&role).ok_or(UNKNOWN_ROLE)?;
        let allowed = self
            .guild_permissions(guild, bot)
            .contains(Permissions::MANAGE_ROLES);
        if !allowed || found.managed || role.0 == guild.id.0 || found.position >= guild.rank(bot) {
            return Err(MISSING_PERMISSIONS);
        }
        Ok(())
    }

    /// `PUT` and `DELETE /guilds/{guild.id}/members/{user.id}/roles/{role.id}`: 204.
    pub(super) fn change_role(
        &mut self,
        call: &Call<'_>,
        guild_id: GuildId,
        user: UserId,
        role: RoleId,
        add: bool,
    ) -> Answer {
        let guild = self.guild_for(call.bot, guild_id)?;
        let before = guild
            .members
            .get(&user)
            .ok_or(UNKNOWN_MEMBER)?
            .roles
            .clone();
        self.may_give(call.bot, guild, role)?;
        if before.contains(&role) == add {
            return Ok((204, Value::Null));
        }
        let mut after = before.clone();
        if add {
            after.push(role);
        } else {
            after.retain(|have| *have != role);
        }
        if let Some(member) = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.members.get_mut(&user))
        {
            member.roles.clone_from(&after);
        }
        self.send_member_update(guild_id, user);
        self.record_roles(call, guild_id, user, &before, &after);
        Ok((204, Value::Null))
    }

    fn record_roles(
        &mut self,
        call: &Call<'_>,
        guild: GuildId,
        user: UserId,
        before: &[RoleId],
        after: &[RoleId],
    ) {
        let Some(found) = self.guilds.get(&guild) else {
            return;
        };
        let part = |have: &[RoleId], had: &[RoleId]| -> Vec<Value> {
            have.iter()
                .filter(|role| !had.contains(role))
                .map(|role| {
                    let name = found.roles.get(role).map_or("", |role| role.name.as_str());
                    json!({"id": role, "name": name})
                })
                .collect()
        };
        let news: Vec<Value> = [
            ("$add", part(after, before)),
            ("$remove", part(before, after)),
        ]
        .into_iter()
        .filter(|(_, roles)| !roles.is_empty())
        .map(|(key, roles)| change(key, None, Some(&Value::Array(roles))))
        .collect();
        if !news.is_empty() {
            let record = call.record(MEMBER_ROLE_UPDATE, Some(user.0));
            self.record(guild, record.changes(news));
        }
    }

    /// `GET /guilds/{guild.id}/members`: 403 50001 while the application may not use GUILD_MEMBERS.
    pub(super) fn list_members(&self, call: &Call<'_>, id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, id)?;
        if !self
            .settings
            .privileged_intents
            .contains(Intents::GUILD_MEMBERS)
        {
            return Err(MISSING_ACCESS);
        }
        let after = call.number("after").unwrap_or(0);
        let limit = call.limit(1, 1000)?;
        let page = guild.members.values().filter(|m| m.user.0 > after);
        Ok((200, self.members_page(page.take(limit))))
    }

    /// `GET /guilds/{guild.id}/members/search`: those whose name or nickname begins with `query`.
    pub(super) fn search_members(&self, call: &Call<'_>, id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, id)?;
        let wanted = call
            .param("query")
            .map(|text| super::decoded_reason(text).to_lowercase())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                let message = "This field is required";
                ApiError::form(vec![Leaf::new("query", "BASE_TYPE_REQUIRED", message)])
            })?;
        let limit = call.limit(1, 1000)?;
        let page = guild.members.values().filter(|member| {
            let begins = |name: &str| name.to_lowercase().starts_with(&wanted);
            member.nick.as_deref().is_some_and(begins)
                || self
                    .users
                    .get(&member.user)
                    .is_some_and(|user| begins(&user.name))
        });
        Ok((200, self.members_page(page.take(limit))))
    }

    fn members_page<'a>(&self, page: impl Iterator<Item = &'a Member>) -> Value {
        page.filter_map(|member| Some(wire::member(member, self.users.get(&member.user)?)))
            .collect()
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
        self.send_member_update(guild, user);
        self.record(
            guild,
            call.record(MEMBER_UPDATE, Some(user.0)).changes(news),
        );
    }

    fn send_member_update(&mut self, guild: GuildId, user: UserId) {
        let Ok(mut body) = self.member_body(guild, user) else {
            return;
        };
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
