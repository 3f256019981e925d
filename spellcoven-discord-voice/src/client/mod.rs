//! The public client: handles, streams and sinks around one task that drives the session.

mod builder;
mod driver;
mod handle;
mod link;
mod port;
mod queue;
mod shared;
mod sink;
mod stats;
mod stream;

pub use self::{
    builder::{DiscordRtcClientBuilder, ReceiveMode},
    handle::DiscordRtcClient,
    sink::{AudioSink, SinkError},
    stats::VoiceStats,
    stream::{AudioStream, EventStream},
};
