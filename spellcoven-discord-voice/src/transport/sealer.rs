//! Encryption of what we send.

use super::{
    cipher::{COUNTER, Cipher, RtpSizeCipher},
    mode::{EncryptionMode, TransportKey},
};
use crate::rtp::{ParsedHeader, RTCP_CLEAR};

/// How many packets one key may encrypt: so many nonces there are.
const NONCES: u64 = 1 << 32;

/// Encrypts the datagrams of one connection.
///
/// All of them, RTP, retransmissions and RTCP, share one key and so one
/// counter, which never gives a number twice.
pub(crate) struct Sealer {
    cipher: Cipher,
    next: u32,
    remaining: u64,
    #[cfg(feature = "xsalsa20")]
    legacy: super::legacy::LegacyNonces,
}

/// Why a packet was not encrypted. It must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SealError {
    /// All nonces of the key are used up. A new connection, which has a new
    /// key, is the only way on.
    #[error("every nonce of the transport key was used; a new connection is needed")]
    Exhausted,
    /// What we wanted to send is no RTP or RTCP packet: our mistake.
    #[error("the packet to encrypt is malformed")]
    Malformed,
    /// The legacy mode has no safe nonce for RTCP.
    #[cfg(feature = "xsalsa20")]
    #[error("the mode xsalsa20_poly1305 does not carry RTCP")]
    NoRtcp,
}

impl Sealer {
    /// A sealer whose first nonce is `first_nonce`; after 2^32 − 1 comes 0.
    pub(crate) fn new(mode: EncryptionMode, key: &TransportKey, first_nonce: u32) -> Self {
        Self {
            cipher: Cipher::new(mode, key),
            next: first_nonce,
            remaining: NONCES,
            #[cfg(feature = "xsalsa20")]
            legacy: super::legacy::LegacyNonces::default(),
        }
    }

    /// Encrypts an RTP packet in place: header, extension, payload and padding
    /// in clear go in, the datagram comes out, 20 bytes longer (16 in the
    /// legacy mode).
    ///
    /// After an error the packet's content is undefined and must not be sent.
    pub(crate) fn seal_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SealError> {
        let parsed = ParsedHeader::parse(packet).ok_or(SealError::Malformed)?;
        match &self.cipher {
            Cipher::RtpSize(cipher) => {
                let counter = take(&mut self.next, &mut self.remaining)?;
                seal(cipher, counter, parsed.clear_len(), packet)
            }
            #[cfg(feature = "xsalsa20")]
            Cipher::Legacy(cipher) => {
                if !self.legacy.take(&parsed) {
                    return Err(SealError::Exhausted);
                }
                cipher.seal(packet).map_err(|_| SealError::Malformed)
            }
        }
    }

    /// Encrypts an RTCP packet, compound or not, in place: 20 bytes longer. Its
    /// first 8 bytes stay in clear.
    ///
    /// After an error the packet's content is undefined and must not be sent.
    pub(crate) fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SealError> {
        match &self.cipher {
            Cipher::RtpSize(cipher) => {
                let counter = take(&mut self.next, &mut self.remaining)?;
                seal(cipher, counter, RTCP_CLEAR, packet)
            }
            #[cfg(feature = "xsalsa20")]
            Cipher::Legacy(_) => Err(SealError::NoRtcp),
        }
    }

    /// Takes another mode and key. The counter goes on where it stands: so even
    /// a key that comes back sees no nonce twice.
    pub(crate) fn rekey(&mut self, mode: EncryptionMode, key: &TransportKey) {
        self.cipher = Cipher::new(mode, key);
    }

    /// Does the mode carry RTCP?
    pub(crate) fn carries_rtcp(&self) -> bool {
        matches!(self.cipher, Cipher::RtpSize(_))
    }

    #[cfg(test)]
    pub(crate) fn set_next(&mut self, next: u32) {
        self.next = next;
    }

    #[cfg(test)]
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    #[cfg(test)]
    pub(crate) fn with_remaining(mut self, remaining: u64) -> Self {
        self.remaining = remaining;
        self
    }
}

/// The next number of the counter. A number that is taken is used, whatever
/// becomes of its packet.
fn take(next: &mut u32, remaining: &mut u64) -> Result<[u8; COUNTER], SealError> {
    *remaining = remaining.checked_sub(1).ok_or(SealError::Exhausted)?;
    let counter = *next;
    *next = counter.wrapping_add(1);
    Ok(counter.to_be_bytes())
}

fn seal(
    cipher: &RtpSizeCipher,
    counter: [u8; COUNTER],
    clear_len: usize,
    packet: &mut Vec<u8>,
) -> Result<(), SealError> {
    let (clear, body) = packet
        .split_at_mut_checked(clear_len)
        .ok_or(SealError::Malformed)?;
    let tag = cipher
        .seal(counter, clear, body)
        .map_err(|_| SealError::Malformed)?;
    packet.extend_from_slice(&tag);
    packet.extend_from_slice(&counter);
    Ok(())
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}
