//! Gateway intents and which event needs which.
//!
//! See: Discord documentation, Events, Gateway, "Gateway Intents".

/// A set of Gateway intents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intents(pub u64);

impl Intents {
    /// Guilds, roles, channels, threads.
    pub const GUILDS: Self = Self(1);
    /// Members joining, changing and leaving. Privileged.
    pub const GUILD_MEMBERS: Self = Self(1 << 1);
    /// Bans and audit log entries.
    pub const GUILD_MODERATION: Self = Self(1 << 2);
    /// Emoji, stickers and sounds.
    pub const GUILD_EXPRESSIONS: Self = Self(1 << 3);
    /// Voice states.
    pub const GUILD_VOICE_STATES: Self = Self(1 << 7);
    /// Presences. Privileged.
    pub const GUILD_PRESENCES: Self = Self(1 << 8);
    /// Messages in guilds.
    pub const GUILD_MESSAGES: Self = Self(1 << 9);
    /// Content of messages. Privileged.
    pub const MESSAGE_CONTENT: Self = Self(1 << 15);

    /// Bits 0 to 16, 20, 21, 24 and 25 exist for bots.
    pub(crate) const VALID: Self = Self(0x1_FFFF | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25);
    pub(crate) const PRIVILEGED: Self =
        Self(Self::GUILD_MEMBERS.0 | Self::GUILD_PRESENCES.0 | Self::MESSAGE_CONTENT.0);

    /// No intent.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all bits of `other` are here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The intent that an event needs; none for those that always arrive.
pub(crate) fn needed_by(event: &str) -> Intents {
    match event {
        "GUILD_CREATE"
        | "GUILD_UPDATE"
        | "GUILD_DELETE"
        | "GUILD_ROLE_CREATE"
        | "GUILD_ROLE_UPDATE"
        | "GUILD_ROLE_DELETE"
        | "CHANNEL_CREATE"
        | "CHANNEL_UPDATE"
        | "CHANNEL_DELETE"
        | "CHANNEL_PINS_UPDATE"
        | "VOICE_CHANNEL_STATUS_UPDATE"
        | "VOICE_CHANNEL_START_TIME_UPDATE" => Intents::GUILDS,
        "GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_REMOVE" => {
            Intents::GUILD_MEMBERS
        }
        "GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE" => {
            Intents::GUILD_MODERATION
        }
        "GUILD_EMOJIS_UPDATE"
        | "GUILD_STICKERS_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_CREATE"
        | "GUILD_SOUNDBOARD_SOUND_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_DELETE"
        | "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => Intents::GUILD_EXPRESSIONS,
        "VOICE_STATE_UPDATE" | "VOICE_CHANNEL_EFFECT_SEND" => Intents::GUILD_VOICE_STATES,
        "PRESENCE_UPDATE" => Intents::GUILD_PRESENCES,
        "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" => Intents::GUILD_MESSAGES,
        _ => Intents::empty(),
    }
}
