//! How long to wait before the next connection.

use std::time::Duration;

const MAX: Duration = Duration::from_secs(30);

/// 1, 2, 4, 8, 16, 30 s with ±50 % jitter, at most 30 s. Discord gives no numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let base = Duration::from_secs(1 << self.attempts.min(5)).min(MAX);
        self.attempts = self.attempts.saturating_add(1);
        base.mul_f64(0.5 + rng.f64()).min(MAX)
    }

    /// The connection was healthy.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}
