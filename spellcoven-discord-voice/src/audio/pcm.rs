//! Decoded audio.

use crate::audio::Channels;

/// Samples for each channel in 20 ms at 48 kHz: the beat of everything here.
pub const FRAME_SAMPLES: usize = 960;
/// Samples for each second and channel, the only rate that Discord's Opus uses.
pub const SAMPLE_RATE: u32 = 48_000;

/// A piece of decoded audio at 48 kHz.
#[derive(Debug, Clone, PartialEq)]
pub struct PcmFrame {
    /// One channel or two.
    pub channels: Channels,
    /// Samples from -1.0 to 1.0, interleaved (left, right, left …) where there are
    /// two channels.
    pub samples: Vec<f32>,
}

impl PcmFrame {
    /// Samples for each channel.
    pub fn len(&self) -> usize {
        self.samples.len() / self.channels.count()
    }

    /// No samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The samples as 16-bit integers, cut at full scale.
    pub fn to_i16(&self) -> Vec<i16> {
        self.samples.iter().map(|&s| to_i16(s)).collect()
    }
}

/// Full scale is ±32767; what lies beyond is cut.
pub(crate) fn to_i16(sample: f32) -> i16 {
    // `as` saturates, and turns NaN into 0.
    (sample * 32767.0).round() as i16
}

/// -32768 becomes -1.0.
#[cfg(feature = "opus")]
pub(crate) fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32768.0
}
