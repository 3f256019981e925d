//! The voice gateway: messages, heartbeat, resume, close codes.

mod backoff;
mod close;
mod heartbeat;
mod incoming;
mod link;
mod op;
mod outgoing;
#[cfg(test)]
mod tests;

pub use self::close::CloseReaction;
pub(crate) use self::{
    incoming::{Incoming, Ready, SessionDescription},
    link::{Output, Verdict, VoiceGateway},
    outgoing::{Access, select_protocol},
};
