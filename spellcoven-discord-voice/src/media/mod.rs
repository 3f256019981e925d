//! Frames into datagrams and back: sequence, timestamps, reports, statistics.
//!
//! [`Sender`] and [`Receiver`] know nothing of each other or of the session: a
//! thread can drive those of many calls. Audio only so far: one SSRC is sent,
//! and what comes with another payload type is counted and dropped.

mod clock;
mod frame;
mod receiver;
mod sender;
mod source;
mod sources;
mod stats;

pub use self::{
    frame::{NotOpus, OpusFrame},
    stats::{ReceiveStats, RemoteReport, SendStats, Undecryptable, UserStats},
};
pub(crate) use self::{
    receiver::{Received, ReceivedFrame, Receiver},
    sender::{Outcome, SendError, Sender},
};

#[cfg(test)]
mod tests;
