//! Percentiles of a few thousand measured times.

use std::{fmt, time::Duration};

/// Measured times; nothing is thrown away, so it is for runs of known length.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one measurement.
    pub fn record(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The least recorded time that `percent` of all do not exceed (nearest rank); `None` when empty.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={}", self.count())?;
        for percent in [50.0, 95.0, 99.0] {
            if let Some(time) = self.percentile(percent) {
                write!(f, "  p{percent:.0} {:.3} ms", time.as_secs_f64() * 1e3)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50.0), None);
        for millis in (1..=100).rev() {
            latencies.record(Duration::from_millis(millis));
        }
        for percent in [1, 50, 95, 99, 100] {
            assert_eq!(
                latencies.percentile(f64::from(percent)),
                Some(Duration::from_millis(percent as u64))
            );
        }
    }
}
