//! The limit of 120 messages per 60 s and connection.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Discord documentation, "Gateway", Rate Limiting: 120 events per connection
/// every 60 seconds, heartbeats included; more ends in close code 4008.
const LIMIT: usize = 120;
const WINDOW: Duration = Duration::from_secs(60);

/// A sliding log of what was sent. Commands leave room for heartbeats.
#[derive(Debug)]
pub(crate) struct SendLimit {
    log: VecDeque<Instant>,
    capacity: usize,
}

impl SendLimit {
    /// `lowered_by` is what 4008 has taught: so many fewer commands.
    pub(crate) fn new(heartbeat_interval: Duration, lowered_by: usize) -> Self {
        Self {
            log: VecDeque::with_capacity(LIMIT),
            capacity: capacity(heartbeat_interval).saturating_sub(lowered_by),
        }
    }

    /// Counts a message that was sent.
    pub(crate) fn record(&mut self, now: Instant) {
        self.forget(now);
        if self.log.len() == LIMIT {
            self.log.pop_front();
        }
        self.log.push_back(now);
    }

    pub(crate) fn may_send_command(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.log.len() < self.capacity
    }

    /// Whether even a heartbeat would go over what Discord allows.
    pub(crate) fn exhausted(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.log.len() >= LIMIT
    }

    /// When the next command may go.
    pub(crate) fn next_command_at(&self, now: Instant) -> Instant {
        match self.log.len().checked_sub(self.capacity) {
            None => now,
            Some(over) => self.log.get(over).map_or(now, |sent| *sent + WINDOW),
        }
    }

    fn forget(&mut self, now: Instant) {
        while self
            .log
            .front()
            .is_some_and(|sent| now.saturating_duration_since(*sent) >= WINDOW)
        {
            self.log.pop_front();
        }
    }
}

/// Room for twice the beats of a window and two more, but commands keep 110: an
/// interval so short that its beats need more (under 7 s) exists in tests only,
/// and beats alone would break the limit under 0.6 s.
fn capacity(heartbeat_interval: Duration) -> usize {
    let beats = (WINDOW.as_secs_f64() / heartbeat_interval.as_secs_f64().max(0.001)).ceil();
    // A float over the range saturates in this cast.
    let reserve = (beats as usize).saturating_mul(2).saturating_add(2);
    LIMIT.saturating_sub(reserve).max(110)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_follows_the_interval_and_never_goes_under_110() {
        assert_eq!(capacity(Duration::from_millis(41_250)), 114);
        assert_eq!(capacity(Duration::from_secs(60)), 116);
        assert_eq!(capacity(Duration::from_millis(10)), 110);
        assert_eq!(capacity(Duration::ZERO), 110);
    }
}
