//! Wall time, which enters the crate here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the wall time. Signatures and tokens carry wall times; everything else
/// (deadlines, back-off) runs on tokio's monotonic time. The seam for tests.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch; 0 for a time before it.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads wall time; tests put another Clock here"
    )]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
