//! Rate limits as a state machine: no I/O, no clock.
//!
//! A request takes a [`Ticket`] with [`Limiter::enqueue`]; [`Limiter::poll`] says
//! whether it may go, when to ask again, or that it must wait until it is woken
//! ([`Limiter::take_wakes`]). When it is over, [`Limiter::finished`] takes what
//! the answer said. Time is counted from the client's start.

mod forbidden;
mod headers;
mod invalid;
mod lane;
mod pacer;
mod sharing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::{
    forbidden::{Deed, Forbidden},
    headers::{Observed, TooMany},
    pacer::EDGE_BLOCK,
};
use self::{
    invalid::InvalidCounter,
    lane::{Answered, Lane, Readiness},
    pacer::Pacer,
};
use crate::{
    endpoint::{Major, Route},
    error::RateLimitScope,
};

/// A place in line; the lower, the earlier. A retry keeps its ticket.
pub(crate) type Ticket = u64;

/// The kind of a request within its bucket: the top-level keys of its body.
/// Sub-limits hold for one kind (a rename, but not a new user limit).
pub(crate) type Kind = Arc<str>;

/// Discord's resets are seconds with milliseconds, and clocks differ a little.
const MARGIN: Duration = Duration::from_millis(50);
/// A bucket that nobody used for so long is forgotten.
const IDLE: Duration = Duration::from_secs(10 * 60);
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Bounds and speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitConfig {
    pub(crate) global_per_second: u32,
    pub(crate) max_waiting: usize,
    pub(crate) max_buckets: usize,
}

/// Method and path template.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct RouteId(String, &'static str);

/// A bucket: one route (or the first of several that proved to share), for one
/// major parameter.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct LaneKey(RouteId, Major);

/// What a request asks of the limiter.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    route: RouteId,
    major: Major,
    kind: Kind,
    counts_globally: bool,
}

impl Ask {
    pub(crate) fn new(route: &Route, kind: Kind) -> Self {
        Self {
            route: RouteId(route.method().as_str().to_owned(), route.template()),
            major: route.major(),
            kind,
            counts_globally: route.counts_globally(),
        }
    }
}

#[derive(Debug)]
struct Place {
    ask: Ask,
    lane: LaneKey,
    /// When it was let go; zero before.
    sent: Duration,
}

/// The answer to "may I go?".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Send it, then call [`Limiter::finished`].
    Go,
    /// Ask again at this time, or when woken.
    At(Duration, RateLimitScope),
    /// Ask again when woken; it will not be before the time, if there is one.
    Parked(Option<(Duration, RateLimitScope)>),
    /// The breaker for invalid requests is open until then.
    Broken(Duration),
}

/// Counters for those who operate the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bucket: u64,
    pub(crate) sub_limit: u64,
    pub(crate) shared: u64,
    pub(crate) global: u64,
    pub(crate) edge: u64,
}

/// All limits of one client.
#[derive(Debug)]
pub(crate) struct Limiter {
    config: LimitConfig,
    lanes: BTreeMap<LaneKey, Lane>,
    /// The bucket id last seen for a route. Bounded by the templates in the program.
    hashes: BTreeMap<RouteId, Arc<str>>,
    /// Routes that proved to share another route's bucket.
    merged: BTreeMap<RouteId, RouteId>,
    waiting: BTreeMap<Ticket, Place>,
    in_flight: BTreeMap<Ticket, Place>,
    /// Those that only wait for the global limit.
    at_gate: BTreeSet<Ticket>,
    next_ticket: Ticket,
    pacer: Pacer,
    invalid: InvalidCounter,
    wakes: Vec<Ticket>,
    next_sweep: Duration,
    counters: Counters,
}

impl Limiter {
    pub(crate) fn new(config: LimitConfig) -> Self {
        Self {
            pacer: Pacer::new(config.global_per_second),
            config,
            lanes: BTreeMap::new(),
            hashes: BTreeMap::new(),
            merged: BTreeMap::new(),
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            at_gate: BTreeSet::new(),
            next_ticket: 0,
            invalid: InvalidCounter::new(),
            wakes: Vec::new(),
            next_sweep: SWEEP_EVERY,
            counters: Counters::default(),
        }
    }

    /// Takes a place in line; a retry gives its old ticket. `None`: too many wait.
    pub(crate) fn enqueue(
        &mut self,
        ask: Ask,
        ticket: Option<Ticket>,
        now: Duration,
    ) -> Option<Ticket> {
        if self.waiting.len() >= self.config.max_waiting {
            return None;
        }
        self.sweep(now);
        let ticket = ticket.unwrap_or_else(|| {
            self.next_ticket += 1;
            self.next_ticket
        });
        let lane = self.lane_key(&ask.route, ask.major);
        self.lanes
            .entry(lane.clone())
            .or_insert_with(|| Lane::new(now))
            .waiting
            .insert(ticket, ask.kind.clone());
        self.waiting.insert(
            ticket,
            Place {
                ask,
                lane,
                sent: Duration::ZERO,
            },
        );
        Some(ticket)
    }

    /// Whether a waiting request may go now.
    pub(crate) fn poll(&mut self, ticket: Ticket, now: Duration) -> Verdict {
        let Some(place) = self.waiting.get(&ticket) else {
            return Verdict::Parked(None);
        };
        let counts = place.ask.counts_globally;
        if let (true, Some(until)) = (counts, self.invalid.open_until(now)) {
            return Verdict::Broken(until);
        }
        let readiness = match self.lanes.get_mut(&place.lane) {
            Some(lane) => lane.readiness(ticket, now),
            None => Readiness::Ready,
        };
        match readiness {
            Readiness::Ready => self.poll_gate(ticket, counts, now),
            Readiness::At(at, scope) => {
                self.leave_gate(ticket);
                Verdict::At(at, scope)
            }
            Readiness::Parked(not_before) => {
                self.leave_gate(ticket);
                Verdict::Parked(not_before)
            }
        }
    }

    /// The bucket lets it go; do the global limit and the edge?
    fn poll_gate(&mut self, ticket: Ticket, counts: bool, now: Duration) -> Verdict {
        if counts {
            self.at_gate.insert(ticket);
            let (free, scope) = self.pacer.free_at(now);
            if self.at_gate.first() != Some(&ticket) {
                return Verdict::Parked((free > now).then_some((free, scope)));
            }
            if free > now {
                return Verdict::At(free, scope);
            }
            self.pacer.take(now);
        } else if let Some(until) = self.pacer.edge_block(now) {
            return Verdict::At(until, RateLimitScope::Edge);
        }
        self.leave_gate(ticket);
        if let Some(mut place) = self.waiting.remove(&ticket) {
            place.sent = now;
            if let Some(lane) = self.lanes.get_mut(&place.lane) {
                lane.take(ticket, now);
                self.wakes.extend(lane.head(now));
            }
            self.in_flight.insert(ticket, place);
        }
        Verdict::Go
    }

    fn leave_gate(&mut self, ticket: Ticket) {
        if self.at_gate.remove(&ticket) {
            self.wakes.extend(self.at_gate.first());
        }
    }

    /// A waiting request gives its place back.
    pub(crate) fn cancel(&mut self, ticket: Ticket, now: Duration) {
        self.leave_gate(ticket);
        if let Some(place) = self.waiting.remove(&ticket)
            && let Some(lane) = self.lanes.get_mut(&place.lane)
        {
            lane.waiting.remove(&ticket);
            self.wakes.extend(lane.head(now));
        }
    }

    /// A request is over. `None`: there was no answer.
    ///
    /// `extra` is added to the wait of a 429 (the caller's backoff). Returns how
    /// many invalid requests there were in ten minutes if that is worth a warning.
    pub(crate) fn finished(
        &mut self,
        ticket: Ticket,
        observed: Option<&Observed>,
        extra: Duration,
        now: Duration,
    ) -> Option<u32> {
        let place = self.in_flight.remove(&ticket)?;
        if let Some(observed) = observed {
            self.learn_hash(&place, observed);
        }
        let key = place.lane.clone();
        let answer = observed.map(|observed| Answered {
            status: observed.status,
            window: observed.window,
            sent: place.sent,
        });
        let sibling = observed.and_then(|observed| self.sharing_sibling(&key, observed, now));
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.finished(answer, now, MARGIN);
        }
        let mut warning = None;
        if let Some(observed) = observed {
            match observed.too_many {
                Some(too_many) => self.block(&place, too_many, extra, now),
                None => self.pacer.edge_is_open(),
            }
            if observed.is_invalid_request() {
                warning = self.invalid.add(now);
            }
        }
        match sibling {
            Some(sibling) => self.merge(&key.0, &sibling),
            None => self.wake_head(&key, now),
        }
        warning
    }

    pub(crate) fn take_wakes(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.wakes)
    }

    fn block(&mut self, place: &Place, too_many: TooMany, extra: Duration, now: Duration) {
        let wait = too_many.retry_after.unwrap_or_default() + MARGIN + extra;
        let until = now + wait;
        if too_many.scope != RateLimitScope::Edge {
            self.pacer.edge_is_open();
        }
        match too_many.scope {
            RateLimitScope::Global => {
                self.counters.global += 1;
                self.pacer.block_global(until);
                self.wakes.extend(&self.at_gate);
            }
            RateLimitScope::Edge => {
                self.counters.edge += 1;
                self.pacer
                    .block_edge(now, too_many.retry_after, MARGIN + extra);
                self.wakes.extend(&self.at_gate);
            }
            scope => {
                let counter = match scope {
                    RateLimitScope::SubLimit => &mut self.counters.sub_limit,
                    RateLimitScope::Shared => &mut self.counters.shared,
                    _ => &mut self.counters.bucket,
                };
                *counter += 1;
                let Some(lane) = self.lanes.get_mut(&place.lane) else {
                    return;
                };
                if scope == RateLimitScope::SubLimit {
                    lane.block_kind(place.ask.kind.clone(), until, now);
                    // None of the kind is at the head any more to be woken as such.
                    self.wakes.extend(lane.waiting.keys());
                } else {
                    lane.block(until, scope);
                }
            }
        }
    }

    fn wake_head(&mut self, key: &LaneKey, now: Duration) {
        if let Some(lane) = self.lanes.get(key) {
            self.wakes.extend(lane.head(now));
        }
    }

    /// Forgets idle buckets now and then, and the longest unused when there are
    /// too many. Buckets in use are never forgotten; `max_waiting` bounds them.
    fn sweep(&mut self, now: Duration) {
        let full = self.lanes.len() >= self.config.max_buckets;
        if now < self.next_sweep && !full {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        self.lanes.retain(|_, lane| !lane.is_idle(now, IDLE));
        if self.lanes.len() < self.config.max_buckets {
            return;
        }
        let mut unused: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.is_busy())
            .map(|(key, lane)| (lane.last_used(), key.clone()))
            .collect();
        unused.sort();
        // A quarter at once, so that not every new bucket pays for a sweep.
        for (_, key) in unused
            .into_iter()
            .take((self.config.max_buckets / 4).max(1))
        {
            self.lanes.remove(&key);
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn buckets(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn invalid_requests(&mut self, now: Duration) -> u32 {
        self.invalid.count(now)
    }
}

#[cfg(test)]
mod tests;
