//! What a test does: it makes guilds, channels, people and bots, moves people about and orders faults.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::World;
use super::model::{
    BotAccount, Channel, ChannelKind, ChannelView, Guild, IdentifyBudget, Member, MessageView,
    Role, User, VoiceState, VoiceStateView,
};
use super::wire;
use crate::error::SimError;
use crate::faults::{Fault, RestFault};
use crate::ids::{ApplicationId, ChannelId, GuildId, RoleId, UserId};
use crate::intents::Intents;
use crate::permissions::{Overwrite, Permissions};
use crate::settings::DeleteOrder;

/// A bot as a test holds it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Bot {
    /// The bot's user.
    pub user_id: UserId,
    /// The application it belongs to; the same number, as with new applications.
    pub application_id: ApplicationId,
    /// The token it was made with, without the word `Bot`. Good for this simulator alone.
    pub token: String,
}

impl std::fmt::Debug for Bot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bot")
            .field("user_id", &self.user_id)
            .field("application_id", &self.application_id)
            .field("token", &"<redacted>")
            .finish()
    }
}

impl From<&Bot> for UserId {
    fn from(bot: &Bot) -> Self {
        bot.user_id
    }
}

/// Making things.
impl World {
    /// A guild with `@everyone` and an owner of its own, and no channels.
    pub fn add_guild(&mut self, name: &str) -> GuildId {
        let id = GuildId(self.ids.next_guild(self.start_ms));
        let owner = self.make_user("owner", false);
        let everyone = Role {
            id: RoleId(id.0),
            name: "@everyone".to_owned(),
            permissions: Permissions::DEFAULT_EVERYONE,
            position: 0,
            managed: false,
        };
        let guild = Guild {
            id,
            name: name.to_owned(),
            owner,
            roles: BTreeMap::from([(everyone.id, everyone)]),
            members: BTreeMap::new(),
            channels: BTreeMap::new(),
            voice: BTreeMap::new(),
            audit: VecDeque::new(),
            unavailable: false,
        };
        self.guilds.insert(id, guild);
        self.insert_member(owner, id, Vec::new());
        self.acted(None, format!("guild {name:?} ({id}) was made"));
        id
    }

    /// A bot in a guild, with a role of its own that grants [`Permissions::DEFAULT_BOT`]. With an unknown guild it is
    /// in none.
    pub fn add_bot(&mut self, name: &str, guild: GuildId) -> Bot {
        let user_id = self.make_user(name, true);
        let application_id = ApplicationId(user_id.0);
        let token = self.make_token(user_id);
        self.tokens.insert(token.clone(), user_id);
        self.bots.insert(
            user_id,
            BotAccount {
                application: application_id,
                token: token.clone(),
                identifies: IdentifyBudget::default(),
                acks_muted: false,
                refuse_resumes: 0,
                hold: false,
                nonces: VecDeque::new(),
            },
        );
        self.acted(Some(user_id), format!("bot {name:?} was made"));
        // An unknown guild leaves the bot without one, as documented.
        let _ = self.add_bot_to_guild(user_id, guild);
        Bot {
            user_id,
            application_id,
            token: token.0,
        }
    }

    /// Lets a bot into one more guild; its live sessions get GUILD_CREATE.
    pub fn add_bot_to_guild(&mut self, bot: UserId, guild: GuildId) -> Result<(), SimError> {
        let name = self
            .users
            .get(&bot)
            .ok_or(SimError::UnknownUser(bot))?
            .name
            .clone();
        if !self.bots.contains_key(&bot) {
            return Err(SimError::NotABot(bot));
        }
        let role = RoleId(self.snowflake());
        let found = self
            .guilds
            .get_mut(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        let position = u32::try_from(found.roles.len()).unwrap_or(u32::MAX);
        let made = Role {
            id: role,
            name,
            permissions: Permissions::DEFAULT_BOT,
            position,
            managed: true,
        };
        found.roles.insert(role, made);
        self.insert_member(bot, guild, vec![role]);
        let sessions: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                s.bot == bot && s.has_guild(guild) && s.intents.contains(Intents::GUILDS)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in sessions {
            let Some(found) = self.guilds.get(&guild) else {
                continue;
            };
            let text = wire::text(&self.guild_create(found, bot));
            self.dispatch_to(key, &"GUILD_CREATE".into(), &text.into());
        }
        Ok(())
    }

    /// A person who is a member of a guild. With an unknown guild they are in none.
    pub fn add_person(&mut self, name: &str, guild: GuildId) -> UserId {
        let user = self.make_user(name, false);
        self.acted(Some(user), format!("person {name:?} was made"));
        // An unknown guild leaves the person without one, as documented.
        let _ = self.add_member(user, guild);
        user
    }

    /// Makes a person a member of one more guild.
    pub fn add_member(&mut self, user: UserId, guild: GuildId) -> Result<(), SimError> {
        if !self.users.contains_key(&user) {
            return Err(SimError::UnknownUser(user));
        }
        if !self.guilds.contains_key(&guild) {
            return Err(SimError::UnknownGuild(guild));
        }
        self.insert_member(user, guild, Vec::new());
        Ok(())
    }

    /// Takes a user out of a guild: they leave its voice channels, then GUILD_MEMBER_REMOVE; a bot gets GUILD_DELETE.
    pub fn remove_member(&mut self, user: UserId, guild: GuildId) -> Result<(), SimError> {
        let found = self
            .guilds
            .get(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        if !found.members.contains_key(&user) {
            return Err(SimError::NotAMember(user, guild));
        }
        self.take_from_voice(user, guild);
        let keys: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                s.bot == user && s.has_guild(guild) && s.intents.contains(Intents::GUILDS)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.dispatch_to(
                key,
                &"GUILD_DELETE".into(),
                &json!({"id": guild}).to_string().into(),
            );
        }
        if let Some(found) = self.guilds.get_mut(&guild) {
            found.members.remove(&user);
        }
        let d = json!({"guild_id": guild, "user": self.users.get(&user).map(wire::user)});
        self.dispatch_guild(guild, "GUILD_MEMBER_REMOVE", d.to_string());
        self.acted(Some(user), format!("left guild {guild}"));
        Ok(())
    }

    /// A channel of any kind at the end of the list.
    pub fn add_channel(
        &mut self,
        guild: GuildId,
        kind: ChannelKind,
        name: &str,
        parent: Option<ChannelId>,
    ) -> Result<ChannelId, SimError> {
        if !self.guilds.contains_key(&guild) {
            return Err(SimError::UnknownGuild(guild));
        }
        let mut channel = Channel::new(ChannelId(self.snowflake()), guild, kind, name.to_owned());
        channel.parent = parent;
        let id = channel.id;
        self.insert_channel(channel);
        self.acted(None, format!("channel {name:?} ({id}) was made"));
        Ok(id)
    }

    /// Deletes a channel; those in it leave, a category's children lose their parent.
    pub fn delete_channel(&mut self, id: ChannelId) -> Result<(), SimError> {
        self.remove_channel(id)
            .ok_or(SimError::UnknownChannel(id))?;
        self.acted(None, format!("channel {id} was deleted"));
        Ok(())
    }

    /// Renames a channel, as a person would in Discord itself.
    pub fn rename_channel(&mut self, id: ChannelId, name: &str) -> Result<(), SimError> {
        self.edit_channel(id, |channel| name.clone_into(&mut channel.name))?;
        self.acted(None, format!("channel {id} was renamed to {name:?}"));
        Ok(())
    }

    /// Sets a channel's user limit; 0 for none.
    pub fn set_user_limit(&mut self, id: ChannelId, limit: u32) -> Result<(), SimError> {
        self.edit_channel(id, |channel| channel.user_limit = limit)?;
        self.acted(None, format!("channel {id} got a user limit of {limit}"));
        Ok(())
    }

    /// Sets all permission overwrites of a channel.
    pub fn set_overwrites(
        &mut self,
        id: ChannelId,
        overwrites: Vec<Overwrite>,
    ) -> Result<(), SimError> {
        self.edit_channel(id, |channel| channel.overwrites = overwrites)?;
        self.acted(None, format!("channel {id} got other overwrites"));
        Ok(())
    }

    /// Sets what a bot's own role grants in a guild. `@everyone` still grants its own.
    pub fn set_permissions(
        &mut self,
        bot: UserId,
        guild: GuildId,
        bits: Permissions,
    ) -> Result<(), SimError> {
        let found = self
            .guilds
            .get(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        let member = found
            .members
            .get(&bot)
            .ok_or(SimError::NotAMember(bot, guild))?;
        let role = *member.roles.first().ok_or(SimError::NotABot(bot))?;
        self.set_role_permissions(guild, role, bits);
        self.acted(
            None,
            format!("permissions of bot {bot} in {guild} are now {}", bits.0),
        );
        Ok(())
    }

    /// Sets what `@everyone` may in a guild.
    pub fn set_everyone_permissions(
        &mut self,
        guild: GuildId,
        bits: Permissions,
    ) -> Result<(), SimError> {
        if !self.guilds.contains_key(&guild) {
            return Err(SimError::UnknownGuild(guild));
        }
        self.set_role_permissions(guild, RoleId(guild.0), bits);
        self.acted(
            None,
            format!("permissions of everyone in {guild} are now {}", bits.0),
        );
        Ok(())
    }

    fn set_role_permissions(&mut self, guild: GuildId, role: RoleId, bits: Permissions) {
        self.with_visibility(guild, &[], |world| {
            let Some(role) = world
                .guilds
                .get_mut(&guild)
                .and_then(|guild| guild.roles.get_mut(&role))
            else {
                return;
            };
            role.permissions = bits;
            let d = json!({"guild_id": guild, "role": wire::role(role)}).to_string();
            world.dispatch_guild(guild, "GUILD_ROLE_UPDATE", d);
        });
    }

    /// Takes a guild away for a while, or brings it back: GUILD_DELETE with `unavailable`, later GUILD_CREATE.
    pub fn set_unavailable(&mut self, guild: GuildId, unavailable: bool) -> Result<(), SimError> {
        let found = self
            .guilds
            .get_mut(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        if std::mem::replace(&mut found.unavailable, unavailable) == unavailable {
            return Ok(());
        }
        self.acted(
            None,
            format!(
                "guild {guild} is {}",
                if unavailable { "unavailable" } else { "back" }
            ),
        );
        if unavailable {
            let d = json!({"id": guild, "unavailable": true}).to_string();
            self.dispatch_guild(guild, "GUILD_DELETE", d);
            return Ok(());
        }
        let keys: Vec<(u64, UserId)> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.has_guild(guild) && s.intents.contains(Intents::GUILDS))
            .map(|(key, s)| (*key, s.bot))
            .collect();
        for (key, bot) in keys {
            let Some(found) = self
                .guilds
                .get(&guild)
                .filter(|g| g.members.contains_key(&bot))
            else {
                continue;
            };
            let text = wire::text(&self.guild_create(found, bot));
            self.dispatch_to(key, &"GUILD_CREATE".into(), &text.into());
        }
        Ok(())
    }

    fn make_user(&mut self, name: &str, is_bot: bool) -> UserId {
        let id = UserId(self.snowflake());
        let client_session = self.hex_id();
        self.users.insert(
            id,
            User {
                id,
                name: name.to_owned(),
                is_bot,
                client_session,
            },
        );
        id
    }

    fn insert_member(&mut self, user: UserId, guild: GuildId, roles: Vec<RoleId>) {
        let member = Member {
            user,
            nick: None,
            roles,
            joined_ms: self.unix_ms(),
            deaf: false,
            mute: false,
            timeout_until_ms: None,
        };
        let Some(account) = self.users.get(&user) else {
            return;
        };
        let mut d = wire::member(&member, account);
        d["guild_id"] = json!(guild);
        if let Some(found) = self.guilds.get_mut(&guild) {
            found.members.insert(user, member);
        }
        self.dispatch_guild(guild, "GUILD_MEMBER_ADD", d.to_string());
    }

    /// Puts a channel into its guild and tells everyone.
    pub(super) fn insert_channel(&mut self, mut channel: Channel) {
        let guild = channel.guild;
        let id = channel.id;
        self.with_visibility(guild, &[id], |world| {
            let Some(found) = world.guilds.get_mut(&guild) else {
                return;
            };
            if channel.position == 0 {
                let same = found
                    .channels
                    .values()
                    .filter(|c| c.kind.is_voice() == channel.kind.is_voice());
                channel.position = u32::try_from(same.count()).unwrap_or(u32::MAX);
            }
            found.channels.insert(id, channel.clone());
            world.channel_guilds.insert(id, guild);
            world.dispatch_channel("CHANNEL_CREATE", &channel);
        });
    }

    /// Changes a channel, and tells everyone.
    pub(super) fn edit_channel(
        &mut self,
        id: ChannelId,
        edit: impl FnOnce(&mut Channel),
    ) -> Result<Channel, SimError> {
        let guild = *self
            .channel_guilds
            .get(&id)
            .ok_or(SimError::UnknownChannel(id))?;
        self.with_visibility(guild, &[id], |world| {
            let channel = world
                .guilds
                .get_mut(&guild)
                .and_then(|guild| guild.channels.get_mut(&id))
                .ok_or(SimError::UnknownChannel(id))?;
            edit(channel);
            let channel = channel.clone();
            world.dispatch_channel("CHANNEL_UPDATE", &channel);
            Ok(channel)
        })
    }

    /// Deletes a channel and tells everyone; the channel as it was.
    pub(super) fn remove_channel(&mut self, id: ChannelId) -> Option<Channel> {
        let guild = *self.channel_guilds.get(&id)?;
        let found = self.guilds.get(&guild)?;
        let occupants: Vec<UserId> = found
            .voice
            .iter()
            .filter(|(_, state)| state.channel == id)
            .map(|(user, _)| *user)
            .collect();
        let children: Vec<ChannelId> = found
            .channels
            .values()
            .filter(|c| c.parent == Some(id))
            .map(|c| c.id)
            .collect();
        let voice_first = self.settings.delete_order == DeleteOrder::VoiceStatesFirst;
        if voice_first {
            for user in &occupants {
                self.take_from_voice(*user, guild);
            }
        }
        let removed = self.with_visibility(guild, &[id], |world| {
            // The event goes out while the channel is still there, so that its sight can be computed.
            let channel = world.guilds.get(&guild)?.channels.get(&id)?.clone();
            world.dispatch_channel("CHANNEL_DELETE", &channel);
            world.guilds.get_mut(&guild)?.channels.remove(&id);
            world.channel_guilds.remove(&id);
            Some(channel)
        })?;
        if !voice_first {
            for user in &occupants {
                self.take_from_voice(*user, guild);
            }
        }
        for child in children {
            // The child was found above and nothing deleted it since.
            let _ = self.edit_channel(child, |channel| channel.parent = None);
        }
        Some(removed)
    }
}

/// People in voice.
impl World {
    /// A person joins a voice channel, or moves to it from another one.
    pub fn join(&mut self, user: UserId, channel: ChannelId) -> Result<(), SimError> {
        let guild = *self
            .channel_guilds
            .get(&channel)
            .ok_or(SimError::UnknownChannel(channel))?;
        let account = self.users.get(&user).ok_or(SimError::UnknownUser(user))?;
        let fresh = VoiceState {
            channel,
            session: account.client_session.clone(),
            self_mute: false,
            self_deaf: false,
            self_video: false,
            self_stream: false,
        };
        self.may_join(user, guild, channel)?;
        let before = self
            .guilds
            .get(&guild)
            .and_then(|guild| guild.voice.get(&user))
            .cloned();
        let state = match before {
            Some(state) => VoiceState {
                channel,
                self_video: false,
                self_stream: false,
                ..state
            },
            None => fresh,
        };
        self.acted(Some(user), format!("joins {channel}"));
        self.put_in_voice(user, guild, state);
        Ok(())
    }

    /// A person leaves voice.
    pub fn leave(&mut self, user: UserId) -> Result<(), SimError> {
        let guild = self.voice_guild(user)?;
        self.acted(Some(user), "leaves voice");
        self.take_from_voice(user, guild);
        Ok(())
    }

    /// Mutes or unmutes a person, as by their own button.
    pub fn set_self_mute(&mut self, user: UserId, on: bool) -> Result<(), SimError> {
        self.edit_voice(user, &format!("self mute {on}"), |state| {
            state.self_mute = on
        })
    }

    /// Deafens or undeafens a person, as by their own button.
    pub fn set_self_deaf(&mut self, user: UserId, on: bool) -> Result<(), SimError> {
        self.edit_voice(user, &format!("self deaf {on}"), |state| {
            state.self_deaf = on
        })
    }

    /// Switches a person's camera.
    pub fn set_self_video(&mut self, user: UserId, on: bool) -> Result<(), SimError> {
        self.edit_voice(user, &format!("self video {on}"), |state| {
            state.self_video = on
        })
    }

    fn edit_voice(
        &mut self,
        user: UserId,
        what: &str,
        edit: impl FnOnce(&mut VoiceState),
    ) -> Result<(), SimError> {
        let guild = self.voice_guild(user)?;
        self.acted(Some(user), what);
        if let Some(state) = self
            .guilds
            .get_mut(&guild)
            .and_then(|guild| guild.voice.get_mut(&user))
        {
            edit(state);
        }
        self.announce_voice(user, guild, "");
        Ok(())
    }

    fn voice_guild(&self, user: UserId) -> Result<GuildId, SimError> {
        if !self.users.contains_key(&user) {
            return Err(SimError::UnknownUser(user));
        }
        self.guilds
            .values()
            .find(|guild| guild.voice.contains_key(&user))
            .map(|guild| guild.id)
            .ok_or(SimError::NotInVoice(user))
    }
}

/// Looking.
impl World {
    /// Who is in voice in a guild.
    #[must_use]
    pub fn voice_states(&self, guild: GuildId) -> BTreeMap<UserId, VoiceStateView> {
        let Some(guild) = self.guilds.get(&guild) else {
            return BTreeMap::new();
        };
        guild
            .voice
            .iter()
            .map(|(user, state)| {
                let member = guild.members.get(user);
                let view = VoiceStateView {
                    channel_id: state.channel,
                    session_id: state.session.clone(),
                    self_mute: state.self_mute,
                    self_deaf: state.self_deaf,
                    self_video: state.self_video,
                    self_stream: state.self_stream,
                    mute: member.is_some_and(|member| member.mute),
                    deaf: member.is_some_and(|member| member.deaf),
                };
                (*user, view)
            })
            .collect()
    }

    /// The channels of a guild, by id.
    #[must_use]
    pub fn channels(&self, guild: GuildId) -> Vec<ChannelView> {
        let Some(guild) = self.guilds.get(&guild) else {
            return Vec::new();
        };
        guild
            .channels
            .values()
            .map(|channel| ChannelView {
                id: channel.id,
                kind: channel.kind,
                name: channel.name.clone(),
                parent_id: channel.parent,
                user_limit: channel.user_limit,
                overwrites: channel.overwrites.clone(),
            })
            .collect()
    }

    /// The messages of a channel that are kept (the last 500), oldest first.
    #[must_use]
    pub fn messages(&self, channel: ChannelId) -> Vec<MessageView> {
        let found = self
            .channel_guilds
            .get(&channel)
            .and_then(|guild| self.guilds.get(guild))
            .and_then(|guild| guild.channels.get(&channel));
        let Some(found) = found else {
            return Vec::new();
        };
        found
            .messages
            .iter()
            .map(|m| MessageView {
                id: m.id,
                author: m.author,
                content: m.content.clone(),
            })
            .collect()
    }

    /// A bot's token as it is now: it changes when the daily identifies are spent.
    #[must_use]
    pub fn token(&self, bot: UserId) -> Option<String> {
        self.bots.get(&bot).map(|account| account.token.0.clone())
    }

    /// How many sessions of a bot can be resumed or are live, and how many of them are live.
    #[must_use]
    pub fn session_count(&self, bot: UserId) -> (usize, usize) {
        let mine = || self.sessions.values().filter(|session| session.bot == bot);
        (
            mine().count(),
            mine()
                .filter(|session| session.connection.is_some())
                .count(),
        )
    }
}

/// Faults.
impl World {
    /// Orders a fault of the Gateway for a bot: it strikes its live sessions, or from now on.
    pub fn fault(&mut self, bot: UserId, fault: &Fault) {
        self.acted(Some(bot), format!("fault: {fault:?}"));
        let connections = self.connections_of(bot);
        match *fault {
            Fault::Cut => connections
                .into_iter()
                .for_each(|id| self.cut_connection(id, "fault")),
            Fault::Reconnect => {
                let at = self.now.saturating_add(self.settings.reconnect_grace);
                for id in connections {
                    self.send_op(id, 7, &Value::Null);
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.close_at = Some(at);
                    }
                }
            }
            Fault::InvalidSession { resumable } => {
                connections
                    .into_iter()
                    .for_each(|id| self.invalidate_session(id, resumable));
            }
            Fault::Close { code } => {
                connections
                    .into_iter()
                    .for_each(|id| self.close_connection(id, code, "fault"));
            }
            Fault::RequestHeartbeat => {
                connections
                    .into_iter()
                    .for_each(|id| self.send_op(id, 1, &Value::Null));
            }
            Fault::MuteAcks { on } => {
                if let Some(account) = self.bots.get_mut(&bot) {
                    account.acks_muted = on;
                }
            }
            Fault::RefuseResume { times } => {
                if let Some(account) = self.bots.get_mut(&bot) {
                    account.refuse_resumes = times;
                }
            }
            Fault::HoldEvents { on } => {
                if let Some(account) = self.bots.get_mut(&bot) {
                    account.hold = on;
                }
                for id in connections {
                    self.release_due(id);
                    self.ready.insert(id);
                }
            }
        }
    }

    /// Orders a fault of REST. Faults strike in the order they were ordered; at most 1000 wait, more are dropped.
    pub fn rest_fault(&mut self, fault: RestFault) {
        self.acted(None, format!("fault: {fault:?}"));
        if self.rest_faults.len() < 1000 {
            self.rest_faults.push(fault);
        }
    }

    /// Takes back all REST faults that have not struck yet.
    pub fn clear_rest_faults(&mut self) {
        self.rest_faults.clear();
    }

    /// Sends an event of the test's own making to all sessions of a guild that have the intent.
    ///
    /// Unknown names are let through: clients must bear them.
    pub fn emit(&mut self, guild: GuildId, t: &str, d: &Value, need: Intents) {
        self.dispatch_where(guild, t, need, None, d.to_string());
    }

    fn invalidate_session(&mut self, id: super::ConnectionId, resumable: bool) {
        self.send_op(id, 9, &Value::Bool(resumable));
        let Some(key) = self.connections.get_mut(&id).and_then(|c| {
            c.pending.clear();
            c.session.take()
        }) else {
            return;
        };
        if resumable {
            self.detach_session(key);
        } else {
            self.end_session(key, "op 9 on a live session");
        }
    }
}
