//! What can go wrong when a test acts on the simulator.

use crate::ids::{ChannelId, GuildId, UserId};

/// An action was refused; the world is as it was before. The caller is to blame: it named something that is not
/// there, or a person tried what Discord would not let them do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// No such guild was added.
    #[error("there is no guild {0}")]
    UnknownGuild(GuildId),
    /// No such channel: never made, or deleted.
    #[error("there is no channel {0}")]
    UnknownChannel(ChannelId),
    /// No such user was added.
    #[error("there is no user {0}")]
    UnknownUser(UserId),
    /// The user is not a member of the guild.
    #[error("user {0} is not a member of guild {1}")]
    NotAMember(UserId, GuildId),
    /// The channel is not one that people can talk in.
    #[error("channel {0} is not a voice channel")]
    NotVoice(ChannelId),
    /// The user is in no voice channel.
    #[error("user {0} is in no voice channel")]
    NotInVoice(UserId),
    /// The channel's `user_limit` is reached.
    #[error("channel {0} is full")]
    ChannelFull(ChannelId),
    /// The person may not see or join the channel.
    #[error("user {0} may not join channel {1}")]
    NotAllowed(UserId, ChannelId),
    /// The user is a bot, and the action is for people: a bot has a client of its own.
    #[error("user {0} is not a person")]
    NotAPerson(UserId),
    /// The user is a person, and the action is for bots.
    #[error("user {0} is not a bot")]
    NotABot(UserId),
}
