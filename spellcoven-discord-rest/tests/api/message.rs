//! A message is never sent twice.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_rest::RestErrorKind;

use super::support::*;

fn message() -> serde_json::Value {
    json!({"id": "7", "channel_id": "2", "content": "hi", "type": 0, "attachments": [], "embeds": [], "mentions": [],
        "mention_roles": [], "mention_everyone": false, "pinned": false, "tts": false, "components": [],
        "timestamp": "2026-11-25T10:00:00.000000+00:00", "edited_timestamp": null,
        "author": {"id": "3", "username": "bot", "discriminator": "0000", "avatar": null, "bot": true}})
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_retried_with_the_same_nonce() {
    let transport = Scripted::new(|n, _| {
        if n < 2 {
            Reply::Lost
        } else {
            reply(200, message())
        }
    });
    let sent = transport
        .client()
        .send_message(channel_id(), "hi")
        .await
        .unwrap();
    assert_eq!(sent.content, "hi");
    let seen = transport.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter().all(|one| one.json() == seen[0].json()),
        "the nonce stays"
    );
}

#[tokio::test(start_paused = true)]
async fn no_retry_when_discord_may_have_forgotten_the_nonce() {
    let transport = Scripted::new(|_, _| Reply::Hang);
    let client = transport
        .builder()
        .timeout(Duration::from_secs(61))
        .build()
        .unwrap();
    let error = client.send_message(channel_id(), "hi").await.unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(transport.seen().len(), 1);
}

/// Nor when the wait for the bucket takes that long.
#[tokio::test(start_paused = true)]
async fn no_retry_after_a_long_wait_for_the_bucket() {
    let transport = Scripted::new(|n, _| match n {
        0 => Reply::Answer(bucketed(answer(502, json!(null)), 5, 0, 90.0)),
        _ => reply(200, message()),
    });
    let client = transport
        .builder()
        .max_wait(Duration::from_secs(600))
        .build()
        .unwrap();
    let error = client.send_message(channel_id(), "hi").await.unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(transport.seen().len(), 1);
}

/// It may have been sent by the first attempt, whatever the last one met.
#[tokio::test(start_paused = true)]
async fn a_later_refusal_does_not_make_the_outcome_known() {
    let transport = Scripted::new(|n, _| {
        if n == 0 {
            Reply::Lost
        } else {
            reply(403, error(50013, "x"))
        }
    });
    let error = transport
        .client()
        .send_message(channel_id(), "hi")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(error.discord_code(), Some(50013));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_alone_is_a_refusal() {
    let transport = Scripted::new(|_, _| reply(403, error(50013, "x")));
    let error = transport
        .client()
        .send_message(channel_id(), "hi")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Forbidden);
}
