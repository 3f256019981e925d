//! What happens while a bot is away: between the end of its connection and its return.

use serde_json::Value;

use super::World;
use super::gateway::SessionKey;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::intents::Intents;

/// Something that happens while a bot is away.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WhileAway {
    /// An event of the test's own making, as [`World::emit`] sends it.
    Emit {
        /// The guild.
        guild: GuildId,
        /// The event's name.
        t: String,
        /// Its data.
        d: Value,
        /// The intent it needs.
        need: Intents,
    },
    /// A person joins a voice channel, or moves to it.
    Join(UserId, ChannelId),
    /// A person leaves voice.
    Leave(UserId),
}

impl World {
    /// Does this when a session of the bot next loses its connection, once. What a resume must replay is so certain to
    /// happen before it.
    pub fn while_away(&mut self, bot: UserId, what: Vec<WhileAway>) {
        if self.bots.contains_key(&bot) {
            self.away.insert(bot, what);
        }
    }

    /// A session has lost its connection.
    pub(super) fn went_away(&mut self, key: SessionKey) {
        let Some(bot) = self.sessions.get(&key).map(|session| session.bot) else {
            return;
        };
        for what in self.away.remove(&bot).unwrap_or_default() {
            match what {
                WhileAway::Emit { guild, t, d, need } => self.emit(guild, &t, &d, need),
                WhileAway::Join(user, channel) => {
                    if let Err(error) = self.join(user, channel) {
                        self.acted(Some(user), format!("could not join: {error}"));
                    }
                }
                WhileAway::Leave(user) => {
                    if let Err(error) = self.leave(user) {
                        self.acted(Some(user), format!("could not leave: {error}"));
                    }
                }
            }
        }
    }
}
