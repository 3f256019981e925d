//! `xsalsa20_poly1305`: the fixed header is the nonce, the MAC comes first.

use xsalsa20poly1305::{AeadInPlace, KeyInit, Nonce, XSalsa20Poly1305};

use super::{
    cipher::{CipherFailed, TAG},
    mode::TransportKey,
};
use crate::rtp::{FIXED_HEADER, ParsedHeader};

/// SSRCs that one connection may send in this mode.
const MAX_SOURCES: usize = 8;

/// The legacy mode with its key.
pub(super) struct LegacyCipher {
    cipher: XSalsa20Poly1305,
}

impl LegacyCipher {
    pub(super) fn new(key: &TransportKey) -> Self {
        Self {
            cipher: XSalsa20Poly1305::new(key.bytes().into()),
        }
    }

    /// Encrypts all that follows the fixed header and puts the MAC between
    /// them.
    pub(super) fn seal(&self, packet: &mut Vec<u8>) -> Result<(), CipherFailed> {
        let plain_end = packet.len();
        let nonce = nonce(packet.first_chunk().ok_or(CipherFailed)?);
        packet.resize(plain_end + TAG, 0);
        packet.copy_within(FIXED_HEADER..plain_end, FIXED_HEADER + TAG);
        let (mac, body) = packet
            .get_mut(FIXED_HEADER..)
            .and_then(<[u8]>::split_first_chunk_mut::<TAG>)
            .ok_or(CipherFailed)?;
        *mac = self
            .cipher
            .encrypt_in_place_detached(&nonce, b"", body)
            .map_err(|_| CipherFailed)?
            .into();
        Ok(())
    }

    /// Decrypts a packet. What it gives is the packet in clear, whose header
    /// was moved up to the plaintext.
    pub(super) fn open<'a>(&self, packet: &'a mut [u8]) -> Result<&'a [u8], CipherFailed> {
        let header: [u8; FIXED_HEADER] = *packet.first_chunk().ok_or(CipherFailed)?;
        let (mac, body) = packet
            .get_mut(FIXED_HEADER..)
            .and_then(<[u8]>::split_first_chunk_mut::<TAG>)
            .ok_or(CipherFailed)?;
        self.cipher
            .decrypt_in_place_detached(&nonce(&header), b"", body, (&*mac).into())
            .map_err(|_| CipherFailed)?;
        let clear = packet.get_mut(TAG..).ok_or(CipherFailed)?;
        *clear.first_chunk_mut().ok_or(CipherFailed)? = header;
        Ok(clear)
    }
}

fn nonce(header: &[u8; FIXED_HEADER]) -> Nonce {
    let mut nonce = Nonce::default();
    for (to, from) in nonce.iter_mut().zip(header) {
        *to = *from;
    }
    nonce
}

/// Sees to it that no nonce of this mode is used twice.
///
/// The nonce is SSRC, timestamp and sequence number. So for each SSRC the
/// timestamps may go once around, which at 48 kHz takes a day, and with one
/// timestamp there may be 65,536 packets.
#[derive(Debug, Default)]
pub(super) struct LegacyNonces {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    timestamp: u32,
    sequence: u16,
    /// How far the timestamps have come.
    advanced: u64,
    /// How far the sequence numbers have come at this timestamp.
    packets: u32,
}

impl LegacyNonces {
    /// May this header be a nonce? Timestamps that go back count as nearly once
    /// around.
    pub(super) fn take(&mut self, parsed: &ParsedHeader) -> bool {
        let header = parsed.header;
        let Some(source) = self.sources.iter_mut().find(|s| s.ssrc == header.ssrc) else {
            if self.sources.len() == MAX_SOURCES {
                return false;
            }
            self.sources.push(Source {
                ssrc: header.ssrc,
                timestamp: header.timestamp,
                sequence: header.sequence,
                advanced: 0,
                packets: 0,
            });
            return true;
        };
        let step = header.timestamp.wrapping_sub(source.timestamp);
        let advanced = source.advanced + u64::from(step);
        let packets = if step > 0 {
            0
        } else {
            // A repeated sequence number counts as once around.
            let step = header.sequence.wrapping_sub(source.sequence);
            source.packets + if step == 0 { 1 << 16 } else { u32::from(step) }
        };
        if advanced >= 1 << 32 || packets >= 1 << 16 {
            return false;
        }
        source.timestamp = header.timestamp;
        source.sequence = header.sequence;
        source.advanced = advanced;
        source.packets = packets;
        true
    }
}
