use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An id of Discord: a guild, a channel, a user.
///
/// In JSON it is a string of 1 to 20 decimal digits, since JavaScript numbers cannot hold 64 bits
/// (Discord documentation, "API Reference", section "Snowflakes"). Other spellings are refused: signs, spaces, numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snowflake(u64);

/// A text that is not 1 to 20 decimal digits within 64 bits. The caller sent a wrong id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a snowflake: 1 to 20 decimal digits within 64 bits expected")]
pub struct InvalidSnowflake;

impl Snowflake {
    /// Wraps a number.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Snowflake {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl FromStr for Snowflake {
    type Err = InvalidSnowflake;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `u64::from_str` alone would take a leading `+`.
        if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSnowflake);
        }
        text.parse().map(Self).map_err(|_| InvalidSnowflake)
    }
}

impl fmt::Display for Snowflake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Snowflake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Snowflake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Snowflake {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl de::Visitor<'_> for Digits {
            type Value = Snowflake;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of 1 to 20 decimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Snowflake, E> {
                text.parse()
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_within_64_bits_are_ids() {
        assert_eq!("18446744073709551615".parse(), Ok(Snowflake::new(u64::MAX)));
        assert_eq!("1".parse(), Ok(Snowflake::new(1)));
        for wrong in [
            "",
            "+1",
            "-1",
            " 1",
            "1a",
            "18446744073709551616",
            "000000000000000000001",
            "१",
        ] {
            assert_eq!(
                wrong.parse::<Snowflake>(),
                Err(InvalidSnowflake),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn json_is_a_string() {
        assert_eq!(
            serde_json::to_string(&Snowflake::new(42)).unwrap(),
            "\"42\""
        );
        assert_eq!(
            serde_json::from_str::<Snowflake>("\"42\"").unwrap(),
            Snowflake::new(42)
        );
        assert!(serde_json::from_str::<Snowflake>("42").is_err());
    }
}
