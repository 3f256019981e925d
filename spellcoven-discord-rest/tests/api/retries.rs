//! What is sent again, how often, and after how long.

use std::{error::Error as _, time::Duration};

use serde_json::json;
use spellcoven_discord_rest::RestErrorKind;
use tokio::time::Instant;

use super::support::*;

#[tokio::test(start_paused = true)]
async fn a_get_is_retried_three_times_and_no_more() {
    for (broken, name) in [
        ((|| reply(502, json!(null))) as fn() -> Reply, "502"),
        (|| Reply::NotSent, "not sent"),
        (|| Reply::Lost, "lost"),
        (|| Reply::Hang, "hangs"),
    ] {
        let good: fn() -> Reply = || reply(200, channel(2, "x"));
        let transport = Scripted::replies(vec![broken, broken, broken, good]);
        transport.client().get_channel(channel_id()).await.unwrap();
        assert_eq!(transport.seen().len(), 4, "{name}");

        let transport = Scripted::replies(vec![broken]);
        let error = transport
            .client()
            .get_channel(channel_id())
            .await
            .unwrap_err();
        assert_eq!((transport.seen().len(), error.attempts()), (4, 4), "{name}");
        match name {
            "502" => assert_kind!(error, RestErrorKind::ServiceUnavailable),
            "hangs" => assert_kind!(error, RestErrorKind::Timeout),
            _ => {
                assert_kind!(error, RestErrorKind::Transport);
                assert!(error.source().is_some(), "the cause is kept");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn max_retries_can_be_none() {
    let transport = Scripted::replies(vec![|| Reply::NotSent]);
    let client = transport.builder().max_retries(0).build().unwrap();
    client.get_channel(channel_id()).await.unwrap_err();
    assert_eq!(transport.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_worth_a_retry() {
    for status in [400, 403, 404, 405, 501, 505] {
        let transport = Scripted::new(move |_, _| reply(status, error(0, "x")));
        transport
            .client()
            .get_channel(channel_id())
            .await
            .unwrap_err();
        assert_eq!(transport.seen().len(), 1, "{status}");
    }
}

/// 0.5 s, 1 s, 2 s at most, and not always that.
#[tokio::test(start_paused = true)]
async fn backoff_grows_with_full_jitter() {
    let mut all = Vec::new();
    for seed in 0..20 {
        let transport = Scripted::replies(vec![|| reply(503, json!(null))]);
        let client = transport.builder().seed(seed).build().unwrap();
        client.get_channel(channel_id()).await.unwrap_err();
        let at: Vec<_> = transport.seen().iter().map(|seen| seen.at).collect();
        for (retry, pair) in at.windows(2).enumerate() {
            let delay = pair[1] - pair[0];
            // A timer may be up to a millisecond late.
            let most = Duration::from_millis(500 * 2_u64.pow(u32::try_from(retry).unwrap()) + 2);
            assert!(delay <= most, "seed {seed}, retry {retry}: {delay:?}");
            all.push((retry, delay));
        }
    }
    let longest = |retry| {
        all.iter()
            .filter(|(r, _)| *r == retry)
            .map(|(_, delay)| *delay)
            .max()
            .unwrap()
    };
    let shortest = |retry| {
        all.iter()
            .filter(|(r, _)| *r == retry)
            .map(|(_, delay)| *delay)
            .min()
            .unwrap()
    };
    assert!(longest(2) > Duration::from_secs(1), "{:?}", longest(2));
    assert!(shortest(2) < Duration::from_secs(1), "{:?}", shortest(2));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_time() {
    let transport = Scripted::replies(vec![|| Reply::Hang]);
    let client = transport
        .builder()
        .timeout(Duration::from_secs(2))
        .max_retries(1)
        .build()
        .unwrap();
    let start = Instant::now();
    assert_kind!(
        client.get_channel(channel_id()).await.unwrap_err(),
        RestErrorKind::Timeout
    );
    assert!(start.elapsed() >= Duration::from_secs(4) && start.elapsed() < Duration::from_secs(5));
}

/// Refused before execution: even a create is simply sent again.
#[tokio::test(start_paused = true)]
async fn a_429_retries_a_create_without_a_look_up() {
    let transport = Scripted::replies(vec![|| Reply::Answer(too_many("user", 3.0)), || {
        reply(201, channel(5, "x"))
    }]);
    transport
        .client()
        .create_voice_channel(guild_id(), "x")
        .await
        .unwrap();
    assert_eq!(transport.story(), ["POST /guilds/1/channels"; 2]);
    assert!(transport.seen()[1].at >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_failed_retries_a_create_without_a_look_up() {
    let transport = Scripted::replies(vec![|| Reply::NotSent, || reply(201, channel(5, "x"))]);
    transport
        .client()
        .create_voice_channel(guild_id(), "x")
        .await
        .unwrap();
    assert_eq!(transport.story(), ["POST /guilds/1/channels"; 2]);
}

#[tokio::test(start_paused = true)]
async fn after_three_429s_the_call_fails() {
    let transport = Scripted::new(|_, _| Reply::Answer(too_many("user", 2.0)));
    let error = transport
        .client()
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::RateLimited { .. });
    assert_eq!((error.attempts(), error.status()), (4, Some(429)));
    // Exponential on top: the third wait may be longer than the first, never shorter.
    let at: Vec<_> = transport.seen().iter().map(|seen| seen.at).collect();
    assert!(
        at.windows(2)
            .all(|pair| pair[1] - pair[0] >= Duration::from_secs(2)),
        "{at:?}"
    );
    assert!(
        at[1] < Duration::from_millis(2100),
        "the first wait is exact: {at:?}"
    );
    assert!(
        at[3] > Duration::from_millis(6200),
        "the later ones are not: {at:?}"
    );
}

fn unavailable(retry_after: &'static str) -> Reply {
    let mut answer = answer(503, json!(null));
    answer
        .headers_mut()
        .insert("retry-after", retry_after.parse().unwrap());
    Reply::Answer(answer)
}

#[tokio::test(start_paused = true)]
async fn a_503_that_says_when_is_not_asked_before() {
    let transport = Scripted::replies(vec![|| unavailable("7"), || reply(200, channel(2, "x"))]);
    transport.client().get_channel(channel_id()).await.unwrap();
    let at = transport.seen()[1].at;
    assert!(
        at >= Duration::from_secs(7) && at < Duration::from_secs(8),
        "{at:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_503_that_asks_for_too_long_ends_the_call() {
    let transport = Scripted::replies(vec![|| unavailable("61")]);
    let start = Instant::now();
    let error = transport
        .client()
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::ServiceUnavailable);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(61)));
    assert_eq!(transport.seen().len(), 1);
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// The waits of all attempts come out of one budget.
#[tokio::test(start_paused = true)]
async fn waits_after_503s_add_up() {
    let transport = Scripted::replies(vec![|| unavailable("25")]);
    let error = transport
        .client()
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::ServiceUnavailable);
    assert_eq!(transport.seen().len(), 3, "25 s twice, and 10 s are left");
}

/// And a create is looked up first, then not repeated before the time.
#[tokio::test(start_paused = true)]
async fn a_create_answered_503_waits_too() {
    let transport = Scripted::new(|n, seen| match seen.method.as_str() {
        "POST" if n == 0 => unavailable("30"),
        "POST" => reply(201, channel(5, "x")),
        _ => reply(200, json!({"audit_log_entries": []})),
    });
    let client = transport.client();
    client.create_voice_channel(guild_id(), "x").await.unwrap();
    let seen = transport.seen();
    assert!(
        seen.last().unwrap().at >= Duration::from_secs(30),
        "{seen:?}"
    );
    assert_eq!(seen.iter().filter(|seen| seen.method == "POST").count(), 2);
}

/// Nothing happened, and the second try may not wait so long: the error says when.
#[tokio::test(start_paused = true)]
async fn a_create_that_may_not_wait_so_long_says_when() {
    let transport = Scripted::new(|_, seen| match seen.method.as_str() {
        "POST" => unavailable("90"),
        _ => reply(200, json!({"audit_log_entries": []})),
    });
    let client = transport.client();
    let create = client.create_voice_channel(guild_id(), "x");
    let error = create.await.unwrap_err();
    assert_kind!(error, RestErrorKind::ServiceUnavailable);
    assert_eq!(
        (error.status(), error.retry_after()),
        (Some(503), Some(Duration::from_secs(90)))
    );
    assert_eq!(error.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_202_that_is_not_ready_is_asked_again() {
    let not_ready: fn() -> Reply = || {
        reply(
            202,
            json!({"code": 110_000, "message": "not yet", "retry_after": 2.0}),
        )
    };
    let transport = Scripted::replies(vec![not_ready, || reply(200, channel(2, "x"))]);
    transport.client().get_channel(channel_id()).await.unwrap();
    assert!(transport.seen()[1].at >= Duration::from_secs(2));

    let transport = Scripted::replies(vec![not_ready]);
    let error = transport
        .client()
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::NotReady { .. });
    assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    assert_eq!((error.attempts(), error.status()), (4, Some(202)));
}

/// To a request that changes something it is a success like any other.
#[tokio::test(start_paused = true)]
async fn a_202_to_a_create_is_a_success() {
    let transport = Scripted::replies(vec![|| {
        let mut made = channel(5, "x");
        made["retry_after"] = json!(2.0);
        reply(202, made)
    }]);
    let client = transport.client();
    client.create_voice_channel(guild_id(), "x").await.unwrap();
    assert_eq!(transport.seen().len(), 1);
}

/// Codes that say "later", whatever the status.
#[tokio::test(start_paused = true)]
async fn an_overloaded_discord_is_asked_again() {
    for code in [130_000, 110_001] {
        let transport = Scripted::new(move |n, _| match n {
            0 => reply(400, error(code, "overloaded")),
            _ => reply(201, channel(5, "x")),
        });
        let client = transport.client();
        client.create_voice_channel(guild_id(), "x").await.unwrap();
        assert_eq!(transport.story(), ["POST /guilds/1/channels"; 2]);
    }
}

/// 429s and other failures share the retries: three after the first try.
#[tokio::test(start_paused = true)]
async fn failures_of_every_sort_count_alike() {
    let transport = Scripted::new(|n, _| match n {
        0 => Reply::Answer(too_many("user", 1.0)),
        1 => reply(502, json!(null)),
        2 => Reply::NotSent,
        _ => reply(503, json!(null)),
    });
    let error = transport
        .client()
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_eq!((transport.seen().len(), error.attempts()), (4, 4));
    assert_eq!(
        error.to_string().split(" [").next(),
        Some("getChannel: Discord is unavailable; Discord answered 503")
    );
}
