//! The fixed header of an RTP packet (RFC 3550, 5.1).

/// The fixed header's length in bytes.
pub(crate) const FIXED_HEADER: usize = 12;

/// The payload type of Opus on Discord (Discord documentation, Voice
/// Connections: `0x78`).
pub(crate) const OPUS_PAYLOAD_TYPE: u8 = 120;

/// What every RTP packet says in clear: the fields of RFC 3550, 5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    /// Audio leaves it off; for video it ends a frame.
    pub(crate) marker: bool,
    /// 0..=127.
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    /// In units of 1/48,000 s for Opus.
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
}

/// The header as it was read, with what decides where the rest begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParsedHeader {
    pub(crate) header: RtpHeader,
    /// The P bit: the last byte of the plaintext counts the padding.
    pub(crate) padded: bool,
    /// The X bit: a four-byte preamble and an extension follow the CSRCs.
    pub(crate) extended: bool,
    /// 0..=15.
    pub(crate) csrc_count: u8,
}

impl RtpHeader {
    /// A header without CSRCs, extension or padding.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(0x80);
        out.push(u8::from(self.marker) << 7 | (self.payload_type & 0x7f));
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
    }
}

impl ParsedHeader {
    /// Reads the fixed header. `None` where the packet is shorter than 12
    /// bytes or its version is not 2.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let [b0, b1, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] =
            *packet.first_chunk::<FIXED_HEADER>()?;
        (b0 >> 6 == 2).then_some(Self {
            header: RtpHeader {
                marker: b1 & 0x80 != 0,
                payload_type: b1 & 0x7f,
                sequence: u16::from_be_bytes([s0, s1]),
                timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
                ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
            },
            padded: b0 & 0x20 != 0,
            extended: b0 & 0x10 != 0,
            csrc_count: b0 & 0x0f,
        })
    }

    /// The length of what the `rtpsize` modes leave in clear: the fixed
    /// header, the CSRCs and, with an extension, its preamble. 12..=76.
    pub(crate) fn clear_len(&self) -> usize {
        FIXED_HEADER + 4 * usize::from(self.csrc_count) + if self.extended { 4 } else { 0 }
    }
}
