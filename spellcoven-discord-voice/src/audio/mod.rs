//! Audio: sources of Opus frames, tracks and mixing, and on the way back the
//! jitter buffer and the decoder. Pure: a frame is the clock here, and what
//! needs time is given it.

mod broadcast;
#[cfg(feature = "opus")]
mod codec;
mod config;
mod input;
mod packet;
mod pcm;
mod player;
mod receive;
mod source;

pub use broadcast::{Broadcast, BroadcastSource};
#[cfg(feature = "opus")]
pub use codec::{CodecError, OpusDecoder, OpusEncoder};
pub use config::{Application, Channels, EncoderConfig};
pub use input::{Input, InputError, OggOpus, OpusChunk, OpusFrames, Produced};
#[cfg(feature = "opus")]
pub use input::{PcmInput, PcmWriter, Wav, WriterClosed};
pub use packet::{OpusMode, OpusPacket, OpusPacketError};
pub use pcm::{FRAME_SAMPLES, PcmFrame, SAMPLE_RATE};
pub use player::{
    Player, PlayerFull, PlayerHandle, Repeat, Track, TrackEnd, TrackEvent, TrackEventKind,
    TrackEvents, TrackHandle, TrackState,
};
#[cfg(feature = "opus")]
pub(crate) use receive::Mixdown;
#[cfg(feature = "opus")]
pub use receive::PlayoutStats;
pub(crate) use receive::{JitterBuffer, JitterPacket, Playout};
pub use receive::{JitterConfig, JitterStats};
pub use source::{AudioSource, NextFrame};
