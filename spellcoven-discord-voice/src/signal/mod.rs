//! Signalling: what a client asks of the main gateway (op 4) and hears from it. Any gateway library can do it.

mod feed;
#[cfg(feature = "gateway")]
mod gateway;
mod types;

#[cfg(feature = "gateway")]
pub use self::gateway::VoiceRouter;
pub use self::{
    feed::{Fed, SignalFeed, signal_pair},
    types::{
        OwnVoiceState, SignalError, SignalEvent, Signalling, VoiceServer, VoiceServerToken,
        VoiceStateRequest,
    },
};
