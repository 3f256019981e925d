//! Received audio: order, time, and what is lost.

mod delay;
mod jitter;
#[cfg(feature = "opus")]
mod playout;

pub use delay::JitterConfig;
pub use jitter::JitterStats;
pub(crate) use jitter::{JitterBuffer, JitterPacket, Playout};
#[cfg(feature = "opus")]
pub(crate) use playout::Mixdown;
#[cfg(feature = "opus")]
pub use playout::PlayoutStats;
