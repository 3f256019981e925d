//! Calls that change servers: failover, a server that is gone and comes back.

use std::time::Duration;

use serde_json::json;

use super::super::World;
use super::VoiceServerId;
use super::seat::Eviction;
use crate::error::SimError;
use crate::ids::{ChannelId, GuildId, UserId};

/// Servers of calls.
impl World {
    /// The call of a channel goes to another server, as in a failover or a change of region: everyone there gets a
    /// VOICE_SERVER_UPDATE with a new token, and their connection is closed with
    /// [`VoiceSettings::failover_code`](super::VoiceSettings::failover_code). Their session ids stay.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`] for a channel that is not there.
    pub fn move_call(&mut self, channel: ChannelId, to: VoiceServerId) -> Result<(), SimError> {
        let guild = self.guild_of(channel)?;
        self.acted(
            None,
            format!("the call of {channel} goes to voice server {to}"),
        );
        self.rtc.away.remove(&channel);
        self.rtc.placed.insert(channel, to);
        self.seat_anew(guild, channel, None);
        Ok(())
    }

    /// The server of a channel's call is gone: everyone there gets a VOICE_SERVER_UPDATE whose endpoint is null, and their
    /// connections are cut. Who joins meanwhile is told null, too. [`move_call`](Self::move_call) ends it.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`] for a channel that is not there.
    pub fn lose_voice_server(&mut self, channel: ChannelId) -> Result<(), SimError> {
        let guild = self.guild_of(channel)?;
        self.acted(None, format!("the voice server of {channel} is gone"));
        self.rtc.away.insert(channel);
        self.seat_anew(guild, channel, None);
        Ok(())
    }

    /// VOICE_SERVER_UPDATE with a new token for one user, or for everyone in a call; the server stays. How many got one.
    pub fn renew_voice_servers(&mut self, guild: GuildId, user: Option<UserId>) -> usize {
        let channels: std::collections::BTreeSet<ChannelId> = self
            .rtc
            .seats
            .iter()
            .filter(|((at, seated), _)| *at == guild && user.is_none_or(|user| *seated == user))
            .map(|(_, seat)| seat.channel)
            .collect();
        let mut renewed = 0;
        for channel in channels {
            renewed += self.seat_anew(guild, channel, user);
        }
        renewed
    }

    fn guild_of(&self, channel: ChannelId) -> Result<GuildId, SimError> {
        let guild = self.channel_guilds.get(&channel).copied();
        guild.ok_or(SimError::UnknownChannel(channel))
    }

    fn seat_anew(&mut self, guild: GuildId, channel: ChannelId, only: Option<UserId>) -> usize {
        let users: Vec<(UserId, String)> = self
            .seated(channel)
            .into_iter()
            .filter(|(_, user)| only.is_none_or(|only| only == *user))
            .filter_map(|key| Some((key.1, self.rtc.seats.get(&key)?.session.clone())))
            .collect();
        let settings = &self.settings.voice;
        let eviction = Eviction {
            code: settings.failover_code,
            reason: "Call terminated.",
            gap: settings.close_gap,
        };
        let away = self.rtc.away.contains(&channel);
        for (user, session) in &users {
            if away {
                let link = self
                    .rtc
                    .seats
                    .get(&(guild, *user))
                    .and_then(|seat| seat.link);
                if let Some(link) = link {
                    self.cut_link(link);
                }
            }
            self.unseat(*user, guild, eviction);
            self.assign_voice_server(*user, guild, channel, session, Duration::ZERO);
        }
        self.settle_voice();
        users.len()
    }

    /// Gives a user a seat, and tells their session on the main Gateway where it is.
    pub(in crate::core) fn assign_voice_server(
        &mut self,
        user: UserId,
        guild: GuildId,
        channel: ChannelId,
        session: &str,
        gap: Duration,
    ) {
        let (token, endpoint) = self.seat(user, guild, channel, session, gap);
        self.tell_voice_server(
            user,
            session,
            &json!({"token": token, "guild_id": guild, "endpoint": endpoint}),
        );
        self.connect_person((guild, user));
    }
}
