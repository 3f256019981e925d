//! Wall time, read in one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the unix epoch. A clock set before 1970 reads as zero.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this crate reads wall time"
)]
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Whole seconds since the unix epoch.
#[must_use]
pub fn unix_seconds() -> u64 {
    unix_time().as_secs()
}

/// Wall time that follows tokio's clock, so that pausing the one pauses the other.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    start_ms: u64,
    since: tokio::time::Instant,
}

impl VirtualClock {
    /// A clock that shows `start_ms` (unix milliseconds) now.
    #[must_use]
    pub fn starting_at(start_ms: u64) -> Self {
        Self {
            start_ms,
            since: tokio::time::Instant::now(),
        }
    }
}

impl spellcoven_hub::Clock for VirtualClock {
    fn now_ms(&self) -> u64 {
        self.start_ms + u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}
