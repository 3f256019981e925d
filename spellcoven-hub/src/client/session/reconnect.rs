//! How often and how soon to try again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);
/// MAX_WS_RECONNECT_ATTEMPTS of the specification.
const DEFAULT_ATTEMPTS: u32 = 5;
/// A hub's advice beyond this is not followed: its word must not make a client
/// try for ever.
const MAX_ADVICE: u32 = 100;

/// Counts the attempts in a row. The first dial of a client is none: it is the
/// person's.
#[derive(Debug)]
pub(super) struct Reconnect {
    attempts: u32,
    max_attempts: u32,
    /// Set by the caller, so the hub's advice does not count.
    explicit: bool,
    rng: fastrand::Rng,
}

impl Reconnect {
    pub(super) fn new(max_attempts: Option<u32>, rng: fastrand::Rng) -> Self {
        Self {
            attempts: 0,
            max_attempts: max_attempts.unwrap_or(DEFAULT_ATTEMPTS),
            explicit: max_attempts.is_some(),
            rng,
        }
    }

    /// The wait before the next attempt: a random half to whole of 0.5 s
    /// doubling to 30 s. `None`: no attempt is left.
    pub(super) fn next_delay(&mut self) -> Option<Duration> {
        if self.attempts >= self.max_attempts {
            return None;
        }
        // 0.5 s * 2^6 is beyond the cap, so no shift can overflow.
        let ceiling = FIRST.saturating_mul(1 << self.attempts.min(6)).min(CAP);
        self.attempts += 1;
        Some(ceiling.mul_f64(0.5 + 0.5 * self.rng.f64()))
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// `auth.ok` came, perhaps with the hub's advice.
    pub(super) fn succeeded(&mut self, advice: Option<u32>) {
        self.reset();
        if let Some(advice) = advice.filter(|_| !self.explicit) {
            self.max_attempts = advice.min(MAX_ADVICE);
        }
    }
}
