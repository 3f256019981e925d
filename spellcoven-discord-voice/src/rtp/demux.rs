//! What a datagram is, by its first bytes.

use crate::udp::{DISCOVERY_RESPONSE, PING_REPLY};

/// What a datagram from the voice server's address claims to be. Nothing is
/// authenticated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatagramKind {
    Rtp,
    Rtcp,
    /// The answer to IP discovery.
    Discovery,
    /// The answer to a ping.
    Ping,
    /// Something else: to be counted and dropped.
    Unknown,
}

impl DatagramKind {
    /// Tells by the first two bytes, or four for a ping. The kinds can not be
    /// mixed up: RTP and RTCP begin with binary `10`, the others with `00`. Of
    /// the second byte 192..=223 are RTCP (RFC 5761, 4), which costs RTP the
    /// payload types 64..=95.
    pub(crate) fn of(datagram: &[u8]) -> Self {
        if datagram.starts_with(&DISCOVERY_RESPONSE) {
            return Self::Discovery;
        }
        if datagram.starts_with(&PING_REPLY) {
            return Self::Ping;
        }
        match *datagram {
            [first, 192..=223, ..] if first >> 6 == 2 => Self::Rtcp,
            [first, _, ..] if first >> 6 == 2 => Self::Rtp,
            _ => Self::Unknown,
        }
    }
}
