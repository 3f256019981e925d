//! One bucket: who waits, how many are under way, how many may go.

use std::{collections::BTreeMap, time::Duration};

use super::{Kind, Ticket, headers::Window};
use crate::error::RateLimitScope;

/// Sub-limits remembered for one bucket; the one that ends first goes first.
const MAX_SUB_LIMITS: usize = 64;

/// What is known about a bucket.
#[derive(Clone, Copy, Debug)]
enum Knowledge {
    /// Nothing yet: one request goes first, the others wait for its headers.
    Unknown,
    /// Answers came without headers: no bucket limit (observed).
    Unlimited,
    /// `remaining` counts those under way as used. `reset` is absent between the
    /// end of one window and the first answer of the next.
    Window {
        limit: u32,
        remaining: u32,
        reset: Option<Reset>,
    },
}

/// When a window ends, as far as answers show it: Discord has handled a request
/// at some time between its sending and its answer.
#[derive(Clone, Copy, Debug)]
struct Reset {
    earliest: Duration,
    /// With the margin: from then on the next window can be counted on.
    latest: Duration,
}

/// What the lane learns when a request is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) window: Option<Window>,
    pub(crate) sent: Duration,
}

/// One bucket's state. Time is counted from the client's start.
#[derive(Debug)]
pub(crate) struct Lane {
    knowledge: Knowledge,
    pub(crate) waiting: BTreeMap<Ticket, Kind>,
    in_flight: u32,
    blocked: Option<(Duration, RateLimitScope)>,
    sub_limits: BTreeMap<Kind, Duration>,
    last_used: Duration,
}

/// Whether a waiting request may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Readiness {
    Ready,
    /// Not before this time.
    At(Duration, RateLimitScope),
    /// When another request leaves or is answered, and not before the time.
    Parked(Option<(Duration, RateLimitScope)>),
}

impl Lane {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            knowledge: Knowledge::Unknown,
            waiting: BTreeMap::new(),
            in_flight: 0,
            blocked: None,
            sub_limits: BTreeMap::new(),
            last_used: now,
        }
    }

    /// Whether `ticket` may go. The oldest goes first; one that a sub-limit
    /// holds lets the younger ones of another kind pass.
    pub(crate) fn readiness(&mut self, ticket: Ticket, now: Duration) -> Readiness {
        self.roll(now);
        let Some(kind) = self.waiting.get(&ticket) else {
            return Readiness::Parked(None);
        };
        if let Some(until) = self.sub_limit(kind, now) {
            return Readiness::At(until, RateLimitScope::SubLimit);
        }
        let blocked = self.blocked.filter(|(until, _)| *until > now);
        let head = self.head(now) == Some(ticket);
        match (blocked, self.knowledge) {
            (Some((until, scope)), _) if head => Readiness::At(until, scope),
            (Some(blocked), _) => Readiness::Parked(Some(blocked)),
            (
                None,
                Knowledge::Window {
                    remaining: 0,
                    reset: Some(reset),
                    ..
                },
            ) if head => Readiness::At(reset.latest, RateLimitScope::Bucket),
            (
                None,
                Knowledge::Window {
                    remaining: 0,
                    reset,
                    ..
                },
            ) => Readiness::Parked(reset.map(|reset| (reset.latest, RateLimitScope::Bucket))),
            (None, Knowledge::Unknown) if self.in_flight > 0 => Readiness::Parked(None),
            (None, _) if head => Readiness::Ready,
            (None, _) => Readiness::Parked(None),
        }
    }

    /// The oldest waiting request that no sub-limit holds.
    pub(crate) fn head(&self, now: Duration) -> Option<Ticket> {
        self.waiting
            .iter()
            .find(|(_, kind)| self.sub_limit(kind, now).is_none())
            .map(|(ticket, _)| *ticket)
    }

    /// Sends a ready request off.
    pub(crate) fn take(&mut self, ticket: Ticket, now: Duration) {
        self.waiting.remove(&ticket);
        self.in_flight += 1;
        self.last_used = now;
        if let Knowledge::Window { remaining, .. } = &mut self.knowledge {
            *remaining = remaining.saturating_sub(1);
        }
    }

    /// A request is over; with what the answer's headers said.
    pub(crate) fn finished(&mut self, answer: Option<Answered>, now: Duration, margin: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.last_used = now;
        match answer {
            Some(Answered {
                window: Some(window),
                sent,
                ..
            }) => {
                let earliest = sent + window.reset_after;
                let latest = now + window.reset_after + margin;
                self.observe(window, Reset { earliest, latest });
            }
            // Only Discord's own success or refusal proves that the route has
            // no headers; a 5xx or 429 may come from in front of it.
            Some(Answered {
                status: 200..=428, ..
            }) if matches!(self.knowledge, Knowledge::Unknown) => {
                self.knowledge = Knowledge::Unlimited;
            }
            _ => {}
        }
        self.forget_dead_window();
    }

    /// Takes in a window. It is another one than the known only if the two cannot
    /// end at the same time; in doubt it is the same, which never sends too much.
    fn observe(&mut self, window: Window, seen: Reset) {
        // Those under way may count in it, and may be in its figures already.
        let fresh = window.remaining.saturating_sub(self.in_flight);
        let (remaining, reset) = match self.knowledge {
            Knowledge::Window {
                remaining,
                reset: Some(known),
                ..
            } => {
                if seen.latest < known.earliest {
                    // An answer of an older window, overtaken by others.
                    (remaining, known)
                } else if seen.earliest > known.latest {
                    (fresh, seen)
                } else {
                    // Answers overtake each other: the lowest counts.
                    let earliest = known.earliest.max(seen.earliest);
                    let latest = known.latest.max(seen.latest);
                    (remaining.min(window.remaining), Reset { earliest, latest })
                }
            }
            Knowledge::Window {
                remaining,
                reset: None,
                ..
            } => (remaining.min(window.remaining), seen),
            Knowledge::Unknown | Knowledge::Unlimited => (fresh, seen),
        };
        self.knowledge = Knowledge::Window {
            limit: window.limit,
            remaining,
            reset: Some(reset),
        };
    }

    /// Begins a new window when the old one has ended. Those under way are
    /// counted in the new one, since they may arrive in it.
    fn roll(&mut self, now: Duration) {
        if let Knowledge::Window {
            limit,
            reset: Some(reset),
            ..
        } = self.knowledge
            && reset.latest <= now
        {
            // The server's own number may be 0 or absurd; one at a time always works.
            let limit = limit.max(1);
            self.knowledge = Knowledge::Window {
                limit,
                remaining: limit.saturating_sub(self.in_flight),
                reset: None,
            };
        }
        self.forget_dead_window();
    }

    /// A window without an end of which nobody can tell any more is unknown.
    fn forget_dead_window(&mut self) {
        if let Knowledge::Window {
            remaining: 0,
            reset: None,
            ..
        } = self.knowledge
            && self.in_flight == 0
        {
            self.knowledge = Knowledge::Unknown;
        }
    }

    pub(crate) fn block(&mut self, until: Duration, scope: RateLimitScope) {
        if self.blocked.is_none_or(|(current, _)| current < until) {
            self.blocked = Some((until, scope));
        }
        if let (
            RateLimitScope::Bucket,
            Knowledge::Window {
                remaining, reset, ..
            },
        ) = (scope, &mut self.knowledge)
        {
            *remaining = 0;
            let known = reset.unwrap_or(Reset {
                earliest: until,
                latest: until,
            });
            *reset = Some(Reset {
                latest: known.latest.max(until),
                ..known
            });
        }
    }

    pub(crate) fn block_kind(&mut self, kind: Kind, until: Duration, now: Duration) {
        self.sub_limits.retain(|_, until| *until > now);
        if self.sub_limits.len() >= MAX_SUB_LIMITS
            && let Some(soonest) = self
                .sub_limits
                .iter()
                .min_by_key(|(_, until)| **until)
                .map(|(kind, _)| kind.clone())
        {
            self.sub_limits.remove(&soonest);
        }
        let current = self.sub_limits.entry(kind).or_insert(until);
        *current = until.max(*current);
    }

    fn sub_limit(&self, kind: &Kind, now: Duration) -> Option<Duration> {
        self.sub_limits
            .get(kind)
            .copied()
            .filter(|until| *until > now)
    }

    /// The bucket changed its identity: what was known about it is void.
    pub(crate) fn forget_window(&mut self) {
        self.knowledge = Knowledge::Unknown;
    }

    /// Whether the bucket's present window is known and requests were counted in
    /// it.
    pub(crate) fn window_is_used(&self, now: Duration) -> bool {
        matches!(self.knowledge, Knowledge::Window { limit, remaining, reset: Some(reset) } if reset.latest > now && remaining < limit)
    }

    /// Takes over waiting and running requests of a lane that turned out to be
    /// the same bucket.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.waiting.extend(other.waiting);
        self.in_flight += other.in_flight;
        self.last_used = self.last_used.max(other.last_used);
        if let Some((until, scope)) = other.blocked {
            self.block(until, scope);
        }
        for (kind, until) in other.sub_limits {
            let current = self.sub_limits.entry(kind).or_insert(until);
            *current = until.max(*current);
        }
    }

    /// Whether nothing would be lost by forgetting the lane at `now`, if it has
    /// been idle for `idle`.
    pub(crate) fn is_idle(&self, now: Duration, idle: Duration) -> bool {
        let window_over = !matches!(self.knowledge, Knowledge::Window { reset: Some(reset), .. } if reset.latest > now);
        let free = self.blocked.is_none_or(|(until, _)| until <= now);
        let sub_free = self.sub_limits.values().all(|until| *until <= now);
        !self.is_busy() && window_over && free && sub_free && self.last_used + idle <= now
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.waiting.is_empty()
    }

    pub(crate) fn last_used(&self) -> Duration {
        self.last_used
    }
}
