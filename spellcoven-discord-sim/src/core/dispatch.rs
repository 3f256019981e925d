//! Which session gets which event, and how it gets there.

use std::sync::Arc;

use serde_json::Value;

use super::World;
use super::gateway::{ConnectionId, Event, SessionKey};
use super::model::Channel;
use super::wire;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::intents::{Intents, needed_by};
use crate::journal::EntryKind;

impl World {
    /// Sessions that get this guild's events: the bot is a member, the shard is right, the intents are there.
    fn entitled(
        &self,
        guild: GuildId,
        need: Intents,
        own: Option<UserId>,
    ) -> Vec<(SessionKey, UserId)> {
        let Some(members) = self.guilds.get(&guild).map(|guild| &guild.members) else {
            return Vec::new();
        };
        self.sessions
            .iter()
            .filter(|(_, session)| {
                (session.intents.contains(need) || own == Some(session.bot))
                    && session.follows(guild)
                    && members.contains_key(&session.bot)
            })
            .map(|(key, session)| (*key, session.bot))
            .collect()
    }

    /// An event of a guild, the same for all: serialised once.
    pub(super) fn dispatch_guild(&mut self, guild: GuildId, t: &str, d: impl Into<Arc<str>>) {
        self.dispatch_where(guild, t, needed_by(t), None, d);
    }

    /// The same with the intent named, and with a bot that gets it without (its own member updates).
    pub(super) fn dispatch_where(
        &mut self,
        guild: GuildId,
        t: &str,
        need: Intents,
        own: Option<UserId>,
        d: impl Into<Arc<str>>,
    ) {
        let targets = self.entitled(guild, need, own);
        if targets.is_empty() {
            return;
        }
        let (t, d): (Arc<str>, Arc<str>) = (t.into(), d.into());
        for (key, _) in targets {
            self.dispatch_to(key, &t, &d);
        }
    }

    /// A channel's event: in full, or obfuscated for bots that cannot view it. Each view is serialised once.
    pub(super) fn dispatch_channel(&mut self, t: &str, channel: &Channel) {
        let targets = self.entitled(channel.guild, needed_by(t), None);
        let mut full: Option<Arc<str>> = None;
        let mut hidden: Option<Arc<str>> = None;
        let t: Arc<str> = t.into();
        for (key, bot) in targets {
            let seen = !self.settings.obfuscation
                || self
                    .guilds
                    .get(&channel.guild)
                    .is_some_and(|guild| self.can_view_or_parent(guild, bot, channel));
            let d = if seen {
                full.get_or_insert_with(|| wire::text(&wire::channel(channel, true)).into())
            } else {
                hidden.get_or_insert_with(|| {
                    wire::text(&wire::obfuscated_channel(channel, true)).into()
                })
            };
            let d = Arc::clone(d);
            self.dispatch_to(key, &t, &d);
        }
    }

    /// An event about a voice channel, for those who can view it.
    pub(super) fn dispatch_of_voice_channel(
        &mut self,
        guild: GuildId,
        channel: ChannelId,
        t: &str,
        d: impl FnOnce(&Channel) -> Value,
    ) {
        let Some(found) = self.guilds.get(&guild) else {
            return;
        };
        let Some(channel) = found.channels.get(&channel) else {
            return;
        };
        let mut targets = self.entitled(guild, needed_by(t), None);
        targets.retain(|(_, bot)| self.can_view(found, *bot, channel));
        if targets.is_empty() {
            return;
        }
        let (t, d): (Arc<str>, Arc<str>) = (t.into(), wire::text(&d(channel)).into());
        for (key, _) in targets {
            self.dispatch_to(key, &t, &d);
        }
    }

    /// One event into one session: it gets its number, enters the replay ring and, with a client there, its queue.
    pub(super) fn dispatch_to(&mut self, key: SessionKey, t: &Arc<str>, d: &Arc<str>) {
        let limit = self.settings.replay_limit;
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let event = session.push(t, d, limit);
        let (bot, id, connection) = (session.bot, Arc::clone(&session.id), session.connection);
        let seq = event.seq;
        self.log(EntryKind::Dispatched {
            bot,
            session: id,
            seq,
            t: Arc::clone(t),
            d: Arc::clone(d),
        });
        if let Some(connection) = connection {
            self.deliver(connection, event);
        }
    }

    /// Puts an event in a connection's queue, or keeps it back.
    pub(super) fn deliver(&mut self, id: ConnectionId, event: Arc<Event>) {
        let bound = self.settings.outgoing_bound();
        let delay = self.settings.event_delay;
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // What falls into silence is in the replay ring all the same.
        if connection.silent {
            return;
        }
        let account = connection.bot.and_then(|bot| self.bots.get(&bot));
        let held = account.is_some_and(|bot| bot.hold);
        let copies = if account.is_some_and(|bot| bot.duplicate) {
            2
        } else {
            1
        };
        if connection.waiting() >= bound {
            self.cut_slow(id, bound);
            return;
        }
        for _ in 0..copies {
            let event = Arc::clone(&event);
            if held || !delay.is_zero() || !connection.pending.is_empty() {
                connection
                    .pending
                    .push_back((now.saturating_add(delay), event));
            } else {
                connection.push_event(event);
            }
        }
        self.ready.insert(id);
    }

    /// Moves what is due from the kept-back events to the queue.
    pub(super) fn release_due(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection
            .bot
            .and_then(|bot| self.bots.get(&bot))
            .is_some_and(|bot| bot.hold)
        {
            return;
        }
        while connection
            .pending
            .front()
            .is_some_and(|(due, _)| *due <= now)
        {
            if let Some((_, event)) = connection.pending.pop_front() {
                connection.push_event(event);
                self.ready.insert(id);
            }
        }
    }
}
