//! What may be sent again, and after how long. Pure.

use std::time::Duration;

use crate::endpoint::RetryClass;

/// Discord recognises a repeated nonce for "a few minutes"; a minute is inside.
///
/// See Discord: Message Resource, "Create Message" (`enforce_nonce`).
pub(crate) const NONCE_REMEMBERED: Duration = Duration::from_secs(60);

/// How one attempt failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// It never left.
    NotSent,
    /// Answered 429: refused before execution.
    RateLimited,
    /// Discord did nothing and wants to be asked later: 202 to a read, or a 4xx
    /// with a code that says so.
    NotNow,
    /// Whether Discord acted is open, and a repetition may go better.
    Ambiguous,
    /// As before, but a repetition is not worth trying (501, 505, an answer that
    /// is too large).
    AmbiguousFinal,
}

/// What follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decision {
    Retry,
    GiveUp,
}

/// Whether a request may be sent once more.
///
/// `since_open` is the time since the first attempt was sent whose outcome is
/// unknown.
pub(crate) fn decide(
    class: RetryClass,
    failure: Failure,
    retries: u32,
    max_retries: u32,
    since_open: Duration,
) -> Decision {
    if retries >= max_retries {
        return Decision::GiveUp;
    }
    let again = match (failure, class) {
        (Failure::NotSent | Failure::RateLimited | Failure::NotNow, _) => true,
        (Failure::AmbiguousFinal, _) => false,
        (Failure::Ambiguous, RetryClass::Idempotent) => true,
        (Failure::Ambiguous, RetryClass::Deduplicated) => since_open < NONCE_REMEMBERED,
        (Failure::Ambiguous, RetryClass::NotIdempotent) => false,
    };
    if again {
        Decision::Retry
    } else {
        Decision::GiveUp
    }
}

/// What a status of 500 or more means for a retry.
///
/// Observed: these are worth a retry; Discord's documentation names 502 only.
pub(crate) fn of_server_error(status: u16) -> Failure {
    match status {
        500 | 502..=504 | 507 | 520..=524 => Failure::Ambiguous,
        _ => Failure::AmbiguousFinal,
    }
}

/// Codes that say "not now" whatever the status: overloaded, and what is not
/// available yet (an index that is being built).
///
/// See Discord: Opcodes and Status Codes, "JSON".
pub(crate) fn is_not_now(code: Option<u64>) -> bool {
    matches!(code, Some(130_000 | 110_000..=110_999))
}

/// Exponential backoff with full jitter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

impl Backoff {
    /// The wait before retry number `retry` (from 0): anything up to
    /// `base * 2^retry`, at most `cap`. `random` is in `0.0..1.0`.
    pub(crate) fn delay(self, retry: u32, random: f64) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(2_u32.saturating_pow(retry))
            .min(self.cap);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table() {
        use Decision::*;
        use Failure::*;
        use RetryClass::*;
        let rows = [
            (NotSent, Idempotent, Retry),
            (NotSent, NotIdempotent, Retry),
            (NotSent, Deduplicated, Retry),
            (RateLimited, Idempotent, Retry),
            (RateLimited, NotIdempotent, Retry),
            (RateLimited, Deduplicated, Retry),
            (NotNow, NotIdempotent, Retry),
            (Ambiguous, Idempotent, Retry),
            (Ambiguous, NotIdempotent, GiveUp),
            (Ambiguous, Deduplicated, Retry),
            (AmbiguousFinal, Idempotent, GiveUp),
        ];
        for (failure, class, expected) in rows {
            assert_eq!(
                decide(class, failure, 0, 3, Duration::ZERO),
                expected,
                "{failure:?} {class:?}"
            );
            assert_eq!(decide(class, failure, 3, 3, Duration::ZERO), GiveUp);
        }
        assert_eq!(
            decide(Deduplicated, Ambiguous, 0, 3, Duration::from_secs(61)),
            GiveUp
        );
    }

    #[test]
    fn which_server_errors() {
        for status in [500, 502, 503, 504, 507, 520, 524] {
            assert_eq!(of_server_error(status), Failure::Ambiguous);
        }
        for status in [501, 505, 525, 599] {
            assert_eq!(of_server_error(status), Failure::AmbiguousFinal);
        }
    }

    proptest! {
        #[test]
        fn backoff_is_bounded(retry in 0_u32..100, random in 0.0..1.0_f64) {
            let backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(10) };
            let delay = backoff.delay(retry, random);
            prop_assert!(delay <= backoff.cap);
            prop_assert!(delay <= backoff.base.saturating_mul(2_u32.saturating_pow(retry)));
        }
    }
}
