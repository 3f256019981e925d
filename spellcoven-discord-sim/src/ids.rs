//! Snowflake identifiers, one type for each kind of thing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds between the Unix epoch and Discord's (2015-01-01T00:00:00Z).
///
/// See: Discord documentation, Reference, "Snowflakes".
pub(crate) const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Display` and serde write it as Discord does: a decimal string. Reading takes a string or an integer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The number itself.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(SnowflakeVisitor).map(Self)
            }
        }
    };
}

id_type! {
    /// A guild (a "server").
    GuildId
}
id_type! {
    /// A channel of any kind, categories included.
    ChannelId
}
id_type! {
    /// A user: a person or a bot.
    UserId
}
id_type! {
    /// An application, the thing that owns a bot user.
    ApplicationId
}
id_type! {
    /// A role. The role `@everyone` has the number of its guild.
    RoleId
}
id_type! {
    /// A message.
    MessageId
}
id_type! {
    /// A sound of a guild's soundboard.
    SoundId
}

struct SnowflakeVisitor;

impl de::Visitor<'_> for SnowflakeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a snowflake as a string or an integer")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
        value.parse().map_err(E::custom)
    }
}

/// Makes ids that rise, carry the time they were made at, and never repeat.
#[derive(Debug)]
pub(crate) struct SnowflakeMaker {
    last: u64,
    guilds: u64,
}

impl SnowflakeMaker {
    pub(crate) const fn new() -> Self {
        Self { last: 0, guilds: 0 }
    }

    /// The next id at this wall time.
    pub(crate) fn next(&mut self, unix_ms: u64) -> u64 {
        let at_time = unix_ms.saturating_sub(DISCORD_EPOCH_MS).max(1) << 22;
        self.last = at_time.max(self.last + 1);
        self.last
    }

    /// The next guild's id. Guilds are made as if 30 days old and a millisecond apart, because shards are chosen by
    /// the time part of the id: guilds of one instant would all fall on one shard.
    pub(crate) fn next_guild(&mut self, start_ms: u64) -> u64 {
        const THIRTY_DAYS_MS: u64 = 30 * 24 * 3600 * 1000;
        self.guilds += 1;
        let ms = start_ms.saturating_sub(DISCORD_EPOCH_MS + THIRTY_DAYS_MS) + self.guilds;
        ms << 22
    }
}
