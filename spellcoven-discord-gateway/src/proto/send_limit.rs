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
    log: VecDeque<(Instant, Sent)>,
    /// How many in the log are no beats of the schedule.
    others: usize,
    /// How many of these may be in a window when a command is among them.
    capacity: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A heartbeat of the schedule: how many there will be is known.
    Beat,
    Other,
}

impl SendLimit {
    /// `lowered_by` is what 4008 has taught: so many fewer commands.
    pub(crate) fn new(heartbeat_interval: Duration, lowered_by: usize) -> Self {
        Self {
            log: VecDeque::with_capacity(LIMIT),
            others: 0,
            // Not zero, or the next command could never go.
            capacity: capacity(heartbeat_interval)
                .saturating_sub(lowered_by)
                .max(1),
        }
    }

    /// Counts a message that was sent.
    pub(crate) fn record(&mut self, sent: Sent, now: Instant) {
        self.forget(now);
        if self.log.len() == LIMIT {
            self.pop();
        }
        self.log.push_back((now, sent));
        self.others += usize::from(sent == Sent::Other);
    }

    pub(crate) fn may_send_command(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.others < self.capacity && self.log.len() < LIMIT
    }

    /// Whether even a heartbeat would go over what Discord allows.
    pub(crate) fn exhausted(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.log.len() >= LIMIT
    }

    /// When the next command may go.
    pub(crate) fn next_command_at(&self, now: Instant) -> Instant {
        let free_at = |index: Option<&(Instant, Sent)>| index.map(|(sent, _)| *sent + WINDOW);
        let mut others = self.log.iter().filter(|(_, sent)| *sent == Sent::Other);
        let room = match self.others.checked_sub(self.capacity) {
            None => None,
            Some(over) => free_at(others.nth(over)),
        };
        let any = free_at(self.log.front().filter(|_| self.log.len() >= LIMIT));
        room.max(any).unwrap_or(now)
    }

    fn forget(&mut self, now: Instant) {
        while self
            .log
            .front()
            .is_some_and(|(sent, _)| now.saturating_duration_since(*sent) >= WINDOW)
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, Sent::Other)) = self.log.pop_front() {
            self.others -= 1;
        }
    }
}

/// Room for twice the beats of a window and two more, but commands keep 110
/// where the beats leave them so many. An interval under 7 s, which does not,
/// exists in tests only; under 0.5 s the beats alone fill the window, and those
/// that have no room are left out.
fn capacity(heartbeat_interval: Duration) -> usize {
    let beats = (WINDOW.as_secs_f64() / heartbeat_interval.as_secs_f64().max(0.001)).ceil();
    // A float over the range saturates in this cast.
    let beats = beats as usize;
    let ample = LIMIT.saturating_sub(beats.saturating_mul(2).saturating_add(2));
    let scant = LIMIT.saturating_sub(beats.saturating_add(2));
    ample.max(scant.min(110))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_follows_the_interval() {
        for (millis, expected) in [
            (60_000, 116),
            (41_250, 114),
            (8_000, 110),
            (7_000, 109),
            (1_000, 58),
            (500, 0),
            (0, 0),
        ] {
            let capacity = capacity(Duration::from_millis(millis));
            assert_eq!(capacity, expected, "{millis} ms");
        }
    }

    /// Not none, or `next_command_at` would be now for ever.
    #[test]
    fn one_command_may_always_go() {
        let start = tokio::time::Instant::now().into_std();
        let mut limit = SendLimit::new(Duration::from_secs(1), 60);
        limit.record(Sent::Other, start);
        assert!(!limit.may_send_command(start));
        assert_eq!(limit.next_command_at(start), start + WINDOW);
        assert!(limit.may_send_command(start + WINDOW));
    }
}
