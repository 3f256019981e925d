//! When to beat, and when a connection is dead although nobody said so.

use std::time::{Duration, Instant};

/// However lively the connection seems, without an ack for this long it ends.
const WATCHDOG: Duration = Duration::from_secs(90);

/// Intervals outside this range are not followed to the letter: a longer one
/// would keep the watchdog from its 90 s, a shorter one is a busy loop.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(60);

/// Source: Discord documentation, "Gateway", Sending Heartbeats. That frames
/// count as a sign of life for one more interval is observed practice.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    next: Instant,
    last_sent: Option<Instant>,
    /// The first beat since the last ack.
    unacked_since: Option<Instant>,
    last_ack: Instant,
    last_frame: Instant,
    latency: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// Nothing is amiss.
    Fine,
    /// The ack is missing, but frames arrive.
    Late,
    /// Drop the connection.
    Dead,
}

impl Heartbeat {
    /// `jitter` in 0..1 places the first beat within the first interval.
    pub(crate) fn new(interval: Duration, jitter: f64, now: Instant) -> Self {
        let interval = interval.clamp(SHORTEST, LONGEST);
        Self {
            interval,
            next: now + interval.mul_f64(jitter.clamp(0.0, 1.0)),
            last_sent: None,
            unacked_since: None,
            last_ack: now,
            last_frame: now,
            latency: None,
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    pub(crate) fn is_acked(&self) -> bool {
        self.unacked_since.is_none()
    }

    pub(crate) fn on_frame(&mut self, now: Instant) {
        self.last_frame = now;
    }

    /// A beat was due, and the limit of messages had no room for it: the
    /// schedule moves on.
    pub(crate) fn on_omitted_beat(&mut self, now: Instant) {
        self.next = now + self.interval;
    }

    /// A beat was sent because it was due: the schedule moves on.
    pub(crate) fn on_scheduled_beat(&mut self, now: Instant) {
        self.next = now + self.interval;
        self.on_beat(now);
    }

    /// A beat was sent, on schedule or because the server asked.
    pub(crate) fn on_beat(&mut self, now: Instant) {
        self.last_sent = Some(now);
        self.unacked_since.get_or_insert(now);
    }

    pub(crate) fn on_ack(&mut self, now: Instant) {
        if self.unacked_since.take().is_some() {
            self.latency = self
                .last_sent
                .map(|sent| now.saturating_duration_since(sent));
        }
        self.last_ack = now;
    }

    /// Reading stopped for a while and goes on now: what waited in the socket
    /// could not be seen, so the clocks start again.
    pub(crate) fn on_reading_again(&mut self, now: Instant) {
        self.last_frame = now;
        self.last_ack = now;
        if self.unacked_since.is_some() {
            self.unacked_since = Some(now);
        }
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    pub(crate) fn next_beat(&self) -> Instant {
        self.next
    }

    pub(crate) fn watchdog(&self) -> Option<Instant> {
        self.unacked_since.map(|_| self.last_ack + WATCHDOG)
    }

    /// To be asked when a beat is due, and when the watchdog is.
    pub(crate) fn pulse(&self, now: Instant) -> Pulse {
        let Some(since) = self.unacked_since else {
            return Pulse::Fine;
        };
        if self.watchdog().is_some_and(|at| now >= at) {
            return Pulse::Dead;
        }
        if !self.is_due(now) {
            return Pulse::Fine;
        }
        let silent = now.saturating_duration_since(self.last_frame) >= self.interval;
        let unacked = now.saturating_duration_since(since);
        if silent || unacked >= self.interval * 2 {
            Pulse::Dead
        } else {
            Pulse::Late
        }
    }
}
