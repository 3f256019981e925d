//! What goes into a jitter buffer and what comes out.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// A packet as the network gave it, decrypted.
#[derive(Debug, Clone)]
pub(crate) struct JitterPacket {
    pub(crate) ssrc: u32,
    /// Extended, so that it does not wrap.
    pub(crate) sequence: u64,
    /// At 48 kHz; wraps.
    pub(crate) timestamp: u32,
    /// The Opus packet.
    pub(crate) payload: Bytes,
    /// When it came.
    pub(crate) arrival: Instant,
}

/// What is to be played next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Playout {
    /// A packet.
    Frame {
        ssrc: u32,
        sequence: u64,
        timestamp: u32,
        samples: u32,
        payload: Bytes,
    },
    /// This packet did not come in time.
    Lost {
        sequence: u64,
        samples: u32,
        /// The packet after it, where it carries a copy of this one (in-band FEC).
        fec: Option<Bytes>,
    },
    /// The sender talks, but the next packet is not due or not there: to be bridged.
    Wait { samples: u32 },
}

/// Counts since the buffer was made. Each sequence number that a sender used between the
/// first and the last one played is in exactly one of `played`, `lost` and `dropped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JitterStats {
    /// Packets given to be played.
    pub played: u64,
    /// Packets that were not there when their turn came.
    pub lost: u64,
    /// Packets that were there, but were left out to shorten the delay, or because the
    /// sender began another stream.
    pub dropped: u64,
    /// Packets that came after their turn (they are among `lost`).
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that are no Opus.
    pub invalid: u64,
    /// Turns of 20 ms bridged because nothing was due.
    pub waits: u64,
    /// How much audio is held back at present.
    pub delay: Duration,
    /// The delay aimed at.
    pub target_delay: Duration,
    /// The interarrival jitter (RFC 3550, 6.4.1).
    pub jitter: Duration,
}
