//! Voice states: who is in which voice channel.

use std::time::Duration;

use serde_json::{Value, json};

use super::World;
use super::model::{ChannelKind, VoiceState};
use super::wire::{VoiceStateParts, voice_state_text};
use crate::error::SimError;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::permissions::Permissions;

/// How far the end of a voice connection and the events of the main Gateway are apart.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// How much later the voice connection is closed.
    pub(super) close: Duration,
    /// The delay of events to go back to, where it was changed.
    pub(super) usual_delay: Option<Duration>,
}

impl World {
    /// Whether a user may join a channel by themself: sight, CONNECT and room.
    pub(super) fn may_join(
        &self,
        user: UserId,
        guild: GuildId,
        channel: ChannelId,
    ) -> Result<(), SimError> {
        let guild = self
            .guilds
            .get(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        let target = guild
            .channels
            .get(&channel)
            .ok_or(SimError::UnknownChannel(channel))?;
        if !target.kind.is_voice() {
            return Err(SimError::NotVoice(channel));
        }
        if !guild.members.contains_key(&user) {
            return Err(SimError::NotAMember(user, guild.id));
        }
        let bits = self.channel_permissions(guild, user, target);
        if !bits.contains(Permissions::VIEW_CHANNEL | Permissions::CONNECT) {
            return Err(SimError::NotAllowed(user, channel));
        }
        let inside = guild
            .voice
            .get(&user)
            .is_some_and(|state| state.channel == channel);
        let limit = usize::try_from(target.user_limit).unwrap_or(0);
        // MOVE_MEMBERS enters a full channel (observed).
        if !inside
            && limit > 0
            && guild.occupants(channel) >= limit
            && !bits.contains(Permissions::MOVE_MEMBERS)
        {
            return Err(SimError::ChannelFull(channel));
        }
        Ok(())
    }

    /// Puts a member in a channel, whatever they may, and tells everyone. A person leaves other guilds' channels;
    /// a bot may be in one channel of each guild.
    pub(super) fn put_in_voice(&mut self, user: UserId, guild: GuildId, mut state: VoiceState) {
        self.set_suppression(user, guild, &mut state);
        let is_bot = self.users.get(&user).is_some_and(|user| user.is_bot);
        if !is_bot {
            let elsewhere: Vec<GuildId> = self
                .guilds
                .values()
                .filter(|other| other.id != guild && other.voice.contains_key(&user))
                .map(|other| other.id)
                .collect();
            for other in elsewhere {
                self.take_from_voice(user, other);
            }
        }
        let target = state.channel;
        let before = self
            .guilds
            .get(&guild)
            .and_then(|guild| guild.voice.get(&user));
        // A bot that comes by another session, as after a restart, comes anew.
        let moved =
            before.is_none_or(|before| before.channel != target || before.session != state.session);
        let gaps = if moved {
            self.close_before_events(user, guild)
        } else {
            Gaps::default()
        };
        let session = state.session.clone();
        let change = |world: &mut Self| {
            let before = world
                .guilds
                .get_mut(&guild)
                .and_then(|guild| guild.voice.insert(user, state))
                .map(|state| state.channel);
            world.announce_voice(user, guild, "");
            for channel in before.into_iter().filter(|channel| *channel != target) {
                world.follow_occupancy(guild, channel);
            }
            world.follow_occupancy(guild, target);
        };
        if is_bot {
            self.with_visibility(guild, &[], change);
        } else {
            change(self);
        }
        if moved {
            self.give_voice_server(user, guild, target, &session, gaps.close);
        }
        if let Some(delay) = gaps.usual_delay {
            self.settings.event_delay = delay;
        }
    }

    /// A voice server for one who joined or was moved. Without voice servers there is only their token.
    fn give_voice_server(
        &mut self,
        user: UserId,
        guild: GuildId,
        channel: ChannelId,
        session: &str,
        gap: Duration,
    ) {
        #[cfg(feature = "voice")]
        self.assign_voice_server(user, guild, channel, session, gap);
        #[cfg(not(feature = "voice"))]
        {
            let _ = (channel, gap);
            let server = json!({
                "token": self.hex_id(), "guild_id": guild, "endpoint": self.settings.voice_endpoint,
            });
            self.tell_voice_server(user, session, &server);
        }
    }

    /// VOICE_SERVER_UPDATE for the session through which a user is in voice.
    pub(super) fn tell_voice_server(&mut self, user: UserId, session: &str, server: &Value) {
        let key = self
            .sessions
            .iter()
            .find(|(_, found)| found.bot == user && *found.id == *session)
            .map(|(key, _)| *key);
        if let Some(key) = key {
            self.dispatch_to(
                key,
                &"VOICE_SERVER_UPDATE".into(),
                &super::wire::text(server).into(),
            );
        }
    }

    /// One is about to lose their seat in a call: closes the voice connection now, where the settings want it closed
    /// before the events, and delays these.
    fn close_before_events(&mut self, user: UserId, guild: GuildId) -> Gaps {
        #[cfg(feature = "voice")]
        return self.order_of_close(user, guild);
        #[cfg(not(feature = "voice"))]
        {
            let _ = (user, guild);
            Gaps::default()
        }
    }

    /// Who enters a stage listens, but for those who may mute others there.
    fn set_suppression(&self, user: UserId, guild: GuildId, state: &mut VoiceState) {
        let Some(guild) = self.guilds.get(&guild) else {
            return;
        };
        let before = guild.voice.get(&user).map(|before| before.channel);
        if before == Some(state.channel) {
            return;
        }
        state.request_to_speak_ms = None;
        state.suppress = guild.channels.get(&state.channel).is_some_and(|channel| {
            channel.kind == ChannelKind::Stage
                && !self
                    .channel_permissions(guild, user, channel)
                    .contains(Permissions::MUTE_MEMBERS)
        });
    }

    /// Takes a member out of voice and tells everyone; nothing if they are not in it.
    pub(super) fn take_from_voice(&mut self, user: UserId, guild: GuildId) -> Option<VoiceState> {
        let is_bot = self.users.get(&user).is_some_and(|user| user.is_bot);
        if !self.guilds.get(&guild)?.voice.contains_key(&user) {
            return None;
        }
        let gaps = self.close_before_events(user, guild);
        let change = |world: &mut Self| {
            let state = world.guilds.get_mut(&guild)?.voice.remove(&user)?;
            world.announce_voice(user, guild, &state.session);
            world.follow_occupancy(guild, state.channel);
            Some(state)
        };
        let state = if is_bot {
            self.with_visibility(guild, &[], change)
        } else {
            change(self)
        };
        #[cfg(feature = "voice")]
        self.leave_seat(user, guild, gaps.close);
        if let Some(delay) = gaps.usual_delay {
            self.settings.event_delay = delay;
        }
        state
    }

    /// VOICE_STATE_UPDATE as things stand. `last_session` is the session id of one who just left.
    pub(super) fn announce_voice(&mut self, user: UserId, guild: GuildId, last_session: &str) {
        let Some(found) = self.guilds.get(&guild) else {
            return;
        };
        let (Some(member), Some(account)) = (found.members.get(&user), self.users.get(&user))
        else {
            return;
        };
        let text = voice_state_text(&VoiceStateParts {
            state: found.voice.get(&user),
            last_session,
            member,
            user: account,
            guild: Some(guild),
            with_member: true,
        });
        self.dispatch_guild(guild, "VOICE_STATE_UPDATE", text);
    }

    /// Sets what stands under a voice channel's name; `None` or an empty text for nothing. Tells those who see it, if it
    /// changed.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`], [`SimError::NotVoice`]; nothing is changed then.
    pub fn set_voice_status(
        &mut self,
        channel: ChannelId,
        status: Option<String>,
    ) -> Result<(), SimError> {
        let guild = *self
            .channel_guilds
            .get(&channel)
            .ok_or(SimError::UnknownChannel(channel))?;
        let found = self
            .guilds
            .get_mut(&guild)
            .and_then(|guild| guild.channels.get_mut(&channel))
            .ok_or(SimError::UnknownChannel(channel))?;
        if found.kind != ChannelKind::Voice {
            return Err(SimError::NotVoice(channel));
        }
        let status = status.filter(|status| !status.is_empty());
        if found.voice_status == status {
            return Ok(());
        }
        found.voice_status.clone_from(&status);
        self.acted(None, format!("channel {channel} got the status {status:?}"));
        self.announce_voice_status(guild, channel);
        Ok(())
    }

    fn announce_voice_status(&mut self, guild: GuildId, channel: ChannelId) {
        self.dispatch_of_voice_channel(
            guild,
            channel,
            "VOICE_CHANNEL_STATUS_UPDATE",
            |found| json!({"id": channel, "guild_id": guild, "status": found.voice_status}),
        );
    }

    /// Starts a channel's time when the first one comes, and ends it when the last one goes. An empty channel loses its
    /// status, too (observed in Discord's client, not documented).
    ///
    /// See: Discord documentation, Events, Gateway Events, "Voice Channel Start Time Update".
    fn follow_occupancy(&mut self, guild: GuildId, channel: ChannelId) {
        let now = self.unix_ms() / 1000;
        let Some(found) = self.guilds.get_mut(&guild) else {
            return;
        };
        let occupied = found.occupants(channel) > 0;
        let Some(found) = found.channels.get_mut(&channel) else {
            return;
        };
        if occupied == found.voice_start.is_some() {
            return;
        }
        found.voice_start = occupied.then_some(now);
        let lost_status = !occupied && found.voice_status.take().is_some();
        self.dispatch_of_voice_channel(
            guild,
            channel,
            "VOICE_CHANNEL_START_TIME_UPDATE",
            |found| json!({"id": channel, "guild_id": guild, "voice_start_time": found.voice_start}),
        );
        if lost_status {
            self.announce_voice_status(guild, channel);
        }
    }
}
