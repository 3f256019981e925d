//! Received audio: order, time, and what is lost.

mod delay;
mod jitter;
#[cfg(feature = "opus")]
mod playout;
mod types;

pub use delay::JitterConfig;
pub(crate) use jitter::JitterBuffer;
#[cfg(feature = "opus")]
pub(crate) use playout::Mixdown;
#[cfg(feature = "opus")]
pub use playout::PlayoutStats;
pub use types::JitterStats;
pub(crate) use types::{JitterPacket, Playout};
