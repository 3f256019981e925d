//! Channels: made, changed and deleted, by a test or through REST.

use super::World;
use super::model::{Channel, ChannelKind};
use crate::error::SimError;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::permissions::Overwrite;
use crate::settings::DeleteOrder;

/// Channels.
impl World {
    /// A channel of any kind at the end of the list.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
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
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn delete_channel(&mut self, id: ChannelId) -> Result<(), SimError> {
        self.remove_channel(id)
            .ok_or(SimError::UnknownChannel(id))?;
        self.acted(None, format!("channel {id} was deleted"));
        Ok(())
    }

    /// Renames a channel, as a person would in Discord itself.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn rename_channel(&mut self, id: ChannelId, name: &str) -> Result<(), SimError> {
        self.edit_channel(id, |channel| name.clone_into(&mut channel.name))?;
        self.acted(None, format!("channel {id} was renamed to {name:?}"));
        Ok(())
    }

    /// Sets a channel's user limit; 0 for none.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_user_limit(&mut self, id: ChannelId, limit: u32) -> Result<(), SimError> {
        self.edit_channel(id, |channel| channel.user_limit = limit)?;
        self.acted(None, format!("channel {id} got a user limit of {limit}"));
        Ok(())
    }

    /// Sets all permission overwrites of a channel.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_overwrites(
        &mut self,
        id: ChannelId,
        overwrites: Vec<Overwrite>,
    ) -> Result<(), SimError> {
        self.edit_channel(id, |channel| channel.overwrites = overwrites)?;
        self.acted(None, format!("channel {id} got other overwrites"));
        Ok(())
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
        #[cfg(feature = "voice")]
        self.end_call(guild, id, self.settings.voice.deleted_code);
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
