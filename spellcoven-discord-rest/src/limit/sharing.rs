//! Which routes share a bucket.
//!
//! Discord reports one bucket id for routes that count apart (observed: POST and
//! PATCH of a message), so the id alone merges nothing; only a 429 does.

use std::time::Duration;

use super::{LaneKey, Limiter, Place, RouteId, headers::Observed, lane::Lane};
use crate::{endpoint::Major, error::RateLimitScope};

impl Limiter {
    /// Notes a route's bucket id. A new one means another bucket.
    pub(super) fn learn_hash(&mut self, place: &Place, observed: &Observed) {
        let Some(hash) = &observed.hash else { return };
        let before = self.hashes.insert(place.ask.route.clone(), hash.clone());
        if before.is_some_and(|before| before != *hash) {
            // Not the bucket that it shared any more.
            self.merged.remove(&place.ask.route);
            if place.lane.0 == place.ask.route
                && let Some(lane) = self.lanes.get_mut(&place.lane)
            {
                lane.forget_window();
            }
        }
    }

    /// A 429 for an exhausted bucket, in a lane that should have had requests
    /// left, proves that someone else uses the bucket. If that is another route
    /// of ours with the same bucket id, and used in its present window, they share.
    pub(super) fn sharing_sibling(
        &self,
        key: &LaneKey,
        observed: &Observed,
        now: Duration,
    ) -> Option<RouteId> {
        if observed.too_many?.scope != RateLimitScope::Bucket {
            return None;
        }
        let hash = observed.hash.as_ref()?;
        let same = |route: &RouteId| *route != key.0 && self.hashes.get(route) == Some(hash);
        let used = |lane: &Lane| lane.window_is_used(now);
        self.lanes
            .iter()
            .find(|(other, lane)| other.1 == key.1 && same(&other.0) && used(lane))
            .map(|(other, _)| other.0.clone())
    }

    /// From now on `route` counts in `into`'s bucket, for every major parameter.
    pub(super) fn merge(&mut self, route: &RouteId, into: &RouteId) {
        tracing::debug!(
            route = route.1,
            shares = into.1,
            "two routes share a bucket"
        );
        for target in self.merged.values_mut().filter(|target| *target == route) {
            *target = into.clone();
        }
        self.merged.insert(route.clone(), into.clone());
        let moved: Vec<LaneKey> = self
            .lanes
            .keys()
            .filter(|key| key.0 == *route)
            .cloned()
            .collect();
        for key in moved {
            let Some(lane) = self.lanes.remove(&key) else {
                continue;
            };
            let target = LaneKey(into.clone(), key.1);
            self.wakes.extend(lane.waiting.keys());
            match self.lanes.get_mut(&target) {
                Some(shared) => shared.absorb(lane),
                None => {
                    self.lanes.insert(target, lane);
                }
            }
        }
        for place in self.waiting.values_mut().chain(self.in_flight.values_mut()) {
            if place.lane.0 == *route {
                place.lane.0 = into.clone();
            }
        }
    }

    /// The bucket that a route counts in, as far as is known.
    pub(super) fn lane_key(&self, route: &RouteId, major: Major) -> LaneKey {
        LaneKey(self.merged.get(route).unwrap_or(route).clone(), major)
    }
}
