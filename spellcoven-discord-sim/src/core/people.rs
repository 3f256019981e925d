//! People in voice, and what a test looks at.

use std::collections::BTreeMap;

use super::World;
use super::model::{ChannelView, MessageView, VoiceState, VoiceStateView};
use crate::error::SimError;
use crate::ids::{ChannelId, GuildId, UserId};

/// People in voice.
impl World {
    /// A person joins a voice channel, or moves to it from another one.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
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
            suppress: false,
            request_to_speak_ms: None,
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
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn leave(&mut self, user: UserId) -> Result<(), SimError> {
        let guild = self.voice_guild(user)?;
        self.acted(Some(user), "leaves voice");
        self.take_from_voice(user, guild);
        Ok(())
    }

    /// Mutes or unmutes a person, as by their own button.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_self_mute(&mut self, user: UserId, on: bool) -> Result<(), SimError> {
        self.edit_voice(user, &format!("self mute {on}"), |state| {
            state.self_mute = on
        })
    }

    /// Deafens or undeafens a person, as by their own button.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_self_deaf(&mut self, user: UserId, on: bool) -> Result<(), SimError> {
        self.edit_voice(user, &format!("self deaf {on}"), |state| {
            state.self_deaf = on
        })
    }

    /// Switches a person's camera.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
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
                    suppress: state.suppress,
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
