//! The limiter as a whole, against a model of Discord's buckets.

use std::collections::BTreeMap;

use http::Method;
use proptest::prelude::*;

use super::{headers::Window, *};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn limiter() -> Limiter {
    Limiter::new(LimitConfig {
        global_per_second: 10_000,
        max_waiting: 100,
        max_buckets: 8,
    })
}

fn ask(method: Method, channel: u64, kind: &str) -> Ask {
    let route =
        Route::new(method, "/channels/{channel_id}", Major::Channel(channel)).param(channel);
    Ask::new(&route, Kind::from(kind))
}

fn answered(hash: &str, limit: u32, remaining: u32, reset_after: Duration) -> Observed {
    Observed {
        retry_after: None,
        status: 200,
        hash: Some(Arc::from(hash)),
        window: Some(Window {
            limit,
            remaining,
            reset_after,
        }),
        too_many: None,
    }
}

fn refused(scope: RateLimitScope, wait: Duration, window: Option<Window>) -> Observed {
    let too_many = Some(TooMany {
        scope,
        retry_after: Some(wait),
    });
    Observed {
        retry_after: None,
        status: 429,
        hash: Some(Arc::from("h")),
        window,
        too_many,
    }
}

/// Lets `ticket` go, answered at once.
fn go(limiter: &mut Limiter, ask: &Ask, now: Duration, answer: &Observed) -> Ticket {
    let ticket = limiter.enqueue(ask.clone(), None, now).unwrap();
    assert_eq!(limiter.poll(ticket, now), Verdict::Go);
    limiter.finished(ticket, Some(answer), Duration::ZERO, now);
    ticket
}

#[test]
fn an_unknown_bucket_is_tried_by_one() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    let first = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
    let second = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
    assert_eq!(limiter.poll(first, ms(0)), Verdict::Go);
    assert_eq!(limiter.poll(second, ms(0)), Verdict::Parked(None));
    // Other channels and methods are not held.
    for other in [ask(Method::GET, 2, ""), ask(Method::PATCH, 1, "")] {
        let ticket = limiter.enqueue(other, None, ms(0)).unwrap();
        assert_eq!(limiter.poll(ticket, ms(0)), Verdict::Go);
    }
    limiter.take_wakes();
    limiter.finished(
        first,
        Some(&answered("h", 5, 4, ms(5000))),
        Duration::ZERO,
        ms(100),
    );
    assert_eq!(limiter.take_wakes(), [second]);
    assert_eq!(limiter.poll(second, ms(100)), Verdict::Go);
}

#[test]
fn an_attempt_without_an_answer_leaves_the_bucket_unknown() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    let tickets: Vec<_> = (0..3)
        .map(|_| limiter.enqueue(get.clone(), None, ms(0)).unwrap())
        .collect();
    assert_eq!(limiter.poll(tickets[0], ms(0)), Verdict::Go);
    limiter.finished(tickets[0], None, Duration::ZERO, ms(1));
    assert_eq!(limiter.poll(tickets[1], ms(1)), Verdict::Go);
    assert_eq!(limiter.poll(tickets[2], ms(1)), Verdict::Parked(None));
}

#[test]
fn remaining_many_at_once_then_the_next_window() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    go(&mut limiter, &get, ms(0), &answered("h", 3, 2, ms(1000)));
    let tickets: Vec<_> = (0..4)
        .map(|_| limiter.enqueue(get.clone(), None, ms(10)).unwrap())
        .collect();
    assert_eq!(limiter.poll(tickets[0], ms(10)), Verdict::Go);
    assert_eq!(limiter.poll(tickets[1], ms(10)), Verdict::Go);
    let reset = ms(1000) + MARGIN;
    assert_eq!(
        limiter.poll(tickets[2], ms(10)),
        Verdict::At(reset, RateLimitScope::Bucket)
    );
    assert_eq!(
        limiter.poll(tickets[3], ms(10)),
        Verdict::Parked(Some((reset, RateLimitScope::Bucket)))
    );
    // Two are still under way and may count in the next window: one may go.
    assert_eq!(limiter.poll(tickets[2], reset), Verdict::Go);
    assert_eq!(limiter.poll(tickets[3], reset), Verdict::Parked(None));
}

#[test]
fn answers_out_of_order_keep_the_lowest() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    go(&mut limiter, &get, ms(0), &answered("h", 5, 4, ms(1000)));
    let tickets: Vec<_> = (0..3)
        .map(|_| limiter.enqueue(get.clone(), None, ms(0)).unwrap())
        .collect();
    for ticket in &tickets {
        assert_eq!(limiter.poll(*ticket, ms(0)), Verdict::Go);
    }
    limiter.finished(
        tickets[2],
        Some(&answered("h", 5, 1, ms(900))),
        Duration::ZERO,
        ms(100),
    );
    limiter.finished(
        tickets[0],
        Some(&answered("h", 5, 3, ms(880))),
        Duration::ZERO,
        ms(120),
    );
    let more: Vec<_> = (0..2)
        .map(|_| limiter.enqueue(get.clone(), None, ms(120)).unwrap())
        .collect();
    assert_eq!(limiter.poll(more[0], ms(120)), Verdict::Go);
    assert!(matches!(limiter.poll(more[1], ms(120)), Verdict::At(..)));
}

#[test]
fn first_come_first_served_and_a_place_can_be_given_back() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    go(&mut limiter, &get, ms(0), &answered("h", 1, 0, ms(1000)));
    let [a, b, c] = [(); 3].map(|()| limiter.enqueue(get.clone(), None, ms(1)).unwrap());
    assert!(matches!(limiter.poll(a, ms(1)), Verdict::At(..)));
    assert!(matches!(limiter.poll(b, ms(1)), Verdict::Parked(_)));
    limiter.take_wakes();
    limiter.cancel(a, ms(2));
    assert_eq!(limiter.take_wakes(), [b]);
    assert_eq!(limiter.poll(c, ms(2000)), Verdict::Parked(None));
    assert_eq!(limiter.poll(b, ms(2000)), Verdict::Go);
    assert_eq!(limiter.waiting(), 1);
}

#[test]
fn a_retry_keeps_its_place() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    let first = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
    let second = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
    assert_eq!(limiter.poll(first, ms(0)), Verdict::Go);
    limiter.finished(
        first,
        Some(&refused(RateLimitScope::Bucket, ms(1000), None)),
        Duration::ZERO,
        ms(10),
    );
    limiter.enqueue(get, Some(first), ms(10)).unwrap();
    let until = ms(1010) + MARGIN;
    assert_eq!(
        limiter.poll(first, ms(10)),
        Verdict::At(until, RateLimitScope::Bucket)
    );
    assert_eq!(limiter.poll(second, until), Verdict::Parked(None));
    assert_eq!(limiter.poll(first, until), Verdict::Go);
}

#[test]
fn a_sub_limit_holds_one_kind_only() {
    let mut limiter = limiter();
    let rename = ask(Method::PATCH, 1, "name");
    let window = Window {
        limit: 5,
        remaining: 3,
        reset_after: ms(15_000),
    };
    let ticket = go(
        &mut limiter,
        &rename,
        ms(0),
        &refused(RateLimitScope::SubLimit, ms(500_000), Some(window)),
    );
    limiter
        .enqueue(rename.clone(), Some(ticket), ms(0))
        .unwrap();
    let until = ms(500_000) + MARGIN;
    assert_eq!(
        limiter.poll(ticket, ms(0)),
        Verdict::At(until, RateLimitScope::SubLimit)
    );
    // The same channel's user limit, and another channel's name, go on.
    for other in [
        ask(Method::PATCH, 1, "user_limit"),
        ask(Method::PATCH, 2, "name"),
    ] {
        let other = limiter.enqueue(other, None, ms(1)).unwrap();
        assert_eq!(limiter.poll(other, ms(1)), Verdict::Go);
    }
    assert_eq!(
        limiter.poll(ticket, until - ms(1)),
        Verdict::At(until, RateLimitScope::SubLimit)
    );
}

/// Those of the kind who were in line already learn when they may go, though the
/// one that met the limit is not coming back.
#[test]
fn a_sub_limit_wakes_its_kind() {
    let mut limiter = limiter();
    let rename = ask(Method::PATCH, 1, "name");
    let [first, second] = [(); 2].map(|()| limiter.enqueue(rename.clone(), None, ms(0)).unwrap());
    assert_eq!(limiter.poll(first, ms(0)), Verdict::Go);
    assert_eq!(limiter.poll(second, ms(0)), Verdict::Parked(None));
    limiter.take_wakes();
    let window = Window {
        limit: 5,
        remaining: 3,
        reset_after: ms(15_000),
    };
    let limited = refused(RateLimitScope::SubLimit, ms(5000), Some(window));
    limiter.finished(first, Some(&limited), Duration::ZERO, ms(10));
    assert_eq!(limiter.take_wakes(), [second]);
    let until = ms(5010) + MARGIN;
    assert_eq!(
        limiter.poll(second, ms(10)),
        Verdict::At(until, RateLimitScope::SubLimit)
    );
}

#[test]
fn shared_holds_one_route_and_major() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    go(
        &mut limiter,
        &get,
        ms(0),
        &refused(RateLimitScope::Shared, ms(9000), None),
    );
    let held = limiter.enqueue(get, None, ms(1)).unwrap();
    assert_eq!(
        limiter.poll(held, ms(1)),
        Verdict::At(ms(9000) + MARGIN, RateLimitScope::Shared)
    );
    let free = limiter
        .enqueue(ask(Method::GET, 2, ""), None, ms(1))
        .unwrap();
    assert_eq!(limiter.poll(free, ms(1)), Verdict::Go);
    assert_eq!(limiter.invalid_requests(ms(1)), 0);
}

#[test]
fn global_and_edge_hold_everything() {
    for (scope, exempt_goes) in [
        (RateLimitScope::Global, true),
        (RateLimitScope::Edge, false),
    ] {
        let mut limiter = limiter();
        go(
            &mut limiter,
            &ask(Method::GET, 1, ""),
            ms(0),
            &refused(scope, ms(9000), None),
        );
        let held = limiter
            .enqueue(ask(Method::GET, 2, ""), None, ms(1))
            .unwrap();
        assert_eq!(
            limiter.poll(held, ms(1)),
            Verdict::At(ms(9000) + MARGIN, scope)
        );
        let route = Route::new(Method::POST, "/interactions/{id}", Major::None)
            .param(1)
            .outside_global_limit();
        let exempt = limiter
            .enqueue(Ask::new(&route, Kind::from("")), None, ms(1))
            .unwrap();
        assert_eq!(
            limiter.poll(exempt, ms(1)) == Verdict::Go,
            exempt_goes,
            "{scope}"
        );
        assert_eq!(limiter.poll(held, ms(9050)), Verdict::Go);
    }
}

#[test]
fn the_extra_wait_is_added() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    let ticket = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
    assert_eq!(limiter.poll(ticket, ms(0)), Verdict::Go);
    limiter.finished(
        ticket,
        Some(&refused(RateLimitScope::Bucket, ms(1000), None)),
        ms(700),
        ms(0),
    );
    let ticket = limiter.enqueue(get, None, ms(0)).unwrap();
    assert_eq!(
        limiter.poll(ticket, ms(0)),
        Verdict::At(ms(1700) + MARGIN, RateLimitScope::Bucket)
    );
}

/// POST and PATCH with one hash are kept apart, until a 429 proves that they share.
#[test]
fn routes_are_merged_only_by_proof() {
    let mut limiter = limiter();
    let (post, patch) = (ask(Method::POST, 1, ""), ask(Method::PATCH, 1, ""));
    go(&mut limiter, &post, ms(0), &answered("h", 5, 0, ms(5000)));
    go(&mut limiter, &patch, ms(0), &answered("h", 5, 4, ms(5000)));
    // Apart: PATCH goes on though POST is exhausted.
    let window = Window {
        limit: 5,
        remaining: 0,
        reset_after: ms(4000),
    };
    go(
        &mut limiter,
        &patch,
        ms(1000),
        &refused(RateLimitScope::Bucket, ms(4000), Some(window)),
    );
    assert_eq!(limiter.buckets(), 1, "merged");
    // Another channel is merged with its first request.
    go(
        &mut limiter,
        &ask(Method::POST, 2, ""),
        ms(1000),
        &answered("h", 5, 0, ms(5000)),
    );
    let ticket = limiter
        .enqueue(ask(Method::PATCH, 2, ""), None, ms(1000))
        .unwrap();
    assert!(matches!(limiter.poll(ticket, ms(1000)), Verdict::At(..)));
    // A new hash parts them again.
    go(
        &mut limiter,
        &patch,
        ms(9000),
        &answered("other", 5, 4, ms(5000)),
    );
    let ticket = limiter
        .enqueue(ask(Method::PATCH, 3, ""), None, ms(9000))
        .unwrap();
    assert_eq!(limiter.poll(ticket, ms(9000)), Verdict::Go);
    assert_eq!(limiter.lane_key(&patch.route, Major::None).0, patch.route);
}

#[test]
fn a_429_alone_merges_nothing() {
    let mut limiter = limiter();
    let (post, patch) = (ask(Method::POST, 1, ""), ask(Method::PATCH, 1, ""));
    go(
        &mut limiter,
        &post,
        ms(0),
        &answered("other", 5, 0, ms(5000)),
    );
    go(&mut limiter, &patch, ms(0), &answered("h", 5, 4, ms(5000)));
    go(
        &mut limiter,
        &patch,
        ms(10),
        &refused(RateLimitScope::Bucket, ms(4000), None),
    );
    assert_eq!(limiter.buckets(), 2);
}

#[test]
fn memory_is_bounded() {
    let mut limiter = limiter();
    for channel in 1..=100 {
        go(
            &mut limiter,
            &ask(Method::GET, channel, ""),
            ms(channel),
            &answered("h", 5, 4, ms(5000)),
        );
        assert!(limiter.buckets() <= 8);
    }
    // All idle ones go in the end.
    let late = Duration::from_secs(3600);
    go(
        &mut limiter,
        &ask(Method::GET, 1000, ""),
        late,
        &answered("h", 5, 4, ms(5000)),
    );
    assert_eq!(limiter.buckets(), 1);
    for _ in 0..100 {
        limiter
            .enqueue(ask(Method::GET, 1, ""), None, late)
            .unwrap();
    }
    assert_eq!(limiter.enqueue(ask(Method::GET, 1, ""), None, late), None);
}

#[test]
fn too_many_refusals_open_the_breaker() {
    let mut limiter = limiter();
    let get = ask(Method::GET, 1, "");
    let forbidden = Observed {
        status: 403,
        ..Observed::default()
    };
    let mut warnings = Vec::new();
    for _ in 0..8000 {
        let ticket = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
        let now = match limiter.poll(ticket, ms(0)) {
            Verdict::Go => ms(0),
            Verdict::At(at, _) => {
                assert_eq!(limiter.poll(ticket, at), Verdict::Go);
                at
            }
            other => panic!("{other:?}"),
        };
        warnings.extend(limiter.finished(ticket, Some(&forbidden), Duration::ZERO, now));
    }
    assert_eq!(warnings, [2500]);
    let ticket = limiter.enqueue(get, None, ms(2000)).unwrap();
    assert!(
        matches!(limiter.poll(ticket, ms(2000)), Verdict::Broken(until) if until > ms(600_000))
    );
}

/// A bucket as Discord keeps it: a fixed window that begins with a request.
struct Bucket {
    limit: u32,
    window: Duration,
    used: u32,
    reset: Duration,
}

impl Bucket {
    fn ask(&mut self, now: Duration) -> Observed {
        if now >= self.reset {
            (self.used, self.reset) = (0, now + self.window);
        }
        let reset_after = self.reset - now;
        let window = |remaining| {
            Some(Window {
                limit: self.limit,
                remaining,
                reset_after,
            })
        };
        if self.used >= self.limit {
            return refused(RateLimitScope::Bucket, reset_after, window(0));
        }
        self.used += 1;
        Observed {
            retry_after: None,
            window: window(self.limit - self.used),
            ..answered("h", 0, 0, Duration::ZERO)
        }
    }
}

/// Two answers of one window, the first overtaken and late: it is not taken for a
/// new window.
#[test]
fn a_late_answer_is_no_new_window() {
    assert_eq!(
        run(2, ms(109), 62, &[0; 17], 2_694_029_082_259_434_394).0,
        0
    );
}

/// What happens in the model, in order of time.
enum Event {
    Poll(Ticket),
    Arrives(Ticket),
    Answered(Ticket, Observed),
}

/// Sends `arrivals` through a limiter to a bucket over a network with random
/// latency. Returns how many 429s there were, and when the last was answered.
fn run(limit: u32, window: Duration, latency: u64, arrivals: &[u64], seed: u64) -> (u32, Duration) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut limiter = limiter();
    let mut bucket = Bucket {
        limit,
        window,
        used: 0,
        reset: Duration::ZERO,
    };
    let mut events: BTreeMap<(Duration, u64), Event> = BTreeMap::new();
    let mut order = 0;
    let mut refusals = 0;
    let mut answered = 0;
    let get = ask(Method::GET, 1, "");
    for at in arrivals {
        let ticket = limiter.enqueue(get.clone(), None, ms(0)).unwrap();
        order += 1;
        events.insert((ms(*at), order), Event::Poll(ticket));
    }
    let mut now = Duration::ZERO;
    while let Some(((at, _), event)) = events.pop_first() {
        now = at;
        assert!(now < Duration::from_secs(3600), "stuck");
        let mut add = |at: Duration, event| {
            order += 1;
            events.insert((at, order), event);
        };
        match event {
            Event::Poll(ticket) if limiter.waiting.contains_key(&ticket) => {
                match limiter.poll(ticket, now) {
                    Verdict::Go => add(now + ms(rng.u64(0..=latency)), Event::Arrives(ticket)),
                    Verdict::At(at, _) => add(at, Event::Poll(ticket)),
                    Verdict::Parked(_) => {}
                    Verdict::Broken(_) => panic!("broken"),
                }
            }
            Event::Poll(_) => {}
            Event::Arrives(ticket) => {
                let observed = bucket.ask(now);
                add(
                    now + ms(rng.u64(0..=latency)),
                    Event::Answered(ticket, observed),
                );
            }
            Event::Answered(ticket, observed) => {
                limiter.finished(ticket, Some(&observed), Duration::ZERO, now);
                if observed.too_many.is_some() {
                    refusals += 1;
                    limiter.enqueue(get.clone(), Some(ticket), now).unwrap();
                    add(now, Event::Poll(ticket));
                } else {
                    answered += 1;
                }
            }
        }
        for ticket in limiter.take_wakes() {
            order += 1;
            events.insert((now, order), Event::Poll(ticket));
        }
    }
    assert_eq!(answered, arrivals.len(), "all are answered in the end");
    (refusals, now)
}

proptest! {
    /// Alone with its bucket a client never meets a 429, whatever the latency.
    #[test]
    fn alone_it_never_provokes_a_429(
        limit in 1_u32..12,
        window in 100_u64..6000,
        latency in 0_u64..400,
        arrivals in proptest::collection::vec(0_u64..20_000, 1..60),
        seed: u64,
    ) {
        let (refusals, _) = run(limit, ms(window), latency, &arrivals, seed);
        prop_assert_eq!(refusals, 0);
    }

    /// And it does not wait much longer than it must.
    #[test]
    fn it_uses_what_the_bucket_gives(limit in 1_u32..12, window in 500_u64..6000, count in 1_usize..60, seed: u64) {
        let latency = 50;
        let (_, took) = run(limit, ms(window), latency, &vec![0; count], seed);
        let windows = u64::from(u32::try_from(count).unwrap().div_ceil(limit));
        // The first request of all goes alone; each window costs the margin and
        // two ways of latency at most.
        let bound = (windows + 1) * (window + 50 + 4 * latency) + 4 * latency;
        prop_assert!(took <= ms(bound), "took {:?}, bound {} ms", took, bound);
    }
}
