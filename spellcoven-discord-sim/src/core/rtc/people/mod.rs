//! Simulated people in a call, who talk and listen.
//!
//! A [`Person`] is a client without a socket: what a voice server sends goes in, what a client answers comes out. It
//! speaks voice gateway version 8 with DAVE, as official clients do.

mod connection;
mod e2ee;
mod hear;
mod person;
mod rtp;
mod speech;
#[cfg(test)]
mod tests;

pub use hear::{HeardFrame, HeardSummary, Stereo, decode, tone_share};
pub use speech::{Speech, SpeechError};

#[cfg(test)]
pub(in crate::core::rtc) use e2ee::{E2ee, Reply};
pub(in crate::core) use person::{Invitation, Person, PersonOutput, PersonSettings};
