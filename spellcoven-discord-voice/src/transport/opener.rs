//! Decryption of what we receive.

use super::{
    cipher::{COUNTER, Cipher, RtpSizeCipher, TAG},
    mode::{EncryptionMode, TransportKey},
    replay::{ReplayWindows, Verdict},
};
use crate::rtp::{ParsedHeader, RTCP_CLEAR, RtpError, RtpPacket};

/// Decrypts the datagrams of one connection and drops those that came before.
pub(crate) struct Opener {
    cipher: Cipher,
    windows: ReplayWindows,
}

/// Why a datagram was not taken. Each reason is counted by itself; none is a
/// reason to end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    /// Too short for what its header says, or not of version 2.
    #[error("the datagram is cut short")]
    Truncated,
    /// The tag does not fit: another key, or bytes changed on the way.
    #[error("the datagram is not authentic")]
    NotAuthentic,
    /// This packet came before.
    #[error("the packet of SSRC {ssrc} came before")]
    Replayed { ssrc: u32 },
    /// So far behind the newest packet of its SSRC that nobody can tell whether
    /// it came before.
    #[error("the packet of SSRC {ssrc} is too old")]
    TooOld { ssrc: u32 },
    /// The header extension is longer than the packet.
    #[error("the header extension is longer than the packet")]
    Extension,
    /// The padding count is 0 or larger than the payload.
    #[error("the padding count is 0 or larger than the payload")]
    Padding,
    /// The legacy mode does not carry RTCP.
    #[cfg(feature = "xsalsa20")]
    #[error("the mode xsalsa20_poly1305 does not carry RTCP")]
    NoRtcp,
}

impl From<RtpError> for OpenError {
    fn from(error: RtpError) -> Self {
        match error {
            RtpError::Header => Self::Truncated,
            RtpError::Extension => Self::Extension,
            RtpError::Padding => Self::Padding,
        }
    }
}

impl Opener {
    pub(crate) fn new(mode: EncryptionMode, key: &TransportKey) -> Self {
        Self {
            cipher: Cipher::new(mode, key),
            windows: ReplayWindows::default(),
        }
    }

    /// Decrypts an RTP packet in place and takes extension and padding off.
    ///
    /// A packet that came before is dropped (RFC 3711, 3.3.2): by its sequence
    /// number, for each SSRC, among the last 1,024. The window moves for
    /// authentic packets only. Unlike SRTP the modes do not authenticate how
    /// often the 16 bits have wrapped, so a packet recorded 65,536 packets ago
    /// passes here; the end-to-end encryption's own counter stops that one.
    pub(crate) fn open_rtp<'a>(
        &mut self,
        datagram: &'a mut [u8],
    ) -> Result<RtpPacket<'a>, OpenError> {
        let parsed = ParsedHeader::parse(datagram).ok_or(OpenError::Truncated)?;
        let ssrc = parsed.header.ssrc;
        let place = match self.windows.check(ssrc, parsed.header.sequence) {
            Verdict::Fresh(place) => place,
            Verdict::Replayed => return Err(OpenError::Replayed { ssrc }),
            Verdict::TooOld => return Err(OpenError::TooOld { ssrc }),
        };
        let packet = match &self.cipher {
            Cipher::RtpSize(cipher) => open(cipher, parsed.clear_len(), datagram)?,
            #[cfg(feature = "xsalsa20")]
            Cipher::Legacy(cipher) => cipher.open(datagram).map_err(|_| OpenError::NotAuthentic)?,
        };
        self.windows.accept(ssrc, place);
        Ok(RtpPacket::parse(packet)?)
    }

    /// Decrypts an RTCP packet, compound or not, in place. There is no replay
    /// window: reports have no sequence number, and a repeated one does no more
    /// than a late one.
    pub(crate) fn open_rtcp<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        match &self.cipher {
            Cipher::RtpSize(cipher) => open(cipher, RTCP_CLEAR, datagram),
            #[cfg(feature = "xsalsa20")]
            Cipher::Legacy(_) => Err(OpenError::NoRtcp),
        }
    }

    /// Takes another mode and key. Which packets came is remembered.
    pub(crate) fn rekey(&mut self, mode: EncryptionMode, key: &TransportKey) {
        self.cipher = Cipher::new(mode, key);
    }

    /// Forgets which packets of an SSRC came, because its sender has left and
    /// another may use the number.
    pub(crate) fn forget(&mut self, ssrc: u32) {
        self.windows.forget(ssrc);
    }
}

fn open<'a>(
    cipher: &RtpSizeCipher,
    clear_len: usize,
    datagram: &'a mut [u8],
) -> Result<&'a [u8], OpenError> {
    let (sealed, counter) = datagram
        .split_last_chunk_mut::<COUNTER>()
        .ok_or(OpenError::Truncated)?;
    let (clear, body) = sealed
        .split_at_mut_checked(clear_len)
        .filter(|(_, body)| body.len() >= TAG)
        .ok_or(OpenError::Truncated)?;
    let plain_len = cipher
        .open(*counter, clear, body)
        .map_err(|_| OpenError::NotAuthentic)?;
    datagram
        .get(..clear_len + plain_len)
        .ok_or(OpenError::Truncated)
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}
