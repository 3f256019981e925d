use std::collections::BTreeSet;

/// The events that this crate knows the payload of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum EventKind {
    /// `READY`. Always wanted.
    Ready,
    /// `RESUMED`. Always wanted.
    Resumed,
    /// `GUILD_CREATE`
    GuildCreate,
    /// `GUILD_DELETE`
    GuildDelete,
    /// `CHANNEL_CREATE`
    ChannelCreate,
    /// `CHANNEL_UPDATE`
    ChannelUpdate,
    /// `CHANNEL_DELETE`
    ChannelDelete,
    /// `VOICE_STATE_UPDATE`
    VoiceStateUpdate,
    /// `VOICE_SERVER_UPDATE`
    VoiceServerUpdate,
    /// `GUILD_MEMBER_REMOVE`, which needs the intent GUILD_MEMBERS.
    GuildMemberRemove,
    /// `RATE_LIMITED`
    RateLimited,
}

impl EventKind {
    /// The kind with this name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "READY" => Self::Ready,
            "RESUMED" => Self::Resumed,
            "GUILD_CREATE" => Self::GuildCreate,
            "GUILD_DELETE" => Self::GuildDelete,
            "CHANNEL_CREATE" => Self::ChannelCreate,
            "CHANNEL_UPDATE" => Self::ChannelUpdate,
            "CHANNEL_DELETE" => Self::ChannelDelete,
            "VOICE_STATE_UPDATE" => Self::VoiceStateUpdate,
            "VOICE_SERVER_UPDATE" => Self::VoiceServerUpdate,
            "GUILD_MEMBER_REMOVE" => Self::GuildMemberRemove,
            "RATE_LIMITED" => Self::RateLimited,
            _ => return None,
        })
    }

    /// Whether the state of a guild is made of such events, so that one that is
    /// missed makes it wrong.
    pub(crate) fn is_state(self) -> bool {
        matches!(
            self,
            Self::GuildCreate
                | Self::GuildDelete
                | Self::ChannelCreate
                | Self::ChannelUpdate
                | Self::ChannelDelete
                | Self::VoiceStateUpdate
                | Self::GuildMemberRemove
        )
    }

    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Which events are parsed and delivered. All others cost one scan of the
/// message and nothing more; their sequence numbers count all the same.
///
/// The default is what a [`GuildTracker`](crate::GuildTracker) needs, and
/// RATE_LIMITED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    kinds: u32,
    raw: BTreeSet<String>,
}

impl EventFilter {
    /// READY and RESUMED only: these two are always delivered.
    pub fn none() -> Self {
        Self {
            kinds: EventKind::Ready.bit() | EventKind::Resumed.bit(),
            raw: BTreeSet::new(),
        }
    }

    /// Wants this kind too.
    #[must_use]
    pub fn with(mut self, kind: EventKind) -> Self {
        self.kinds |= kind.bit();
        self
    }

    /// Does not want this kind. READY and RESUMED stay wanted.
    #[must_use]
    pub fn without(mut self, kind: EventKind) -> Self {
        self.kinds &= !kind.bit();
        self.kinds |= Self::none().kinds;
        self
    }

    /// Wants the events with this name (`MESSAGE_CREATE`, say) as
    /// [`Event::Raw`](crate::Event::Raw), with their JSON untouched. A kind
    /// that is wanted by [`with`](Self::with) comes parsed, and not raw.
    #[must_use]
    pub fn raw(mut self, name: impl Into<String>) -> Self {
        self.raw.insert(name.into());
        self
    }

    /// Whether this kind is wanted.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// Whether events with this name are wanted as raw JSON.
    pub fn wants_raw(&self, name: &str) -> bool {
        self.raw.contains(name)
    }
}

impl Default for EventFilter {
    fn default() -> Self {
        Self::none()
            .with(EventKind::GuildCreate)
            .with(EventKind::GuildDelete)
            .with(EventKind::ChannelCreate)
            .with(EventKind::ChannelUpdate)
            .with(EventKind::ChannelDelete)
            .with(EventKind::VoiceStateUpdate)
            .with(EventKind::GuildMemberRemove)
            .with(EventKind::RateLimited)
    }
}
