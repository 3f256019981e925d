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
