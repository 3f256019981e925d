//! Voice states: who is in which voice channel.

use super::World;
use super::model::{ChannelKind, VoiceState};
use super::wire::{VoiceStateParts, voice_state_text};
use crate::error::SimError;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::permissions::Permissions;

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
        let change = |world: &mut Self| {
            if let Some(guild) = world.guilds.get_mut(&guild) {
                guild.voice.insert(user, state);
            }
            world.announce_voice(user, guild, "");
        };
        if is_bot {
            self.with_visibility(guild, &[], change);
        } else {
            change(self);
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
        let change = |world: &mut Self| {
            let state = world.guilds.get_mut(&guild)?.voice.remove(&user)?;
            world.announce_voice(user, guild, &state.session);
            Some(state)
        };
        if is_bot {
            self.with_visibility(guild, &[], change)
        } else {
            change(self)
        }
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
}
