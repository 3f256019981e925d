//! End-to-end encryption (DAVE): the group, its keys, and the frames sealed with them.
//!
//! Three parts that know each other only by values:
//!
//! * [`Dave`] has the conversation with the server: which messages, in which order, and when a key counts. It does no
//!   cryptography and never blocks.
//! * [`MlsJob`] is the cryptography of the group (MLS, by the crate davey). A commit for many takes longer than a frame lasts, so it is a value
//!   that runs wherever the shell wants it to, away from the audio.
//! * [`FrameSealer`] and [`FrameOpeners`] do the frames. They are ours, not davey's: davey's would need the very
//!   session that a job is busy with, and read the wall clock. Tests hold them against davey's.
//!
//! Sources: Discord documentation, Voice Connections, End-to-End Encryption; the DAVE white paper; RFC 9420; libdave for
//! what these leave open.

mod control;
mod frame;
mod identity;
mod keys;
mod mls;
mod policy;
mod ratchet;

#[cfg(test)]
mod testing;

pub use identity::{DaveIdentity, InvalidIdentity};
pub use policy::E2eePolicy;

pub(crate) use control::{Dave, DaveConfig, DaveEvent, DaveOutput};
pub(crate) use frame::{
    Codec, FrameOpeners, FrameSealer, MAX_OVERHEAD, MediaKind, OpenFrameError, Opened,
    SealFrameError,
};
#[cfg(test)]
pub(crate) use keys::Passthrough;
pub(crate) use keys::{KeyChange, SendKey};
pub(crate) use mls::{MlsDone, MlsJob, VerificationJob};
#[cfg(test)]
pub(crate) use ratchet::KeyRatchet;

/// The newest protocol version that we speak, for `max_dave_protocol_version` in Identify.
pub(crate) const MAX_DAVE_VERSION: u16 = davey::DAVE_PROTOCOL_VERSION;
