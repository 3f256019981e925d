//! The clock of sender reports.

use std::time::Duration;

/// A time as in RTCP: seconds since some moment in 32.32 fixed point (RFC 3550,
/// 4). Ours count from when the sender was made: whoever has no wall clock may
/// use the elapsed time instead (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NtpTime(pub(crate) u64);

/// A span in units of 1/65,536 s, as in report blocks; wraps after 18 h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortNtp(pub(crate) u32);

impl NtpTime {
    pub(crate) fn from_elapsed(elapsed: Duration) -> Self {
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        Self(elapsed.as_secs() << 32 | fraction)
    }

    /// The middle 32 bits, which report blocks repeat.
    pub(crate) fn short(self) -> ShortNtp {
        ShortNtp((self.0 >> 16) as u32)
    }
}

impl ShortNtp {
    /// The longest span that fits stands for all longer ones.
    pub(crate) fn from_duration(span: Duration) -> Self {
        let units = span.as_nanos() * 65_536 / 1_000_000_000;
        Self(u32::try_from(units).unwrap_or(u32::MAX))
    }

    pub(crate) fn to_duration(self) -> Duration {
        Duration::from_nanos(u64::from(self.0) * 1_000_000_000 / 65_536)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self(self.0.wrapping_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_both_ways() {
        let time = NtpTime::from_elapsed(Duration::from_millis(1_500));
        assert_eq!(time.0, 0x1_8000_0000);
        assert_eq!(time.short(), ShortNtp(0x0001_8000));
        assert_eq!(time.short().to_duration(), Duration::from_millis(1_500));
        assert_eq!(
            ShortNtp::from_duration(Duration::from_millis(250)).0,
            0x4000
        );
        assert_eq!(
            ShortNtp::from_duration(Duration::from_secs(1 << 20)).0,
            u32::MAX
        );
    }
}
