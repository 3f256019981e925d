//! The ping that keeps the path open and measures the round trip.

use std::time::{Duration, Instant};

const PING: [u8; 4] = [0x13, 0x37, 0xca, 0xfe];
/// How an answer begins (unofficial; userdoccers, UDP Ping).
pub(crate) const PING_REPLY: [u8; 4] = [0x13, 0x37, 0xf0, 0x0d];
/// Official desktop clients send something every 5 s, whatever the traffic.
/// An answer that is not there by then counts as missing.
const INTERVAL: Duration = Duration::from_secs(5);
/// So many missed in a row, half a minute without a single datagram, are a dead path.
const DEAD: u32 = 6;

/// Sends a ping every 5 s, the first at once.
///
/// Whether every voice server answers is unknown, so missing answers mean
/// something only where there was one before.
#[derive(Debug)]
pub(crate) struct Ping {
    sequence: u32,
    next: Instant,
    outstanding: Option<Instant>,
    /// Missed since the last datagram of any kind.
    missed: u32,
    stats: PingStats,
}

/// What the pings have told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PingStats {
    /// Pings sent.
    pub sent: u64,
    /// Pings answered within 5 s.
    pub answered: u64,
    /// Pings without an answer after 5 s.
    pub missed: u64,
    /// The last measured round trip to the voice server.
    pub round_trip: Option<Duration>,
}

impl Ping {
    /// The first ping is due at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            sequence: 0,
            next: now,
            outstanding: None,
            missed: 0,
            stats: PingStats::default(),
        }
    }

    /// When to call [`Ping::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// The next ping, where one is due. After a time in which nobody called, one
    /// ping makes up for all that were missed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<[u8; 8]> {
        if self.next > now {
            return None;
        }
        if self.outstanding.take().is_some() {
            self.stats.missed += 1;
            self.missed = self.missed.saturating_add(1);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.outstanding = Some(now);
        self.stats.sent += 1;
        self.next = now + INTERVAL;
        let [p0, p1, p2, p3] = PING;
        let [s0, s1, s2, s3] = self.sequence.to_be_bytes();
        Some([p0, p1, p2, p3, s0, s1, s2, s3])
    }

    /// The round trip, if this answers the last ping. A late, repeated or
    /// foreign answer is ignored.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<Duration> {
        let sequence = datagram.strip_prefix(&PING_REPLY)?;
        if sequence != self.sequence.to_be_bytes() {
            return None;
        }
        let round_trip = now.saturating_duration_since(self.outstanding.take()?);
        self.stats.answered += 1;
        self.stats.round_trip = Some(round_trip);
        Some(round_trip)
    }

    /// Something came from the server: the path is open.
    pub(crate) fn heard(&mut self) {
        self.missed = 0;
    }

    /// Whether a path that was open is not any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.stats.answered > 0 && self.missed >= DEAD
    }

    pub(crate) fn stats(&self) -> PingStats {
        self.stats
    }
}
