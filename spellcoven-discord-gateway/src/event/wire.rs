//! Helpers for reading payloads that are laxer than their documentation.

use serde::{Deserialize, Deserializer};
use twilight_model::channel::ChannelType;

/// `null` and absent both give the default.
pub(super) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A channel type; numbers that no byte holds become `Unknown(255)`.
pub(super) fn channel_kind<'de, D>(deserializer: D) -> Result<ChannelType, D::Error>
where
    D: Deserializer<'de>,
{
    let number = u64::deserialize(deserializer)?;
    Ok(ChannelType::from(u8::try_from(number).unwrap_or(u8::MAX)))
}
