//! Endpoints of the caller's own.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use spellcoven_discord_rest::{Endpoint, Major, RestErrorKind, RetryClass, Route, ValidationError};

use super::support::*;

/// A bodiless PUT with an empty answer.
struct PutNothing;

impl Endpoint for PutNothing {
    type Response = ();

    fn route(&self) -> Route {
        Route::new(
            Method::PUT,
            "/channels/{channel_id}/pins/{message_id}",
            Major::Channel(2),
        )
        .param(2)
        .param(3)
    }

    fn takes_reason(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_bodiless_put_and_an_empty_answer() {
    let transport = Scripted::new(|_, _| reply(204, json!(null)));
    transport
        .client()
        .execute(PutNothing)
        .reason("nice one")
        .request_id("r")
        .await
        .unwrap();
    let seen = &transport.seen()[0];
    assert_eq!(transport.story(), ["PUT /channels/2/pins/3"]);
    assert_eq!(seen.header("content-length"), "0");
    assert!(seen.reason().starts_with("nice one (request r."));
}

/// A PATCH that is not idempotent by default, with input of its own.
struct Rename(&'static str, Option<RetryClass>);

impl Endpoint for Rename {
    type Response = Value;

    fn name(&self) -> &'static str {
        "rename"
    }

    fn route(&self) -> Route {
        Route::new(Method::PATCH, "/channels/{channel_id}", Major::Channel(2)).param(2)
    }

    fn body(&self) -> Result<Option<Bytes>, serde_json::Error> {
        Ok(Some(serde_json::to_vec(&json!({"name": self.0}))?.into()))
    }

    fn retry_class(&self) -> RetryClass {
        self.1
            .unwrap_or(RetryClass::of_method(self.route().method()))
    }

    fn validate(&self) -> Result<(), ValidationError> {
        if self.0.is_empty() {
            Err(ValidationError::new("name", "is empty"))
        } else {
            Ok(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn validation_is_the_endpoints() {
    let transport = Scripted::new(|_, _| reply(200, json!({})));
    let error = transport
        .client()
        .execute(Rename("", None))
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Validation { field: "name", .. });
    assert!(transport.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_patch_is_repeated_only_if_the_endpoint_says_so() {
    let transport = Scripted::replies(vec![|| Reply::Lost, || reply(200, json!({"ok": true}))]);
    let error = transport
        .client()
        .execute(Rename("x", None))
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!((transport.seen().len(), error.operation()), (1, "rename"));

    let transport = Scripted::replies(vec![|| Reply::Lost, || reply(200, json!({"ok": true}))]);
    let done = transport
        .client()
        .execute(Rename("x", Some(RetryClass::Idempotent)))
        .await
        .unwrap();
    assert_eq!(done, json!({"ok": true}));
}

/// The hidden limit on renames holds renames only (through the whole client).
#[tokio::test(start_paused = true)]
async fn a_rename_that_is_limited_does_not_hold_other_edits() {
    struct Limit;
    impl Endpoint for Limit {
        type Response = Value;
        fn route(&self) -> Route {
            Rename("", None).route()
        }
        fn body(&self) -> Result<Option<Bytes>, serde_json::Error> {
            Ok(Some(serde_json::to_vec(&json!({"user_limit": 3}))?.into()))
        }
    }
    let transport = Scripted::new(|_, seen| {
        let answer = if seen.json().get("name").is_some() {
            too_many("user", 500.0)
        } else {
            answer(200, json!({}))
        };
        Reply::Answer(bucketed(answer, 5, 3, 15.0))
    });
    let client = transport.client();
    let error = client.execute(Rename("x", None)).await.unwrap_err();
    assert_kind!(
        error,
        RestErrorKind::RateLimited {
            scope: spellcoven_discord_rest::RateLimitScope::SubLimit,
            ..
        }
    );
    client.execute(Limit).await.unwrap();
    client.execute(Rename("y", None)).await.unwrap_err();
    assert_eq!(transport.seen().len(), 2);
}
