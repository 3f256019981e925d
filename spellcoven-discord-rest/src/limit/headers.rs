//! What an answer says about rate limits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header::RETRY_AFTER};
use serde_json::Value;

use crate::error::RateLimitScope;

/// Longer waits are cut to this: no limit of Discord lasts longer (observed: up
/// to about an hour), and a nonsense value must not block a route for ever.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Codes of limits on one kind of request: slow mode, announcement edits,
/// channel and guild write limits, a limited service.
///
/// See Discord: Opcodes and Status Codes, "JSON".
const SPECIAL_LIMITS: [u64; 5] = [20016, 20022, 20028, 20029, 40062];

/// Everything the limiter learns from one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) status: u16,
    pub(crate) hash: Option<Arc<str>>,
    pub(crate) window: Option<Window>,
    pub(crate) too_many: Option<TooMany>,
    /// How long a 5xx or a 202 asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// The bucket's window as the headers show it. See Discord: Rate Limits,
/// "Header Format".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
}

/// A 429: which limit, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TooMany {
    pub(crate) scope: RateLimitScope,
    /// Absent only at the edge.
    pub(crate) retry_after: Option<Duration>,
}

impl Observed {
    pub(crate) fn of(answer: &Response<Bytes>) -> Self {
        let headers = answer.headers();
        let hash = text(headers, "x-ratelimit-bucket")
            .filter(|hash| hash.len() <= 128)
            .map(Arc::from);
        let window = window(headers);
        let too_many = (answer.status() == StatusCode::TOO_MANY_REQUESTS)
            .then(|| too_many(headers, answer.body(), window));
        Self {
            status: answer.status().as_u16(),
            hash,
            window,
            too_many,
            retry_after: retry_after(answer),
        }
    }

    /// Whether Discord counts it towards the ban of an IP address.
    ///
    /// See Discord: Rate Limits, "Invalid Request Limit".
    pub(crate) fn is_invalid_request(&self) -> bool {
        match self.status {
            401 | 403 => true,
            429 => !matches!(
                self.too_many,
                Some(TooMany {
                    scope: RateLimitScope::Shared,
                    ..
                })
            ),
            _ => false,
        }
    }
}

fn window(headers: &HeaderMap) -> Option<Window> {
    Some(Window {
        limit: text(headers, "x-ratelimit-limit")?.parse().ok()?,
        remaining: text(headers, "x-ratelimit-remaining")?.parse().ok()?,
        reset_after: seconds(text(headers, "x-ratelimit-reset-after")?.parse().ok()?)?,
    })
}

/// A 503 may carry `Retry-After`, and a 202 ("not ready yet", observed) a
/// `retry_after` in its body. A date instead of seconds is not understood.
fn retry_after(answer: &Response<Bytes>) -> Option<Duration> {
    let status = answer.status();
    if status != StatusCode::ACCEPTED && !status.is_server_error() {
        return None;
    }
    let json: Option<Value> = serde_json::from_slice(answer.body()).ok();
    header_wait(answer.headers()).max(body_wait(json.as_ref()))
}

fn header_wait(headers: &HeaderMap) -> Option<Duration> {
    text(headers, RETRY_AFTER.as_str())?
        .parse()
        .ok()
        .and_then(seconds)
}

fn body_wait(json: Option<&Value>) -> Option<Duration> {
    json?.get("retry_after")?.as_f64().and_then(seconds)
}

fn too_many(headers: &HeaderMap, body: &Bytes, window: Option<Window>) -> TooMany {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| json.as_ref().and_then(|json| json.get(name));
    let body_wait = body_wait(json.as_ref());
    // The two may differ: the header is a whole number, the body has decimals.
    let retry_after = header_wait(headers).max(body_wait);
    // Observed: Discord's own answers have a Via header and rate-limit headers,
    // the edge's have neither and often no JSON.
    let limit_headers = headers
        .keys()
        .any(|name: &HeaderName| name.as_str().starts_with("x-ratelimit-"));
    let from_discord = body_wait.is_some() && (limit_headers || headers.contains_key("via"));
    if !from_discord {
        return TooMany {
            scope: RateLimitScope::Edge,
            retry_after,
        };
    }
    let scope = text(headers, "x-ratelimit-scope");
    let global = scope == Some("global")
        || text(headers, "x-ratelimit-global") == Some("true")
        || field("global").and_then(Value::as_bool) == Some(true);
    let special = field("code")
        .and_then(Value::as_u64)
        .is_some_and(|code| SPECIAL_LIMITS.contains(&code));
    let scope = if global {
        RateLimitScope::Global
    } else if scope == Some("shared") {
        RateLimitScope::Shared
    } else if special || window.is_some_and(|window| window.remaining > 0) {
        RateLimitScope::SubLimit
    } else {
        RateLimitScope::Bucket
    };
    TooMany { scope, retry_after }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .map(|wait| wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Observed {
        let mut builder = Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        Observed::of(
            &builder
                .body(Bytes::copy_from_slice(body.as_bytes()))
                .unwrap(),
        )
    }

    fn seen(headers: &[(&str, &str)], body: &str) -> (RateLimitScope, Option<f64>) {
        let too_many = answer(429, headers, body).too_many.unwrap();
        (
            too_many.scope,
            too_many.retry_after.map(|wait| wait.as_secs_f64()),
        )
    }

    #[test]
    fn reads_the_window() {
        let observed = answer(
            200,
            &[
                ("x-ratelimit-bucket", "abc"),
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", "4"),
                ("x-ratelimit-reset-after", "1.25"),
            ],
            "",
        );
        let window = Window {
            limit: 5,
            remaining: 4,
            reset_after: Duration::from_millis(1250),
        };
        assert_eq!(
            (observed.hash.as_deref(), observed.window),
            (Some("abc"), Some(window))
        );
        assert_eq!(observed.too_many, None);
    }

    #[test]
    fn takes_the_larger_wait() {
        let via = ("via", "1.1 google");
        assert_eq!(
            seen(&[via, ("retry-after", "1")], r#"{"retry_after":1.5}"#).1,
            Some(1.5)
        );
        assert_eq!(
            seen(&[via, ("retry-after", "3")], r#"{"retry_after":1.5}"#).1,
            Some(3.0)
        );
    }

    #[test]
    fn tells_the_scopes_apart() {
        use RateLimitScope::*;
        let via = ("via", "1.1 google");
        let wait = r#"{"message":"m","retry_after":2.0,"global":false}"#;
        let window = |remaining| {
            [
                via,
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset-after", "9"),
                ("x-ratelimit-scope", "user"),
            ]
        };
        assert_eq!(seen(&window("0"), wait).0, Bucket);
        assert_eq!(seen(&window("3"), wait).0, SubLimit);
        assert_eq!(
            seen(&[via, ("x-ratelimit-scope", "shared")], wait).0,
            Shared
        );
        assert_eq!(seen(&[via, ("x-ratelimit-global", "true")], wait).0, Global);
        assert_eq!(
            seen(&[via], r#"{"retry_after":2.0,"global":true}"#).0,
            Global
        );
        assert_eq!(
            seen(&[via], r#"{"retry_after":2.0,"code":20028}"#).0,
            SubLimit
        );
        assert_eq!(seen(&[], "error code: 1015"), (Edge, None));
        assert_eq!(
            seen(&[("retry-after", "3600")], "<html>"),
            (Edge, Some(3600.0))
        );
        assert_eq!(seen(&[], wait).0, Edge);
        assert_eq!(
            seen(&[via], r#"{"code":0,"message":"You are being blocked"}"#).0,
            Edge
        );
    }

    #[test]
    fn a_503_and_a_202_may_say_when() {
        let after = [("retry-after", "7")];
        let wait = |status, headers, body| answer(status, headers, body).retry_after;
        assert_eq!(wait(503, &after, ""), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(503, &[("retry-after", "Wed, 25 Nov 2026 14:00:00 GMT")], ""),
            None
        );
        assert_eq!(
            wait(202, &[], r#"{"code":110000,"retry_after":1.5}"#),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(wait(202, &[], r#"{"id":"1"}"#), None);
        assert_eq!(wait(200, &after, r#"{"retry_after":1}"#), None);
    }

    #[test]
    fn counts_invalid_requests() {
        assert!(answer(401, &[], "").is_invalid_request());
        assert!(answer(403, &[], "").is_invalid_request());
        assert!(answer(429, &[], "").is_invalid_request());
        assert!(!answer(404, &[], "").is_invalid_request());
        let shared = [("via", "1.1 google"), ("x-ratelimit-scope", "shared")];
        assert!(!answer(429, &shared, r#"{"retry_after":1}"#).is_invalid_request());
    }

    proptest! {
        #[test]
        fn never_panics(value in "[ -~]{0,30}", body in "\\PC{0,60}") {
            let headers = ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset-after"];
            answer(429, &headers.map(|name| (name, value.as_str())), &body);
        }
    }
}
