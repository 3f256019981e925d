//! Opus frames as they go into and come out of a call.

use bytes::Bytes;

/// The samples per channel of 20 ms at 48 kHz.
pub(crate) const SAMPLES_20_MS: u32 = 960;
/// Samples per millisecond at 48 kHz.
pub(crate) const SAMPLES_PER_MS: u32 = 48;
const MAX_SAMPLES: u32 = 5760;

/// One packet of Opus, the way an encoder makes it: 48 kHz, 2.5 ms to 120 ms
/// of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpusFrame {
    /// The Opus packet (RFC 6716, 3).
    pub data: Bytes,
    /// How long it sounds, in samples per channel at 48 kHz: 120..=5760, and
    /// 960 for the 20 ms that Discord's clients use.
    pub samples: u32,
}

/// The bytes are not an Opus packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the bytes are not an Opus packet of 2.5 to 120 ms")]
pub struct NotOpus;

impl OpusFrame {
    /// 20 ms of silence: `F8 FF FE`. Five of them end a stretch of speech, so
    /// that decoders do not carry its last sound on (Discord documentation,
    /// Voice Connections, Voice Data Interpolation).
    pub const SILENCE: Self = Self {
        data: Bytes::from_static(&SILENCE),
        samples: SAMPLES_20_MS,
    };

    /// A frame whose length is read from the packet itself (RFC 6716, 3.1 and
    /// 3.2).
    ///
    /// # Errors
    ///
    /// [`NotOpus`] where the packet is empty or claims more than 120 ms.
    pub fn from_packet(data: impl Into<Bytes>) -> Result<Self, NotOpus> {
        let data = data.into();
        let samples = opus_samples(&data).ok_or(NotOpus)?;
        Ok(Self { data, samples })
    }

    /// Is this exactly `F8 FF FE`?
    pub fn is_silence(&self) -> bool {
        self.data.as_ref() == SILENCE
    }
}

/// The silence frame's bytes.
pub(crate) const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// The samples per channel at 48 kHz of an Opus packet, told by its first one
/// or two bytes (RFC 6716, 3.1 and 3.2).
pub(crate) fn opus_samples(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    let config = toc >> 3;
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960][usize::from(config & 1)],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    (1..=MAX_SAMPLES)
        .contains(&(frame * frames))
        .then_some(frame * frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_read_from_the_packet() {
        for (packet, samples) in [
            (&[0xf8, 0xff, 0xfe][..], Some(960)),
            // SILK 60 ms, hybrid 10 ms, CELT 2.5 ms.
            (&[3 << 3], Some(2_880)),
            (&[12 << 3], Some(480)),
            (&[16 << 3], Some(120)),
            // Two frames, six frames, none, seven, no count.
            (&[0xf9], Some(1_920)),
            (&[0xfb, 6], Some(5_760)),
            (&[0xfb, 0], None),
            (&[0xfb, 7], None),
            (&[0xfb], None),
            (&[], None),
        ] {
            let frame = OpusFrame::from_packet(packet);
            assert_eq!(frame.ok().map(|frame| frame.samples), samples, "{packet:?}");
        }
        assert!(OpusFrame::SILENCE.is_silence());
        let read = OpusFrame::from_packet(&SILENCE[..]);
        assert_eq!(read, Ok(OpusFrame::SILENCE));
    }
}
