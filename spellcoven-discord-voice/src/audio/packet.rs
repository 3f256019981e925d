//! What an Opus packet says about itself without being decoded (RFC 6716, 3).

use thiserror::Error;

/// The longest packet, 120 ms at 48 kHz (RFC 6716, 3.4, R5).
const MAX_SAMPLES: u32 = 5760;
/// The largest frame (RFC 6716, 3.4, R2).
const MAX_FRAME_BYTES: usize = 1275;

/// The coder that made a packet (RFC 6716, 3.1, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpusMode {
    /// Linear prediction, for speech at low rates. Can carry in-band FEC.
    Silk,
    /// Linear prediction below 8 kHz, transform above. Can carry in-band FEC.
    Hybrid,
    /// Transform, for music and short delays. Never carries in-band FEC.
    Celt,
}

/// The header of an Opus packet: how it was coded and how long it sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusPacket {
    mode: OpusMode,
    stereo: bool,
    frame_samples: u32,
    frames: u32,
    fec: bool,
    dtx: bool,
}

/// Bytes that are no Opus packet. The one who made them is to blame; nothing can
/// be saved but the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpusPacketError {
    /// No bytes at all (RFC 6716, 3.4, R1).
    #[error("the Opus packet is empty")]
    Empty,
    /// A frame length points past the end, or the frames do not fill the packet
    /// (R3, R4, R6, R7).
    #[error("the frames of the Opus packet do not fit its length")]
    Length,
    /// A frame is longer than 1275 bytes (R2).
    #[error("a frame of the Opus packet is longer than 1275 bytes")]
    FrameTooLong,
    /// No frames, or more than 120 ms of them (R5).
    #[error("the Opus packet has no frames, or more than 120 ms of them")]
    Duration,
}

impl OpusPacket {
    /// Reads the header and checks the packet's form as RFC 6716, 3.4 demands.
    ///
    /// # Errors
    ///
    /// The bytes break one of the rules R1 to R7 there.
    pub fn parse(packet: &[u8]) -> Result<OpusPacket, OpusPacketError> {
        let (&toc, rest) = packet.split_first().ok_or(OpusPacketError::Empty)?;
        let config = toc >> 3;
        let (mode, frame_samples) = mode_and_length(config);
        let (frames, first, dtx) = match toc & 3 {
            0 => {
                frame_fits(rest.len())?;
                (1, rest, rest.len() <= 1)
            }
            1 => {
                if !rest.len().is_multiple_of(2) {
                    return Err(OpusPacketError::Length);
                }
                let half = rest.len() / 2;
                frame_fits(half)?;
                (2, rest.get(..half).unwrap_or_default(), half <= 1)
            }
            2 => {
                let (length, rest) = frame_length(rest)?;
                let (first, second) = rest
                    .split_at_checked(length)
                    .ok_or(OpusPacketError::Length)?;
                frame_fits(second.len())?;
                (2, first, length <= 1 && second.len() <= 1)
            }
            _ => many_frames(rest, frame_samples)?,
        };
        let stereo = toc & 4 != 0;
        Ok(OpusPacket {
            mode,
            stereo,
            frame_samples,
            frames,
            fec: has_fec(mode, stereo, frame_samples, first),
            dtx,
        })
    }

    /// The coder that made the packet.
    pub fn mode(&self) -> OpusMode {
        self.mode
    }

    /// Two channels. A decoder for one or two channels takes both kinds.
    pub fn is_stereo(&self) -> bool {
        self.stereo
    }

    /// Samples in each frame for each channel at 48 kHz.
    pub fn frame_samples(&self) -> u32 {
        self.frame_samples
    }

    /// How many frames the packet holds: 1 to 48.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Samples in the packet for each channel at 48 kHz: 120 to 5760.
    pub fn samples(&self) -> u32 {
        self.frames * self.frame_samples
    }

    /// The packet also carries a coarse copy of the one before it (low bit-rate
    /// redundancy, RFC 6716, 4.2.4), so that a lost one can be rebuilt.
    pub fn has_fec(&self) -> bool {
        self.fec
    }

    /// Nothing was transmitted but the header: the encoder found silence (DTX).
    pub fn is_dtx(&self) -> bool {
        self.dtx
    }
}

/// RFC 6716, 3.1, table 2.
fn mode_and_length(config: u8) -> (OpusMode, u32) {
    match config {
        0..12 => {
            const SILK: [u32; 4] = [480, 960, 1920, 2880];
            let length = SILK[usize::from(config & 3)];
            (OpusMode::Silk, length)
        }
        12..16 => (OpusMode::Hybrid, 480 << (config & 1)),
        _ => (OpusMode::Celt, 120 << (config & 3)),
    }
}

fn frame_fits(length: usize) -> Result<(), OpusPacketError> {
    if length > MAX_FRAME_BYTES {
        return Err(OpusPacketError::FrameTooLong);
    }
    Ok(())
}

/// RFC 6716, 3.2.1: one byte up to 251, else two.
fn frame_length(bytes: &[u8]) -> Result<(usize, &[u8]), OpusPacketError> {
    match *bytes {
        [first @ 0..=251, ref rest @ ..] => Ok((usize::from(first), rest)),
        [first, second, ref rest @ ..] => Ok((usize::from(second) * 4 + usize::from(first), rest)),
        _ => Err(OpusPacketError::Length),
    }
}

/// Code 3 (RFC 6716, 3.2.5). Gives the number of frames, the first of them, and
/// whether all are empty.
fn many_frames(rest: &[u8], frame_samples: u32) -> Result<(u32, &[u8], bool), OpusPacketError> {
    let (&head, mut rest) = rest.split_first().ok_or(OpusPacketError::Length)?;
    let frames = u32::from(head & 0x3F);
    if frames == 0 || frames * frame_samples > MAX_SAMPLES {
        return Err(OpusPacketError::Duration);
    }
    if head & 0x40 != 0 {
        let mut padding = 0;
        loop {
            let (&byte, after) = rest.split_first().ok_or(OpusPacketError::Length)?;
            rest = after;
            // 255 stands for 254 bytes of padding and one more length byte.
            padding += usize::from(byte).min(254);
            if byte != 255 {
                break;
            }
        }
        let kept = rest
            .len()
            .checked_sub(padding)
            .ok_or(OpusPacketError::Length)?;
        rest = rest.get(..kept).ok_or(OpusPacketError::Length)?;
    }
    if head & 0x80 == 0 {
        let count = frames as usize;
        if !rest.len().is_multiple_of(count) {
            return Err(OpusPacketError::Length);
        }
        let each = rest.len() / count;
        frame_fits(each)?;
        return Ok((frames, rest.get(..each).unwrap_or_default(), each <= 1));
    }
    let mut first = None;
    let mut total = 0;
    let mut empty = true;
    for _ in 1..frames {
        let (length, after) = frame_length(rest)?;
        rest = after;
        first.get_or_insert(length);
        total += length;
        empty &= length <= 1;
    }
    let last = rest
        .len()
        .checked_sub(total)
        .ok_or(OpusPacketError::Length)?;
    frame_fits(last)?;
    let first = rest.get(..first.unwrap_or(last)).unwrap_or_default();
    Ok((frames, first, empty && last <= 1))
}

/// The flags for redundancy stand in plain bits at the start of a SILK frame:
/// voice activity for each 20 ms, then redundancy, for the middle channel and
/// then for the side (RFC 6716, 4.2.3).
fn has_fec(mode: OpusMode, stereo: bool, frame_samples: u32, frame: &[u8]) -> bool {
    if mode == OpusMode::Celt {
        return false;
    }
    let Some(&flags) = frame.first() else {
        return false;
    };
    let parts = (frame_samples / 960).max(1);
    let middle = flags >> (7 - parts) & 1 != 0;
    let side = stereo && parts < 4 && flags >> (6 - 2 * parts) & 1 != 0;
    middle || side
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_all_four_codes_tell_their_length() {
        // TOC, rest, frames, samples.
        let rows: &[(&[u8], u32, u32)] = &[
            (&[0xF8, 0xFF, 0xFE], 1, 960),
            (&[0x08, 1, 2], 1, 960),
            (&[0x18, 1], 1, 2880),
            (&[0x60, 1], 1, 480),
            (&[0x80, 1], 1, 120),
            (&[0xF9, 1, 2], 2, 1920),
            (&[0xFA, 1, 1, 2, 3], 2, 1920),
            (&[0xFB, 3, 1, 2, 3], 3, 2880),
            (&[0xFB, 0x83, 1, 1, 1, 2, 3, 4], 3, 2880),
            (&[0xFB, 0x42, 2, 1, 2, 0, 0], 2, 1920),
            // Frames may be empty (DTX).
            (&[0xF8], 1, 960),
            (&[0xF9], 2, 1920),
        ];
        for &(bytes, frames, samples) in rows {
            let packet = OpusPacket::parse(bytes).unwrap();
            assert_eq!(
                (packet.frames(), packet.samples()),
                (frames, samples),
                "{bytes:02x?}"
            );
        }
        assert_eq!(OpusPacket::parse(&[0x08]).unwrap().mode(), OpusMode::Silk);
        assert_eq!(OpusPacket::parse(&[0x6C]).unwrap().mode(), OpusMode::Hybrid);
        assert!(OpusPacket::parse(&[0x6C]).unwrap().is_stereo());
        assert!(OpusPacket::parse(&[0x6C]).unwrap().is_dtx());
        assert!(!OpusPacket::parse(&[0xF8, 0xFF, 0xFE]).unwrap().is_dtx());
    }

    #[test]
    fn malformed_packets_are_refused_by_rule() {
        let long = vec![0xF8; 1277];
        let rows: &[(&[u8], OpusPacketError)] = &[
            (&[], OpusPacketError::Empty),
            (&long, OpusPacketError::FrameTooLong),
            (&[0xF9, 1], OpusPacketError::Length),
            (&[0xFA], OpusPacketError::Length),
            (&[0xFA, 252], OpusPacketError::Length),
            (&[0xFA, 5, 1], OpusPacketError::Length),
            (&[0xFB], OpusPacketError::Length),
            (&[0xFB, 0], OpusPacketError::Duration),
            // 7 frames of 20 ms are 140 ms.
            (&[0xFB, 7], OpusPacketError::Duration),
            (&[0xFB, 2, 1], OpusPacketError::Length),
            (&[0xFB, 0x41, 3, 0], OpusPacketError::Length),
            (&[0xFB, 0x41, 255], OpusPacketError::Length),
            (&[0xFB, 0x82, 9, 1], OpusPacketError::Length),
        ];
        for (bytes, error) in rows {
            assert_eq!(OpusPacket::parse(bytes), Err(*error), "{bytes:02x?}");
        }
    }

    #[test]
    fn redundancy_is_found_in_the_flags() {
        // SILK 20 ms mono: voice activity, then redundancy.
        assert!(OpusPacket::parse(&[0x08, 0b0100_0000]).unwrap().has_fec());
        assert!(!OpusPacket::parse(&[0x08, 0b1011_1111]).unwrap().has_fec());
        // Stereo: the side's two flags follow.
        assert!(OpusPacket::parse(&[0x0C, 0b0001_0000]).unwrap().has_fec());
        // 60 ms: three of voice activity.
        assert!(OpusPacket::parse(&[0x18, 0b0001_0000]).unwrap().has_fec());
        // The transform coder has none.
        assert!(!OpusPacket::parse(&[0xF8, 0xFF]).unwrap().has_fec());
    }
}
