//! The public client: handles, streams and sinks around one task that drives the session.

mod audio_stream;
mod builder;
mod driver;
mod handle;
mod link;
mod playing;
mod pool;
mod port;
mod queue;
mod shared;
mod sink;
mod stats;
mod stream;

#[cfg(feature = "opus")]
pub use self::audio_stream::MixedAudioStream;
pub use self::{
    audio_stream::{AudioPacket, AudioStream, Sound},
    builder::{DiscordRtcClientBuilder, ReceiveMode},
    handle::DiscordRtcClient,
    pool::{VoicePool, VoicePoolBuilder},
    sink::{AudioSink, SinkError},
    stats::VoiceStats,
    stream::EventStream,
};
