//! How long to wait before the next connection.

use std::time::Duration;

/// A connection that held for this long after READY or RESUMED counts as
/// established, and the next attempt after it begins at once.
const STABLE: Duration = Duration::from_secs(10);
const MAX_SECONDS: u64 = 60;

/// 0 s for the first attempt after an established session, then 1, 2, 4 … 60 s
/// with ±50 % jitter.
///
/// READY or RESUMED sets it back; where the connection ends within 10 s of
/// that, the next wait is 1 s and from the second time in a row on 2 s (each
/// ±50 %), so that a service that accepts and cuts is not met with a hot loop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempts: u32,
    flaps: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let base = match self.attempts {
            0 => 0,
            n => (1u64 << (n - 1).min(6)).min(MAX_SECONDS),
        };
        self.attempts = self.attempts.saturating_add(1);
        Duration::from_secs(base).mul_f64(0.5 + rng.f64())
    }

    /// An established connection has ended after `uptime`.
    pub(crate) fn ended(&mut self, uptime: Duration) {
        self.flaps = if uptime >= STABLE {
            0
        } else {
            (self.flaps + 1).min(2)
        };
        self.attempts = self.flaps;
    }
}

/// A session whose connections held for so long together was worth its identify.
const LASTING: Duration = Duration::from_secs(60);
/// So many new sessions in a row may come without an extra wait.
const FREE_RENEWALS: u32 = 4;
const RENEWAL_BASE: Duration = Duration::from_secs(5);
const RENEWAL_CAP: Duration = Duration::from_secs(300);

/// Slows identifies down where one new session after the other does not last:
/// from the fifth in a row on the wait is 5, 10, 20 … 300 s ± 50 %. A service
/// that takes each identify and ends the session at once would else cost the
/// day's thousand within an hour or two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Renewals {
    begun: bool,
    uptime: Duration,
    short: u32,
}

impl Renewals {
    /// A connection of the session was up for this long.
    pub(crate) fn was_up(&mut self, uptime: Duration) {
        self.uptime += uptime;
    }

    /// READY: a new session.
    pub(crate) fn begin(&mut self) {
        self.short = self.short_with_this();
        self.uptime = Duration::ZERO;
        self.begun = true;
    }

    /// The least wait before a connection that needs a new session.
    pub(crate) fn wait(&self, rng: &mut fastrand::Rng) -> Duration {
        match self.short_with_this().checked_sub(FREE_RENEWALS) {
            None => Duration::ZERO,
            Some(over) => (RENEWAL_BASE * (1 << over.min(6)))
                .min(RENEWAL_CAP)
                .mul_f64(0.5 + rng.f64()),
        }
    }

    fn short_with_this(&self) -> u32 {
        if self.begun && self.uptime < LASTING {
            self.short.saturating_add(1)
        } else {
            0
        }
    }
}

/// A duration drawn evenly from `min..max`.
pub(crate) fn between(rng: &mut fastrand::Rng, min: Duration, max: Duration) -> Duration {
    min + max.saturating_sub(min).mul_f64(rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_minute_with_half_jitter() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut backoff = Backoff::default();
            for base in [0u64, 1, 2, 4, 8, 16, 32, 60, 60, 60] {
                let wait = backoff.next(&mut rng).as_secs_f64();
                let base = base as f64;
                assert!(
                    wait >= base * 0.5 && wait <= base * 1.5,
                    "{wait} for {base}, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn a_short_lived_connection_is_not_met_with_zero() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            backoff.ended(Duration::from_millis(5));
            assert!(backoff.next(&mut rng) >= Duration::from_millis(500));
        }
        backoff.ended(STABLE);
        assert_eq!(backoff.next(&mut rng), Duration::ZERO);
    }
}
