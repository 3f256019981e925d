//! RTP as official clients send it: now and then with a header extension, now and then padded.
//!
//! See: RFC 3550, 5.1; RFC 8285, 4.2; RFC 6464.

use super::super::cipher::Cipher;

/// Payload type of Opus.
const OPUS: u8 = 120;
/// One element "audio level" (id 1, one byte: voice, 30 dB below the loudest) and two bytes to fill the word.
const AUDIO_LEVEL: [u8; 4] = [0x10, 0x9E, 0, 0];

/// How a packet is dressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dress {
    pub(super) extension: bool,
    /// Bytes of padding; 0 for none.
    pub(super) padding: u8,
}

/// One outgoing stream.
#[derive(Debug)]
pub(super) struct Stream {
    ssrc: u32,
    sequence: u16,
    counter: u32,
}

impl Stream {
    pub(super) fn new(ssrc: u32, rng: &mut fastrand::Rng) -> Self {
        Self {
            ssrc,
            sequence: rng.u16(..),
            counter: rng.u32(..),
        }
    }

    /// The datagram of a frame.
    pub(super) fn packet(
        &mut self,
        cipher: &Cipher,
        timestamp: u32,
        frame: &[u8],
        dress: Dress,
    ) -> Option<Vec<u8>> {
        let mut packet = Vec::with_capacity(frame.len() + 64);
        let flags = u8::from(dress.padding > 0) << 5 | u8::from(dress.extension) << 4;
        packet.extend_from_slice(&[0x80 | flags, OPUS]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        if dress.extension {
            packet.extend_from_slice(&[0xBE, 0xDE, 0, 1]);
            packet.extend_from_slice(&AUDIO_LEVEL);
        }
        packet.extend_from_slice(frame);
        if dress.padding > 0 {
            packet.resize(packet.len() + usize::from(dress.padding) - 1, 0);
            packet.push(dress.padding);
        }
        let clear = cipher.mode().clear_len(&packet)?;
        cipher.seal(&mut packet, clear, self.counter)?;
        self.sequence = self.sequence.wrapping_add(1);
        self.counter = self.counter.wrapping_add(1);
        Some(packet)
    }
}
