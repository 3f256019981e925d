//! Audio: sources of Opus frames, tracks and mixing, and on the way back the
//! jitter buffer and the decoder. Pure: a frame is the clock here, and what
//! needs time is given it.

mod config;
mod packet;
mod pcm;
mod source;

pub use config::{Application, Channels, EncoderConfig};
pub use packet::{OpusMode, OpusPacket, OpusPacketError};
pub use pcm::{FRAME_SAMPLES, PcmFrame, SAMPLE_RATE};
pub use source::{AudioSource, NextFrame};
