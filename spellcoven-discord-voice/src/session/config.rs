use twilight_model::id::{
    Id,
    marker::{GuildMarker, UserMarker},
};

use crate::dave::{DaveIdentity, E2eePolicy};

/// What a session must know beforehand.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    /// The guild; a session never leaves it.
    pub(crate) guild_id: Id<GuildMarker>,
    /// The own user.
    pub(crate) user_id: Id<UserMarker>,
    /// Whether audio of others is wanted. Without, received media is dropped before it is decrypted.
    pub(crate) receive: bool,
    /// What op 4 says.
    pub(crate) self_mute: bool,
    /// What op 4 says.
    pub(crate) self_deaf: bool,
    /// Whether to join again by itself after the main gateway began a new session.
    pub(crate) rejoin: bool,
    /// What to do in a call that is not end-to-end encrypted.
    pub(crate) policy: E2eePolicy,
    /// The key that stands for the user; `None` for the one that this process has for them.
    pub(crate) identity: Option<DaveIdentity>,
    /// Makes jitter and first sequence numbers repeatable; for tests. `None` draws them.
    pub(crate) seed: Option<u64>,
}
