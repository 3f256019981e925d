//! The voice gateway: messages, heartbeat, resume, close codes.

mod backoff;
mod close;
mod heartbeat;
mod incoming;
mod link;
mod op;
mod outgoing;

pub use self::close::CloseReaction;
pub(crate) use self::{
    incoming::{Incoming, Ready, SessionDescription},
    link::{Output, Verdict, VoiceGateway},
    outgoing::{Access, select_protocol},
};
