//! The voice gateway: messages, heartbeat, resume, close codes.

mod close;

pub use self::close::CloseReaction;
