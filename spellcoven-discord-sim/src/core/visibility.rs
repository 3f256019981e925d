//! What a bot may see: permissions in channels, and channel obfuscation.
//!
//! See: Discord documentation, Resources, Channel, "Obfuscated Channels".

use std::collections::BTreeSet;

use super::World;
use super::model::{Channel, ChannelKind, Guild};
use crate::ids::{ChannelId, GuildId, UserId};
use crate::permissions::Permissions;

impl World {
    pub(super) fn guild_permissions(&self, guild: &Guild, user: UserId) -> Permissions {
        guild
            .subject(user, self.unix_ms())
            .map_or(Permissions::empty(), |subject| subject.in_guild())
    }

    pub(super) fn channel_permissions(
        &self,
        guild: &Guild,
        user: UserId,
        channel: &Channel,
    ) -> Permissions {
        guild
            .subject(user, self.unix_ms())
            .map_or(Permissions::empty(), |s| {
                s.in_channel(&channel.overwrites, channel.kind.is_voice())
            })
    }

    /// VIEW_CHANNEL there, or connected to it.
    pub(super) fn can_view(&self, guild: &Guild, user: UserId, channel: &Channel) -> bool {
        self.channel_permissions(guild, user, channel)
            .contains(Permissions::VIEW_CHANNEL)
            || guild
                .voice
                .get(&user)
                .is_some_and(|state| state.channel == channel.id)
    }

    /// The same, and a category is in view if any channel in it is.
    pub(super) fn can_view_or_parent(
        &self,
        guild: &Guild,
        user: UserId,
        channel: &Channel,
    ) -> bool {
        self.can_view(guild, user, channel)
            || (channel.kind == ChannelKind::Category
                && guild.channels.values().any(|child| {
                    child.parent == Some(channel.id) && self.can_view(guild, user, child)
                }))
    }

    pub(super) fn visible_channels(&self, guild: &Guild, user: UserId) -> BTreeSet<ChannelId> {
        guild
            .channels
            .values()
            .filter(|channel| self.can_view_or_parent(guild, user, channel))
            .map(|channel| channel.id)
            .collect()
    }

    /// Makes a change that may show or hide channels, then tells each bot of the channels that appeared or vanished
    /// (CHANNEL_UPDATE in full, or obfuscated). `told` are channels whose event the change itself sends.
    pub(super) fn with_visibility<R>(
        &mut self,
        guild: GuildId,
        told: &[ChannelId],
        change: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let before = self.views(guild);
        let result = change(self);
        let after = self.views(guild);
        let mut changed = BTreeSet::new();
        for (bot, seen) in &after {
            let Some((_, seen_before)) = before.iter().find(|(id, _)| id == bot) else {
                continue;
            };
            changed.extend(seen.symmetric_difference(seen_before).copied());
        }
        for id in changed {
            if told.contains(&id) {
                continue;
            }
            let channel = self
                .guilds
                .get(&guild)
                .and_then(|guild| guild.channels.get(&id))
                .cloned();
            if let Some(channel) = channel {
                self.dispatch_channel("CHANNEL_UPDATE", &channel);
            }
        }
        result
    }

    fn views(&self, guild: GuildId) -> Vec<(UserId, BTreeSet<ChannelId>)> {
        if !self.settings.obfuscation {
            return Vec::new();
        }
        let Some(guild) = self.guilds.get(&guild) else {
            return Vec::new();
        };
        self.sessions
            .values()
            .map(|session| session.bot)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|bot| guild.members.contains_key(bot))
            .map(|bot| (bot, self.visible_channels(guild, bot)))
            .collect()
    }
}
