//! How long to wait before the next connection.

use std::time::Duration;

const MAX: Duration = Duration::from_secs(30);
/// Many clients that one server dropped do not all come back in the same instant.
const FIRST: Duration = Duration::from_millis(100);

/// After a time of health at once (within 100 ms), since most cuts are only that; then 1, 2, 4, 8, 16, 30 s with ±50 %
/// jitter, at most 30 s. Discord gives no numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        let Some(doublings) = attempt.checked_sub(1) else {
            return FIRST.mul_f64(rng.f64());
        };
        let base = Duration::from_secs(1 << doublings.min(5)).min(MAX);
        base.mul_f64(0.5 + rng.f64()).min(MAX)
    }

    /// The connection was healthy.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}
