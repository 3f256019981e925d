//! Counts the answers for which Discord bans an IP address.

use std::time::Duration;

/// See Discord: Rate Limits, "Invalid Request Limit": 10,000 in 10 minutes.
const LIMIT: u32 = 10_000;
/// At a quarter a warning is logged.
const WARN: u32 = LIMIT / 4;
/// At four fifths nothing is sent any more, since other processes behind the
/// same address count as well.
const BREAK: u32 = LIMIT * 8 / 10;
/// The window is kept as bins of ten seconds, one more than it has, so that it
/// is never too short.
const BINS: usize = 61;
const BIN: Duration = Duration::from_secs(10);

/// Sliding count of 401, 403 and 429 (without scope `shared`).
#[derive(Debug)]
pub(crate) struct InvalidCounter {
    bins: [u32; BINS],
    /// Number of the newest bin since time zero.
    newest: u64,
    warned: bool,
}

impl InvalidCounter {
    pub(crate) fn new() -> Self {
        Self {
            bins: [0; BINS],
            newest: 0,
            warned: false,
        }
    }

    /// Counts one. Returns the count if it has just reached the mark for a warning.
    pub(crate) fn add(&mut self, now: Duration) -> Option<u32> {
        self.roll(now);
        let bin = Self::slot(self.newest);
        self.bins[bin] = self.bins[bin].saturating_add(1);
        let count = self.sum();
        if count < WARN {
            self.warned = false;
        }
        (count >= WARN && !std::mem::replace(&mut self.warned, count >= WARN)).then_some(count)
    }

    pub(crate) fn count(&mut self, now: Duration) -> u32 {
        self.roll(now);
        self.sum()
    }

    /// Until when nothing may be sent, if the breaker is open.
    pub(crate) fn open_until(&mut self, now: Duration) -> Option<Duration> {
        self.roll(now);
        let mut count = self.sum();
        if count < BREAK {
            return None;
        }
        // The oldest bins leave one after the other until few enough are left.
        let mut bin = self.newest.saturating_sub(BINS as u64 - 1);
        while bin < self.newest {
            count = count.saturating_sub(self.bins[Self::slot(bin)]);
            if count < BREAK {
                break;
            }
            bin += 1;
        }
        Some(BIN * u32::try_from(bin + BINS as u64).unwrap_or(u32::MAX))
    }

    fn roll(&mut self, now: Duration) {
        let current = now.as_secs() / BIN.as_secs();
        let passed = current.saturating_sub(self.newest).min(BINS as u64);
        for bin in current.saturating_sub(passed) + 1..=current {
            self.bins[Self::slot(bin)] = 0;
        }
        self.newest = self.newest.max(current);
    }

    fn sum(&self) -> u32 {
        self.bins
            .iter()
            .fold(0, |sum, bin| sum.saturating_add(*bin))
    }

    fn slot(bin: u64) -> usize {
        usize::try_from(bin % BINS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn warns_once_and_again_after_falling_below() {
        let mut counter = InvalidCounter::new();
        let warnings = (0..3000).filter(|_| counter.add(at(5)).is_some()).count();
        assert_eq!(warnings, 1);
        assert_eq!(counter.count(at(5)), 3000);
        assert_eq!(counter.count(at(605)), 3000);
        assert_eq!(counter.count(at(615)), 0);
        let warnings = (0..3000).filter(|_| counter.add(at(700)).is_some()).count();
        assert_eq!(warnings, 1);
    }

    #[test]
    fn breaks_at_four_fifths_until_enough_are_old() {
        let mut counter = InvalidCounter::new();
        for i in 0..8000_u64 {
            assert_eq!(counter.open_until(at(i / 100)), None);
            counter.add(at(i / 100));
        }
        let until = counter.open_until(at(80)).unwrap();
        assert_eq!(until, at(610));
        assert!(
            counter
                .open_until(until - Duration::from_millis(1))
                .is_some()
        );
        assert_eq!(counter.open_until(until), None);
    }
}
