//! When to beat, and when a connection is dead although nobody said so.

use std::time::{Duration, Instant};

/// However long the server's interval is, the client beats as often as this: a dead link is noticed in at most twice
/// the time. The web client does the same (observed).
const LONGEST: Duration = Duration::from_secs(5);
/// A shorter interval is not followed: it would be a busy loop.
const SHORTEST: Duration = Duration::from_millis(100);

/// Source: Discord documentation, "Voice Connections", Heartbeating. That a missing ack means a dead link is observed
/// practice.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    next: Instant,
    /// The newest beat that has no ack.
    unacked: Option<(u64, Instant)>,
    round_trip: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// Not due.
    Quiet,
    /// Send one, then call [`Heartbeat::sent`].
    Beat,
    /// The last one has no ack: drop the connection.
    Dead,
}

impl Heartbeat {
    /// `jitter` in 0..1 places the first beat within the first interval.
    pub(crate) fn new(interval: Duration, jitter: f64, now: Instant) -> Self {
        let interval = interval.clamp(SHORTEST, LONGEST);
        Self {
            interval,
            next: now + interval.mul_f64(jitter.clamp(0.0, 1.0)),
            unacked: None,
            round_trip: None,
        }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// The time from the last acked beat to its ack.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(crate) fn pulse(&mut self, now: Instant) -> Pulse {
        if now < self.next {
            return Pulse::Quiet;
        }
        // Where the caller itself comes late, the ack may lie unread behind it: one more interval.
        let late = now.saturating_duration_since(self.next) > self.interval / 2;
        match self.unacked {
            Some(_) if late => {
                self.next = now + self.interval;
                Pulse::Quiet
            }
            Some(_) => Pulse::Dead,
            None => Pulse::Beat,
        }
    }

    /// Beat number `t` was sent, because it was due or because the server asked.
    pub(crate) fn sent(&mut self, t: u64, now: Instant) {
        self.next = now + self.interval;
        self.unacked = Some((t, now));
    }

    /// An ack; `None` where it carries no number.
    pub(crate) fn acked(&mut self, t: Option<u64>, now: Instant) {
        if let Some((sent, at)) = self.unacked
            && t.is_none_or(|t| t == sent)
        {
            self.round_trip = Some(now.saturating_duration_since(at));
            self.unacked = None;
        }
    }
}
