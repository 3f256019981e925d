//! What errors say.

use std::{error::Error as _, future::IntoFuture as _, time::Duration};

use bytes::Bytes;
use http::Response;
use serde_json::json;
use spellcoven_discord_rest::{RestError, RestErrorKind};
use twilight_model::id::Id;

use super::support::*;

async fn fail(status: u16, body: serde_json::Value) -> RestError {
    let transport = Scripted::new(move |_, _| reply(status, body.clone()));
    transport
        .client()
        .get_channel(channel_id())
        .request_id("r1")
        .await
        .unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn kinds_by_status_and_code() {
    assert_kind!(
        fail(403, error(50013, "Missing Permissions")).await,
        RestErrorKind::Forbidden
    );
    assert_kind!(
        fail(404, error(10003, "Unknown Channel")).await,
        RestErrorKind::NotFound
    );
    assert_kind!(fail(409, error(0, "x")).await, RestErrorKind::Conflict);
    assert_kind!(
        fail(
            400,
            error(30013, "Maximum number of guild channels reached (500)")
        )
        .await,
        RestErrorKind::Conflict
    );
    assert_kind!(
        fail(302, json!(null)).await,
        RestErrorKind::Discord {
            status: 302,
            code: 0,
            ..
        }
    );
    let error = fail(403, error(50013, "Missing Permissions")).await;
    assert_eq!(
        (error.status(), error.discord_code(), error.attempts()),
        (Some(403), Some(50013), 1)
    );
    assert_eq!(
        error.to_string(),
        "getChannel: Discord refuses the bot; Discord answered 403, code 50013 (Missing Permissions) [request r1, attempts: 1]"
    );
}

#[tokio::test(start_paused = true)]
async fn the_errors_tree() {
    let error = fail(
        400,
        json!({"code": 50035, "message": "Invalid Form Body",
            "errors": {"name": {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": "Must be between 1 and 100"}]}}}),
    )
    .await;
    let RestErrorKind::Discord {
        status: 400,
        code: 50035,
        message,
        errors,
    } = error.kind()
    else {
        panic!("{error:?}")
    };
    assert_eq!(message, "Invalid Form Body");
    assert_eq!(
        (errors[0].path.as_str(), errors[0].code.as_str()),
        ("name", "BASE_TYPE_BAD_LENGTH")
    );
    assert_eq!(error.field_errors(), errors);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_the_edge_is_kept_bounded() {
    let transport = Scripted::new(|_, _| {
        let page = format!("<html>{}", "x".repeat(100_000));
        Reply::Answer(
            Response::builder()
                .status(403)
                .header("cf-ray", "8a-FRA")
                .body(Bytes::from(page))
                .unwrap(),
        )
    });
    let error = transport
        .client()
        .get_channel(channel_id())
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Forbidden);
    assert_eq!(
        (error.cf_ray(), error.discord_code()),
        (Some("8a-FRA"), None)
    );
    assert_eq!(error.raw_body().unwrap().len(), 4096);
}

#[tokio::test(start_paused = true)]
async fn a_2xx_that_cannot_be_read() {
    let error = fail(200, json!({"id": "no"})).await;
    assert_kind!(error, RestErrorKind::MalformedResponse);
    assert!(error.source().is_some());
    assert!(
        !error.to_string().contains("expected"),
        "the cause is in source() only: {error}"
    );
}

/// A 401 ends all use of the token, also for calls that were waiting.
#[tokio::test(start_paused = true)]
async fn an_invalid_token_latches() {
    let transport =
        Scripted::new(|_, _| reply(401, json!({"message": "401: Unauthorized", "code": 0})));
    let client = transport.client();
    let (first, second) = tokio::join!(
        client.get_channel(channel_id()).into_future(),
        client.get_channel(channel_id()).into_future()
    );
    assert_kind!(first.unwrap_err(), RestErrorKind::TokenInvalid);
    assert_kind!(second.unwrap_err(), RestErrorKind::TokenInvalid);
    assert_kind!(
        client.clone().get_channels(guild_id()).await.unwrap_err(),
        RestErrorKind::TokenInvalid
    );
    assert_eq!(transport.seen().len(), 1);
    assert!(client.stats().token_invalid);
}

#[tokio::test(start_paused = true)]
async fn nothing_prints_the_token() {
    let transport = Scripted::new(|_, _| Reply::Lost);
    let builder = transport.builder();
    let mut printed = format!("{builder:?}");
    let client = builder.build().unwrap();
    let error = client
        .create_voice_channel(guild_id(), "x")
        .await
        .unwrap_err();
    let request = client.create_voice_channel(guild_id(), "x");
    printed += &format!("{client:?} {error} {error:?} {request:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        printed += &format!("{cause} {cause:?}");
        source = cause.source();
    }
    assert!(!printed.contains("secret-token"), "{printed}");
}

/// A bot that lacks a permission will lack it a moment later too, and each
/// refusal counts towards a ban.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_a_while() {
    for code in [50001, 50013] {
        let transport = Scripted::new(move |_, _| reply(403, error(code, "Missing")));
        let client = transport.client();
        let first = client.get_channel(channel_id()).await.unwrap_err();
        let second = client.get_channel(channel_id()).await.unwrap_err();
        assert_kind!(second, RestErrorKind::Forbidden);
        assert_eq!(second.discord_code(), Some(code));
        assert_eq!((first.attempts(), second.attempts()), (1, 0));
        assert_eq!(transport.seen().len(), 1);
        assert_eq!(client.stats().refused_locally, 1);

        tokio::time::advance(Duration::from_secs(120)).await;
        client.get_channel(channel_id()).await.unwrap_err();
        assert_eq!(transport.seen().len(), 2);
    }
}

/// Those in line learn of it as well.
#[tokio::test(start_paused = true)]
async fn a_refusal_answers_all_who_wait_for_the_same() {
    let transport = Scripted::new(|_, _| {
        Reply::Late(
            Duration::from_millis(100),
            answer(403, error(50001, "Missing Access")),
        )
    });
    let client = transport.client();
    let get = || client.get_channel(channel_id()).into_future();
    let (a, b, c) = tokio::join!(get(), get(), get());
    for result in [a, b, c] {
        assert_kind!(result.unwrap_err(), RestErrorKind::Forbidden);
    }
    assert_eq!(transport.seen().len(), 1);
}

/// Only the same is refused: not another channel, method or category, and not
/// after another sort of 403.
#[tokio::test(start_paused = true)]
async fn a_refusal_holds_for_the_same_request_only() {
    let transport = Scripted::new(|_, _| reply(403, error(50013, "Missing Permissions")));
    let client = transport.client();
    let create = |name: &str, parent| {
        client
            .create_voice_channel(guild_id(), name)
            .parent_id(Id::new(parent))
            .into_future()
    };
    create("a", 7).await.unwrap_err();
    create("b", 7).await.unwrap_err();
    assert_eq!(transport.seen().len(), 1, "whatever its name");
    create("c", 8).await.unwrap_err();
    client.get_channel(channel_id()).await.unwrap_err();
    client.delete_channel(channel_id()).await.unwrap_err();
    client.get_channel(Id::new(9)).await.unwrap_err();
    assert_eq!(transport.seen().len(), 5);

    let transport = Scripted::new(|_, _| reply(403, error(40333, "internal network error")));
    let client = transport.client();
    client.get_channel(channel_id()).await.unwrap_err();
    client.get_channel(channel_id()).await.unwrap_err();
    assert_eq!(transport.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn remembering_refusals_can_be_switched_off() {
    let transport = Scripted::new(|_, _| reply(403, error(50001, "Missing Access")));
    let client = transport
        .builder()
        .remember_refusals(Duration::ZERO)
        .build()
        .unwrap();
    client.get_channel(channel_id()).await.unwrap_err();
    client.get_channel(channel_id()).await.unwrap_err();
    assert_eq!(transport.seen().len(), 2);
}
