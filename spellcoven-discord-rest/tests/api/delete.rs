//! `deleteChannel` and its repetitions.

use serde_json::json;
use spellcoven_discord_rest::{DeletedChannel, RestErrorKind};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn deleted() {
    let transport = Scripted::new(|_, _| reply(200, channel(2, "x")));
    let gone = transport
        .client()
        .delete_channel(channel_id())
        .reason("over")
        .await
        .unwrap();
    assert!(!gone.was_already_gone());
    assert_eq!(gone.channel().unwrap().name.as_deref(), Some("x"));
    assert_eq!(transport.story(), ["DELETE /channels/2"]);
}

#[tokio::test(start_paused = true)]
async fn gone_on_a_repetition_is_success() {
    for first in [
        (|| Reply::Lost) as fn() -> Reply,
        || Reply::Hang,
        || reply(502, json!(null)),
    ] {
        let transport =
            Scripted::replies(vec![first, || reply(404, error(10003, "Unknown Channel"))]);
        let gone = transport
            .client()
            .delete_channel(channel_id())
            .await
            .unwrap();
        assert_eq!(gone, DeletedChannel::AlreadyGone);
    }
}

/// After an attempt that was surely not carried out, 404 means that it was not
/// there; and so it does the first time.
#[tokio::test(start_paused = true)]
async fn gone_without_our_doing_is_an_error() {
    for first in [(|| Reply::NotSent) as fn() -> Reply, || {
        Reply::Answer(too_many("user", 1.0))
    }] {
        let transport =
            Scripted::replies(vec![first, || reply(404, error(10003, "Unknown Channel"))]);
        let error = transport
            .client()
            .delete_channel(channel_id())
            .await
            .unwrap_err();
        assert_kind!(error, RestErrorKind::NotFound);
        assert_eq!(transport.seen().len(), 2);
    }
    let transport = Scripted::replies(vec![|| reply(404, error(10003, "Unknown Channel"))]);
    assert_kind!(
        transport
            .client()
            .delete_channel(channel_id())
            .await
            .unwrap_err(),
        RestErrorKind::NotFound
    );
}

/// A 404 for something else than the channel says nothing about the channel.
#[tokio::test(start_paused = true)]
async fn another_404_is_an_error() {
    let transport = Scripted::replies(vec![|| Reply::Lost, || {
        reply(404, error(0, "404: Not Found"))
    }]);
    assert_kind!(
        transport
            .client()
            .delete_channel(channel_id())
            .await
            .unwrap_err(),
        RestErrorKind::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_still_a_deletion() {
    let transport = Scripted::replies(vec![|| reply(200, json!({"id": []}))]);
    let gone = transport
        .client()
        .delete_channel(channel_id())
        .await
        .unwrap();
    assert_eq!(gone, DeletedChannel::Deleted(None));
}
