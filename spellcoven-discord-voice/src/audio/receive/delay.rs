//! How unevenly packets arrive, and how long to hold them back for that.

use std::time::{Duration, Instant};

/// Peaks and minima are remembered for one to two such windows.
const WINDOW: Duration = Duration::from_secs(5);
/// A packet so much later than its timestamp says belongs to another time line.
const REBASE_US: i64 = 1_000_000;

/// How long received audio is held back so that packets that come late or out of order
/// still find their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JitterConfig {
    /// The least, and the delay to begin with: 20 ms to `max_delay`. Default: 40 ms.
    pub min_delay: Duration,
    /// The most: 40 ms to 1 s. Where more has piled up, every fifth packet is left out
    /// until it is back within this. Default: 200 ms.
    pub max_delay: Duration,
}

impl Default for JitterConfig {
    fn default() -> Self {
        JitterConfig {
            min_delay: Duration::from_millis(40),
            max_delay: Duration::from_millis(200),
        }
    }
}

impl JitterConfig {
    /// Delays between these, brought into range.
    pub fn new(min_delay: Duration, max_delay: Duration) -> JitterConfig {
        let tick = Duration::from_millis(20);
        let max_delay = max_delay.clamp(2 * tick, Duration::from_secs(1));
        JitterConfig {
            min_delay: min_delay.clamp(tick, max_delay),
            max_delay,
        }
    }
}

/// Measures the jitter of one stream and sets the delay to aim at. Follows a rise at
/// once, and a fall after 5 to 10 s.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    config: JitterConfig,
    epoch: Option<Instant>,
    window_began: Option<Instant>,
    /// The shortest way any packet took, in µs against the timestamps, in this window
    /// and in the one before.
    shortest: [Option<i64>; 2],
    /// How much longer than that the slowest took.
    peak: [i64; 2],
    last_transit: Option<i64>,
    jitter: f64,
}

impl DelayEstimator {
    pub(super) fn new(config: JitterConfig) -> DelayEstimator {
        DelayEstimator {
            config: JitterConfig::new(config.min_delay, config.max_delay),
            epoch: None,
            window_began: None,
            shortest: [None; 2],
            peak: [0; 2],
            last_transit: None,
            jitter: 0.0,
        }
    }

    /// Another stretch of talk: senders may have stopped their timestamps meanwhile.
    pub(super) fn restart(&mut self) {
        self.shortest = [None; 2];
        self.last_transit = None;
    }

    /// A packet with this timestamp (at 48 kHz, never wrapping) has arrived.
    pub(super) fn arrived(&mut self, at: Instant, timestamp: i64) {
        let epoch = *self.epoch.get_or_insert(at);
        let began = *self.window_began.get_or_insert(at);
        if at.saturating_duration_since(began) >= WINDOW {
            self.window_began = Some(at);
            self.shortest = [None, self.shortest[0]];
            self.peak = [0, self.peak[0]];
        }
        let elapsed = at.saturating_duration_since(epoch).as_micros();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let transit = elapsed.saturating_sub(timestamp.saturating_mul(125) / 6);
        if let Some(last) = self.last_transit {
            // RFC 3550, 6.4.1 and A.8.
            let difference = transit.saturating_sub(last).unsigned_abs().min(1_000_000);
            self.jitter += (difference as f64 - self.jitter) / 16.0;
        }
        self.last_transit = Some(transit);
        let known = self.shortest[0].into_iter().chain(self.shortest[1]).min();
        let shortest = known.unwrap_or(transit);
        let late = transit.saturating_sub(shortest);
        if !(-REBASE_US..=REBASE_US).contains(&late) {
            self.shortest = [Some(transit), None];
            return;
        }
        self.shortest[0] = Some(self.shortest[0].map_or(transit, |s| s.min(transit)));
        self.peak[0] = self.peak[0].max(late);
    }

    /// How much later than the fastest packet the slowest one came, of late.
    pub(super) fn peak(&self) -> Duration {
        Duration::from_micros(self.peak[0].max(self.peak[1]).unsigned_abs())
    }

    /// The delay to aim at: a packet's length more than the slowest packet needs.
    pub(super) fn target(&self) -> Duration {
        (self.peak() + Duration::from_millis(20))
            .clamp(self.config.min_delay, self.config.max_delay)
    }

    pub(super) fn max_delay(&self) -> Duration {
        self.config.max_delay
    }

    /// The interarrival jitter of RFC 3550.
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter as u64)
    }
}
