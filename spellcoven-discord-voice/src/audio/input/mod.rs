//! What a track can play.

mod frames;
mod ogg;
#[cfg(feature = "opus")]
mod pcm;
#[cfg(feature = "opus")]
mod resample;
#[cfg(feature = "opus")]
mod wav;
#[cfg(feature = "opus")]
mod wav_header;

use std::{io, time::Duration};

use thiserror::Error;

pub use frames::OpusFrames;
pub use ogg::OggOpus;
#[cfg(feature = "opus")]
pub use pcm::{PcmInput, PcmWriter, WriterClosed};
#[cfg(feature = "opus")]
pub use wav::Wav;

use crate::media::OpusFrame;

/// Something that a [`Track`](crate::Track) plays: a file, a stream, a generator.
///
/// Pulled by the player for each 20 ms, so it must not block. What comes from a
/// slow reader belongs into memory first, or behind a `PcmInput` (feature `opus`).
pub trait Input: Send {
    /// Gives the next piece: an Opus packet, or PCM appended to `pcm` (48 kHz,
    /// stereo, interleaved, full scale ±1.0; ideally 20 ms, at most 120 ms).
    ///
    /// # Errors
    ///
    /// The input cannot go on. The player ends the track with the error.
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<Produced, InputError>;

    /// Goes to a position, in samples from the start at 48 kHz. Gives the position
    /// it went to; beyond the end it is the end.
    ///
    /// # Errors
    ///
    /// [`InputError::Unseekable`], unless the input says otherwise; other errors
    /// end the track.
    fn seek(&mut self, position: u64) -> Result<u64, InputError> {
        let _ = position;
        Err(InputError::Unseekable)
    }

    /// How long it is in all, where that is known.
    fn duration(&self) -> Option<Duration> {
        None
    }
}

impl<I: Input + ?Sized> Input for Box<I> {
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<Produced, InputError> {
        (**self).read(pcm)
    }

    fn seek(&mut self, position: u64) -> Result<u64, InputError> {
        (**self).seek(position)
    }

    fn duration(&self) -> Option<Duration> {
        (**self).duration()
    }
}

/// What [`Input::read`] gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Produced {
    /// An Opus packet. Goes into the call as it is where nothing has to be changed
    /// in it.
    Opus(OpusChunk),
    /// PCM was appended to the buffer.
    Pcm,
    /// Nothing yet; ask again in 20 ms.
    Starved,
    /// Nothing more.
    End,
}

/// An Opus packet, and which part of it is to be heard.
#[derive(Debug, Clone, PartialEq)]
pub struct OpusChunk {
    /// The packet.
    pub frame: OpusFrame,
    /// Samples at its start that only prepare the decoder (RFC 7845, 4.2 and 4.6).
    /// A packet that is all preparation is not sent, only decoded.
    pub skip: u32,
    /// Samples at its end that are padding (RFC 7845, 4.4).
    pub trim: u32,
    /// A factor for the decoded samples (RFC 7845, 5.1, output gain). Other than
    /// 1.0, the packet is decoded and encoded anew.
    pub gain: f32,
}

impl From<OpusFrame> for OpusChunk {
    fn from(frame: OpusFrame) -> OpusChunk {
        OpusChunk {
            frame,
            skip: 0,
            trim: 0,
            gain: 1.0,
        }
    }
}

/// An input cannot be opened, or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// The reader failed. Its own error says why.
    #[error("the input could not be read")]
    Io(#[source] io::Error),
    /// The bytes are not of the format expected; the file is to blame, or the
    /// choice of the input type.
    #[error("not {expected}")]
    Format {
        /// What was expected.
        expected: &'static str,
    },
    /// The format is right, but uses something that is not supported.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// Too much of the input is damaged to go on.
    #[error("the input is damaged: {0}")]
    Damaged(&'static str),
    /// This input cannot go to another position. It plays on where it was.
    #[error("this input cannot seek")]
    Unseekable,
}

/// Samples at 48 kHz in a time, cut to a whole sample.
pub(crate) fn samples_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * 48 / 1_000_000).unwrap_or(u64::MAX)
}

/// The time of so many samples at 48 kHz, rounded up, so that [`samples_of`] gives them back.
pub(crate) fn time_of(samples: u64) -> Duration {
    let nanos = (u128::from(samples) * 1_000_000).div_ceil(48);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_time_turn_into_one_another() {
        for samples in (0..5000).chain([123_456_789_123]) {
            assert_eq!(samples_of(time_of(samples)), samples);
        }
        assert_eq!(time_of(960), Duration::from_millis(20));
    }
}
