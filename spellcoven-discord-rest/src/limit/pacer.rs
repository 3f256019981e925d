//! The global limit, spread evenly, and blocks of everything.

use std::time::Duration;

use crate::error::RateLimitScope;

/// Lets at most `per_second` requests through in any one second.
///
/// Nine tenths of them come at an even pace, one tenth may come at once: sent in
/// one burst, requests can fall into one window of Discord's together with the
/// next burst (observed). See Discord: Rate Limits, "Global Rate Limit".
#[derive(Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    burst: Duration,
    /// When the next request would come if all were evenly spaced.
    next: Duration,
    blocked: Option<(Duration, RateLimitScope)>,
    edge_strikes: u32,
}

/// First block when the edge answers 429 without saying for how long.
pub(crate) const EDGE_BLOCK: Duration = Duration::from_secs(60);
const MAX_EDGE_BLOCK: Duration = Duration::from_secs(60 * 60);

impl Pacer {
    pub(crate) fn new(per_second: u32) -> Self {
        let rate = f64::from(per_second.max(1));
        let interval = Duration::from_secs_f64(1.0 / (rate * 0.9));
        let burst = (per_second / 10).max(1);
        Self {
            interval,
            burst: interval * (burst - 1),
            next: Duration::ZERO,
            blocked: None,
            edge_strikes: 0,
        }
    }

    /// When a request that counts towards the global limit may go, and what
    /// holds it if that is later than `now`.
    pub(crate) fn free_at(&self, now: Duration) -> (Duration, RateLimitScope) {
        let paced = self.next.saturating_sub(self.burst).max(now);
        match self.blocked {
            Some((until, scope)) if until > paced => (until, scope),
            _ => (paced, RateLimitScope::Global),
        }
    }

    /// When anything at all may go: the edge's block holds for every request.
    pub(crate) fn edge_block(&self, now: Duration) -> Option<Duration> {
        match self.blocked {
            Some((until, RateLimitScope::Edge)) if until > now => Some(until),
            _ => None,
        }
    }

    pub(crate) fn take(&mut self, now: Duration) {
        self.next = self.next.max(now) + self.interval;
    }

    pub(crate) fn block_global(&mut self, until: Duration) {
        if self.blocked.is_none_or(|(current, _)| current < until) {
            self.blocked = Some((until, RateLimitScope::Global));
        }
    }

    /// The edge has answered 429. Without a wait of its own the block doubles
    /// with each one, up to an hour; those that arrive during a block (they were
    /// under way) do not count.
    pub(crate) fn block_edge(
        &mut self,
        now: Duration,
        retry_after: Option<Duration>,
        margin: Duration,
    ) {
        if let (Some(_), None) = (self.edge_block(now), retry_after) {
            return;
        }
        let wait = match retry_after {
            Some(wait) => wait,
            None => (EDGE_BLOCK * 2_u32.pow(self.edge_strikes.min(6))).min(MAX_EDGE_BLOCK),
        };
        self.edge_strikes += 1;
        let until = now + wait + margin;
        if self.blocked.is_none_or(|(current, _)| current < until) {
            self.blocked = Some((until, RateLimitScope::Edge));
        }
    }

    /// Discord itself has answered: the edge lets us through.
    pub(crate) fn edge_is_open(&mut self) {
        self.edge_strikes = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARGIN: Duration = Duration::from_millis(50);

    #[test]
    fn never_more_than_the_limit_in_any_second() {
        for per_second in [1_u32, 2, 10, 50, 1200] {
            let mut pacer = Pacer::new(per_second);
            let mut now = Duration::from_secs(7);
            let mut sent = Vec::new();
            for _ in 0..per_second * 4 {
                now = pacer.free_at(now).0;
                pacer.take(now);
                sent.push(now);
            }
            for (i, start) in sent.iter().enumerate() {
                let within = sent[i..]
                    .iter()
                    .take_while(|at| **at < *start + Duration::from_secs(1))
                    .count();
                assert!(
                    within <= per_second as usize,
                    "{within} within a second, limit {per_second}"
                );
            }
            let took = (now - Duration::from_secs(7)).as_secs_f64();
            assert!(took < 4.0 / 0.9 + 1.2, "{per_second}/s took {took}");
        }
    }

    proptest! {
        /// However requests arrive and wherever Discord's windows of a second
        /// begin: never more than the limit, and nobody waits for longer than
        /// the requests before ask for.
        #[test]
        fn any_second_has_room(per_second in 1_u32..120, gaps in proptest::collection::vec(0_u64..60, 1..400)) {
            let mut pacer = Pacer::new(per_second);
            let (mut arrival, mut sent) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                arrival += Duration::from_millis(if gap > 55 { gap * 20 } else { gap });
                let before = sent.last().copied().unwrap_or_default();
                let now = pacer.free_at(arrival.max(before)).0;
                pacer.take(now);
                sent.push(now);
                if now > arrival {
                    prop_assert!(now <= arrival.max(before) + pacer.interval, "{now:?}");
                }
            }
            for (i, first) in sent.iter().enumerate() {
                let end = *first + Duration::from_secs(1);
                let within = sent[i..].iter().take_while(|at| **at < end).count();
                prop_assert!(within <= per_second as usize, "{within} of {per_second}");
            }
        }
    }

    #[test]
    fn an_edge_block_grows_and_is_forgotten() {
        let mut pacer = Pacer::new(50);
        let mut now = Duration::ZERO;
        for expected in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            pacer.block_edge(now, None, MARGIN);
            pacer.block_edge(now + MARGIN, None, MARGIN);
            let until = pacer.edge_block(now).unwrap();
            assert_eq!(until - now, Duration::from_secs(expected) + MARGIN);
            now = until;
        }
        pacer.edge_is_open();
        pacer.block_edge(now, None, MARGIN);
        assert_eq!(
            pacer.edge_block(now).unwrap() - now,
            Duration::from_secs(60) + MARGIN
        );
    }

    #[test]
    fn the_edge_may_say_how_long() {
        let mut pacer = Pacer::new(50);
        pacer.block_edge(Duration::ZERO, Some(Duration::from_secs(10)), MARGIN);
        assert_eq!(
            pacer.edge_block(Duration::ZERO),
            Some(Duration::from_secs(10) + MARGIN)
        );
    }

    #[test]
    fn a_global_block_is_never_shortened() {
        let mut pacer = Pacer::new(50);
        pacer.block_global(Duration::from_secs(9));
        pacer.block_global(Duration::from_secs(3));
        assert_eq!(
            pacer.free_at(Duration::ZERO),
            (Duration::from_secs(9), RateLimitScope::Global)
        );
        assert_eq!(pacer.edge_block(Duration::ZERO), None);
    }
}
