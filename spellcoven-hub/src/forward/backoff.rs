//! The wait between two tries.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);

/// 0.1 s doubling to 5 s, of which a random half to whole is waited, so that
/// many workers do not come back in one instant.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    rng: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { failures: 0, rng }
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        // 0.1 s * 2^6 is beyond the cap, so no shift can overflow.
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(6)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(0.5 + 0.5 * self.rng.f64())
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_with_jitter_and_starts_over_after_a_success() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(1));
        for ceiling_ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let ceiling = Duration::from_millis(ceiling_ms);
            let delay = backoff.next_delay();
            assert!(
                delay >= ceiling / 2 && delay <= ceiling,
                "{delay:?} of {ceiling:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }
}
