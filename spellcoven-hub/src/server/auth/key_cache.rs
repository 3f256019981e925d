use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::key_set::KeySet;

/// After so long the keys are fetched again in the background; after twice that a token waits for it.
const TTL: Duration = Duration::from_secs(300);
/// The least time between two fetches, so that made-up `kid`s cannot hammer the identity provider.
const FLOOR: Duration = Duration::from_secs(10);
/// The same while there are no keys at all and every request is refused.
const EMPTY_FLOOR: Duration = Duration::from_secs(1);

/// The keys of one URL and when to fetch them: pure. Old keys are kept as long as fetching fails; a good fetch replaces them all.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    keys: Option<Arc<KeySet>>,
    fetched: Option<Instant>,
    attempted: Option<Instant>,
    fetching: bool,
}

/// What to do about a token.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Check it with these keys; `refresh`: and fetch new ones in the background.
    Use { keys: Arc<KeySet>, refresh: bool },
    /// Wait for a fetch, starting it unless one is on its way.
    Fetch,
    /// There are no keys, and it is too early to ask again.
    Unavailable,
}

impl KeyCache {
    /// `knows` tells whether a set has a key for the token; `waited`, whether this token waited for a fetch already.
    pub(crate) fn lookup(
        &self,
        now: Instant,
        knows: impl Fn(&KeySet) -> bool,
        waited: bool,
    ) -> Lookup {
        let may_fetch = !waited && (self.fetching || self.floor_passed(now));
        let Some(keys) = &self.keys else {
            return if may_fetch {
                Lookup::Fetch
            } else {
                Lookup::Unavailable
            };
        };
        let age = self
            .fetched
            .map_or(Duration::MAX, |at| now.duration_since(at));
        if may_fetch && (!knows(keys) || age >= 2 * TTL) {
            return Lookup::Fetch;
        }
        let refresh = may_fetch && !self.fetching && age >= TTL;
        Lookup::Use {
            keys: Arc::clone(keys),
            refresh,
        }
    }

    /// Begins a fetch; `false` where one is on its way.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        if self.fetching {
            return false;
        }
        self.fetching = true;
        self.attempted = Some(now);
        true
    }

    /// Ends the fetch; `None` where it failed.
    pub(crate) fn finish(&mut self, now: Instant, keys: Option<KeySet>) {
        self.fetching = false;
        if let Some(keys) = keys {
            self.keys = Some(Arc::new(keys));
            self.fetched = Some(now);
        }
    }

    /// How long ago the keys were fetched.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.fetched.map(|at| now.duration_since(at))
    }

    fn floor_passed(&self, now: Instant) -> bool {
        let floor = if self.keys.is_some() {
            FLOOR
        } else {
            EMPTY_FLOOR
        };
        self.attempted
            .is_none_or(|at| now.duration_since(at) >= floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Option<KeySet> {
        KeySet::parse(br#"{"keys":[]}"#).ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_kid_fetches_once_per_floor() {
        let start = Instant::now();
        let mut cache = KeyCache::default();
        assert!(matches!(
            cache.lookup(start, |_| true, false),
            Lookup::Fetch
        ));
        assert!(cache.begin(start) && !cache.begin(start));
        cache.finish(start, keys());
        let at = |s| start + Duration::from_secs(s);
        assert!(matches!(
            cache.lookup(at(9), |_| false, false),
            Lookup::Use { refresh: false, .. }
        ));
        assert!(matches!(
            cache.lookup(at(10), |_| false, false),
            Lookup::Fetch
        ));
        assert!(matches!(
            cache.lookup(at(10), |_| false, true),
            Lookup::Use { .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_are_used_while_fetching_fails() {
        let start = Instant::now();
        let mut cache = KeyCache::default();
        cache.begin(start);
        cache.finish(start, keys());
        let at = |s| start + Duration::from_secs(s);
        assert!(matches!(
            cache.lookup(at(299), |_| true, false),
            Lookup::Use { refresh: false, .. }
        ));
        assert!(matches!(
            cache.lookup(at(300), |_| true, false),
            Lookup::Use { refresh: true, .. }
        ));
        assert!(matches!(
            cache.lookup(at(600), |_| true, false),
            Lookup::Fetch
        ));
        cache.begin(at(600));
        cache.finish(at(600), None);
        assert!(matches!(
            cache.lookup(at(601), |_| true, false),
            Lookup::Use { refresh: false, .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn without_keys_the_floor_is_a_second() {
        let start = Instant::now();
        let mut cache = KeyCache::default();
        cache.begin(start);
        cache.finish(start, None);
        assert!(matches!(
            cache.lookup(start, |_| true, false),
            Lookup::Unavailable
        ));
        assert!(matches!(
            cache.lookup(start + EMPTY_FLOOR, |_| true, false),
            Lookup::Fetch
        ));
    }
}
