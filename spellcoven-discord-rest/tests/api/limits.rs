//! Rate limits from outside: who goes when.

use std::{future::IntoFuture as _, time::Duration};

use bytes::Bytes;
use http::Response;
use serde_json::json;
use spellcoven_discord_rest::{DiscordRestClient, RateLimitScope, RestErrorKind};
use tokio::time::Instant;
use twilight_model::id::Id;

use super::support::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Starts `count` GETs of channels `from..` at once and waits for all.
async fn burst(
    client: &DiscordRestClient,
    ids: impl IntoIterator<Item = u64>,
) -> Vec<RestErrorKind> {
    let calls: Vec<_> = ids
        .into_iter()
        .map(|id| tokio::spawn(client.get_channel(Id::new(id)).into_future()))
        .collect();
    let mut errors = Vec::new();
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            errors.push(error.kind().clone());
        }
    }
    errors
}

#[tokio::test(start_paused = true)]
async fn one_first_then_as_many_as_remain_then_the_next_window() {
    let transport = Scripted::new(|n, _| {
        let remaining = 2 - u32::try_from(n % 3).unwrap();
        let reset_after = if n % 3 == 0 { 2.0 } else { 1.9 };
        Reply::Late(
            ms(100),
            bucketed(answer(200, channel(2, "x")), 3, remaining, reset_after),
        )
    });
    let client = transport.client();
    assert!(burst(&client, [2; 7]).await.is_empty());
    let at: Vec<_> = transport
        .seen()
        .iter()
        .map(|seen| seen.at.as_millis())
        .collect();
    // First answer at 100 ms: two more; its window ends 2,000 ms later.
    assert_eq!(at[0], 0);
    assert!(at[1..3].iter().all(|at| (100..110).contains(at)), "{at:?}");
    assert!(at[3] >= 2150 && at[5] < 2400, "{at:?}");
    assert!(at[6] >= 4250, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn other_channels_are_not_held() {
    let transport = Scripted::new(|_, seen| {
        let answer = bucketed(answer(200, channel(2, "x")), 1, 0, 30.0);
        if seen.path == "/channels/2" {
            Reply::Late(ms(5000), answer)
        } else {
            Reply::Answer(answer)
        }
    });
    let client = transport.client();
    assert!(burst(&client, [2, 3, 4]).await.is_empty());
    assert!(transport.seen().iter().all(|seen| seen.at < ms(100)));
}

/// 50 a second: never more in any second, evenly spread, and no slower than nine tenths.
#[tokio::test(start_paused = true)]
async fn the_global_limit_is_paced() {
    let transport = Scripted::new(|_, _| reply(200, channel(2, "x")));
    let client = transport.client();
    assert!(burst(&client, 1..=300).await.is_empty());
    let at: Vec<_> = transport.seen().iter().map(|seen| seen.at).collect();
    for (i, start) in at.iter().enumerate() {
        let within = at[i..]
            .iter()
            .take_while(|at| **at < *start + Duration::from_secs(1))
            .count();
        assert!(within <= 50, "{within} requests within a second");
    }
    assert!(at[299] < Duration::from_secs(8), "{:?}", at[299]);
}

/// Spreading evenly must not cost a client that is rarely busy anything: five in
/// a row go at once, and so does any that comes alone.
#[tokio::test(start_paused = true)]
async fn a_few_requests_after_a_pause_go_at_once() {
    let transport = Scripted::new(|_, _| reply(200, channel(2, "x")));
    let client = transport.client();
    for round in 0..3 {
        let start = Instant::now();
        for id in 1..=5 {
            client.get_channel(Id::new(id)).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "round {round}");
        tokio::time::advance(ms(150)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_global_rate_can_be_set() {
    let transport = Scripted::new(|_, _| reply(200, channel(2, "x")));
    let client = transport
        .builder()
        .global_rate_per_second(5)
        .build()
        .unwrap();
    assert!(burst(&client, 1..=10).await.is_empty());
    assert!(transport.seen()[9].at > Duration::from_millis(1900));
}

#[tokio::test(start_paused = true)]
async fn a_global_429_stops_everything() {
    let transport = Scripted::new(|n, _| match n {
        0 => Reply::Answer(too_many("global", 4.0)),
        _ => reply(200, channel(2, "x")),
    });
    let client = transport.client();
    client.get_channel(Id::new(1)).await.unwrap();
    assert!(transport.seen()[1].at >= ms(4000));
    assert_eq!(client.stats().limited_global, 1);
}

/// The wait is known to be too long: fail at once, say when to come back.
#[tokio::test(start_paused = true)]
async fn a_wait_beyond_max_wait_fails_at_once() {
    let transport = Scripted::new(|_, _| Reply::Answer(too_many("shared", 600.0)));
    let client = transport.client();
    let start = Instant::now();
    let error = client.get_channel(channel_id()).await.unwrap_err();
    let RestErrorKind::RateLimited {
        retry_after,
        scope: RateLimitScope::Shared,
    } = error.kind()
    else {
        panic!("{error:?}")
    };
    assert!(
        *retry_after >= ms(600_000) && *retry_after < ms(600_200),
        "{retry_after:?}"
    );
    assert_eq!((error.status(), error.attempts()), (Some(429), 1));
    // So does the next one, without asking Discord, and one further back in line.
    assert_eq!(burst(&client, [2, 2, 2]).await.len(), 3);
    assert_eq!(transport.seen().len(), 1);
    assert!(start.elapsed() < ms(10));
}

/// Those who wait behind a request that hangs do not wait for ever.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_max_wait() {
    let transport = Scripted::new(|_, _| Reply::Hang);
    let client = transport.builder().max_wait(ms(3000)).build().unwrap();
    let first = tokio::spawn(client.get_channel(channel_id()).into_future());
    tokio::task::yield_now().await;
    let start = Instant::now();
    let error = client.get_channel(channel_id()).await.unwrap_err();
    assert_kind!(error, RestErrorKind::RateLimited { .. });
    assert!(start.elapsed() >= ms(3000) && start.elapsed() < ms(3010));
    first.abort();
}

/// Without Via and JSON it is the edge: 60 s of silence, for every route.
#[tokio::test(start_paused = true)]
async fn a_block_of_the_edge_stops_all() {
    let transport = Scripted::new(|n, _| match n {
        0 => Reply::Answer(
            Response::builder()
                .status(429)
                .body(Bytes::from("error code: 1015"))
                .unwrap(),
        ),
        _ => reply(200, json!([])),
    });
    let client = transport.client();
    let error = client.get_channel(channel_id()).await.unwrap_err();
    assert_kind!(
        error,
        RestErrorKind::RateLimited {
            scope: RateLimitScope::Edge,
            ..
        }
    );
    let error = client.get_channels(guild_id()).await.unwrap_err();
    assert_kind!(
        error,
        RestErrorKind::RateLimited {
            scope: RateLimitScope::Edge,
            ..
        }
    );
    assert_eq!(transport.seen().len(), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    client.get_channels(guild_id()).await.unwrap();
}

/// Waiting is fair: by arrival, also when some give up.
#[tokio::test(start_paused = true)]
async fn first_come_first_served_and_dropped_calls_give_their_place_back() {
    let transport =
        Scripted::new(|_, _| Reply::Answer(bucketed(answer(200, json!(null)), 1, 0, 1.0)));
    let client = transport.client();
    let calls: Vec<_> = (0..6)
        .map(|n| {
            let call = client
                .send_message(channel_id(), "x")
                .nonce(format!("n{n}"))
                .into_future();
            tokio::spawn(call)
        })
        .collect();
    tokio::time::sleep(ms(10)).await;
    calls[1].abort();
    calls[3].abort();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let order: Vec<_> = transport
        .seen()
        .iter()
        .map(|seen| seen.json()["nonce"].clone())
        .collect();
    assert_eq!(order, ["n0", "n2", "n4", "n5"]);
    assert_eq!((client.stats().waiting, client.stats().in_flight), (0, 0));
}

/// A call dropped while its request is under way leaves the bucket usable.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_under_way_does_not_block_the_bucket() {
    let transport = Scripted::new(|n, _| {
        if n == 0 {
            Reply::Hang
        } else {
            reply(200, channel(2, "x"))
        }
    });
    let client = transport.client();
    let first = tokio::spawn(client.get_channel(channel_id()).into_future());
    tokio::time::sleep(ms(1)).await;
    let second = tokio::spawn(client.get_channel(channel_id()).into_future());
    tokio::time::sleep(ms(1)).await;
    assert_eq!(transport.seen().len(), 1);
    first.abort();
    second.await.unwrap().unwrap();
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded() {
    let transport = Scripted::new(|_, _| Reply::Hang);
    let client = transport.builder().max_waiting_calls(2).build().unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| tokio::spawn(client.get_channel(channel_id()).into_future()))
        .collect();
    tokio::time::sleep(ms(1)).await;
    // One is under way, two wait.
    assert_kind!(
        client.get_channel(channel_id()).await.unwrap_err(),
        RestErrorKind::QueueFull
    );
    for call in calls {
        call.abort();
    }
}

/// 8,000 refusals in ten minutes: nothing is sent until enough of them are old.
#[tokio::test(start_paused = true)]
async fn the_breaker() {
    let transport = Scripted::new(|n, _| {
        if n < 8000 {
            reply(403, error(50001, "Missing Access"))
        } else {
            reply(200, channel(2, "x"))
        }
    });
    let client = transport
        .builder()
        .global_rate_per_second(10_000)
        .remember_refusals(Duration::ZERO)
        .build()
        .unwrap();
    for _ in 0..8000 {
        assert_kind!(
            client.get_channel(channel_id()).await.unwrap_err(),
            RestErrorKind::Forbidden
        );
    }
    assert_eq!(client.stats().invalid_requests, 8000);
    let error = client.get_channel(channel_id()).await.unwrap_err();
    let RestErrorKind::CircuitOpen { retry_after } = *error.kind() else {
        panic!("{error:?}")
    };
    assert!(retry_after > Duration::from_secs(580), "{retry_after:?}");
    assert_eq!(transport.seen().len(), 8000);
    tokio::time::sleep(retry_after).await;
    client.get_channel(channel_id()).await.unwrap();
}

/// A limit that comes while others wait ends their waiting at once, if it is too long.
#[tokio::test(start_paused = true)]
async fn those_in_line_learn_of_a_long_wait() {
    let transport = Scripted::new(|_, _| Reply::Late(ms(100), too_many("shared", 600.0)));
    let client = transport.client();
    let start = Instant::now();
    assert_eq!(burst(&client, [2, 2, 2]).await.len(), 3);
    assert!(start.elapsed() < ms(200), "{:?}", start.elapsed());
    assert_eq!(transport.seen().len(), 1);
}

/// A retry goes before those who came later.
#[tokio::test(start_paused = true)]
async fn a_retry_keeps_its_place_in_line() {
    let transport = Scripted::new(|n, _| match n {
        // The others are in line by then.
        0 => Reply::Late(ms(100), too_many("user", 1.0)),
        _ => Reply::Answer(bucketed(answer(200, json!(null)), 1, 0, 1.0)),
    });
    let client = transport.client();
    let calls: Vec<_> = (0..3)
        .map(|n| {
            let call = client
                .send_message(channel_id(), "x")
                .nonce(format!("n{n}"));
            tokio::spawn(call.into_future())
        })
        .collect();
    for call in calls {
        let _ = call.await.unwrap();
    }
    let order: Vec<_> = transport
        .seen()
        .iter()
        .map(|seen| seen.json()["nonce"].clone())
        .collect();
    assert_eq!(order, ["n0", "n0", "n1", "n2"]);
}
