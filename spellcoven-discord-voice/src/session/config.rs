use twilight_model::id::{
    Id,
    marker::{GuildMarker, UserMarker},
};

/// What a session must know beforehand.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    /// The guild; a session never leaves it.
    pub(crate) guild_id: Id<GuildMarker>,
    /// The own user.
    pub(crate) user_id: Id<UserMarker>,
    /// Whether audio of others is wanted. Without, received media is dropped before it is decrypted.
    pub(crate) receive: bool,
    /// What op 4 says at the first join.
    pub(crate) self_mute: bool,
    /// What op 4 says at the first join.
    pub(crate) self_deaf: bool,
    /// Whether to join again by itself after the main gateway began a new session.
    pub(crate) rejoin: bool,
    /// Makes jitter and first sequence numbers repeatable; for tests. `None` draws them.
    pub(crate) seed: Option<u64>,
}
