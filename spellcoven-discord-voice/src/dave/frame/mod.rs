//! Frames: their format, sealing and opening.
//!
//! DAVE white paper, "Payload Format": `frame' | tag 8 | nonce ULEB128 | clear ranges, pairs of ULEB128 | size u8 | FA FA`.
//! `frame'` is the frame with its encrypted bytes replaced in place, so that what is between the parties (a packetizer,
//! the forwarding server) still finds the codec's headers, which are the clear ranges.

mod aead;
mod opener;
mod openers;
mod sealer;
mod trailer;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use opener::{OpenFrameError, Opened};
pub(crate) use openers::FrameOpeners;
pub(crate) use sealer::{FrameSealer, SealFrameError};

/// The Opus frame of silence that anyone on the way may insert, and that is therefore always accepted
/// (DAVE white paper, "Silence Packets").
pub(crate) const OPUS_SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Most bytes that sealing adds to a frame (with one clear range, as VP8 has): tag 8, nonce 5, range 2, size 1, mark 2.
pub(crate) const MAX_OVERHEAD: usize = 18;

/// Bits of a frame's counter below its generation: a new key each 2^24 frames.
const GENERATION_SHIFT: u32 = 24;

/// What is in a frame, for the sender: it decides which bytes stay in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum Codec {
    /// Everything is encrypted.
    Opus,
    /// The payload header stays clear: 10 bytes of a key frame, 1 byte of any other.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests seal and open video so far")
    )]
    Vp8,
    /// Everything is encrypted: RTP's payload descriptor has what the server needs.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests seal and open video so far")
    )]
    Vp9,
}

impl Codec {
    /// How many bytes at the start of this frame stay in the clear; `None` if the frame is too short to be one.
    fn clear_prefix(self, frame: &[u8]) -> Option<usize> {
        match self {
            Self::Opus | Self::Vp9 => Some(0),
            Self::Vp8 => {
                // RFC 7741, 4.3: the lowest bit of the first byte is 0 in a key frame, whose header has 10 bytes.
                let clear = if frame.first()? & 1 == 0 { 10 } else { 1 };
                (frame.len() >= clear).then_some(clear)
            }
        }
    }
}

/// What is in a frame, for the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MediaKind {
    Audio,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests seal and open video so far")
    )]
    Video,
}
