//! A transport that does what a test says, on the test's clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use serde_json::{Value, json};
use spellcoven_discord_rest::{
    BotToken, BoxFuture, DiscordRestClient, DiscordRestClientBuilder, Transport, TransportError,
};
use tokio::time::Instant;
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker},
};

/// One request as the transport saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Since the transport was made.
    pub at: Duration,
    pub method: Method,
    /// Path and query behind `/api/v10`.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The audit-log reason, decoded.
    pub(crate) fn reason(&self) -> String {
        percent_decode(self.header("x-audit-log-reason"))
    }
}

pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What the transport does with a request.
pub(crate) enum Reply {
    Answer(Response<Bytes>),
    /// An answer that comes later.
    Late(Duration, Response<Bytes>),
    NotSent,
    Lost,
    Hang,
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// The alternative implementation of the seam.
#[derive(Clone)]
pub(crate) struct Scripted {
    start: Instant,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// `script` gets the number of the request, from 0, and the request.
    pub(crate) fn new(script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            start: Instant::now(),
            script: Arc::new(script),
            seen: Arc::default(),
        }
    }

    /// Plays one reply after the other; the last one again and again.
    pub(crate) fn replies(replies: Vec<fn() -> Reply>) -> Self {
        Self::new(move |n, _| replies[n.min(replies.len() - 1)]())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Method and path of all requests.
    pub(crate) fn story(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.path))
            .collect()
    }

    pub(crate) fn client(&self) -> DiscordRestClient {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> DiscordRestClientBuilder {
        DiscordRestClient::builder(BotToken::new("secret-token").unwrap())
            .base_url("http://discord.test/api/v10")
            .transport(self.clone())
            .seed(7)
    }
}

impl Transport for Scripted {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let uri = request.uri().to_string();
        let seen = Seen {
            at: self.start.elapsed(),
            method: request.method().clone(),
            path: uri
                .strip_prefix("http://discord.test/api/v10")
                .unwrap()
                .to_owned(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        };
        let number = {
            let mut all = self.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let reply = (self.script)(number, &seen);
        Box::pin(async move {
            match reply {
                Reply::Answer(answer) => Ok(answer),
                Reply::Late(delay, answer) => {
                    tokio::time::sleep(delay).await;
                    Ok(answer)
                }
                Reply::NotSent => Err(TransportError::not_sent("refused")),
                Reply::Lost => Err(TransportError::maybe_sent("reset")),
                Reply::Hang => std::future::pending().await,
            }
        })
    }
}

pub(crate) fn answer(status: u16, body: Value) -> Response<Bytes> {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    Response::builder()
        .status(status)
        .header("via", "1.1 google")
        .body(body)
        .unwrap()
}

pub(crate) fn reply(status: u16, body: Value) -> Reply {
    Reply::Answer(answer(status, body))
}

/// An answer with the headers of a bucket.
pub(crate) fn bucketed(
    mut answer: Response<Bytes>,
    limit: u32,
    remaining: u32,
    reset_after: f64,
) -> Response<Bytes> {
    let headers = [
        ("x-ratelimit-bucket", "hash".to_owned()),
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset-after", reset_after.to_string()),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

/// A 429 of Discord's own.
pub(crate) fn too_many(scope: &'static str, retry_after: f64) -> Response<Bytes> {
    let mut answer = answer(
        429,
        json!({"message": "limited", "retry_after": retry_after, "global": scope == "global"}),
    );
    answer
        .headers_mut()
        .insert("x-ratelimit-scope", scope.parse().unwrap());
    answer.headers_mut().insert(
        "retry-after",
        retry_after.ceil().to_string().parse().unwrap(),
    );
    answer
}

pub(crate) fn channel(id: u64, name: &str) -> Value {
    json!({"id": id.to_string(), "type": 2, "guild_id": "1", "name": name, "user_limit": 4, "parent_id": null,
        "permission_overwrites": [], "position": 0, "bitrate": 64000, "flags": 0, "rtc_region": null, "nsfw": false})
}

pub(crate) fn error(code: u64, message: &str) -> Value {
    json!({"code": code, "message": message})
}

pub(crate) fn guild_id() -> Id<GuildMarker> {
    Id::new(1)
}

pub(crate) fn channel_id() -> Id<ChannelMarker> {
    Id::new(2)
}

/// Asserts the kind of a `Result`'s error.
macro_rules! assert_kind {
    ($error:expr, $kind:pat) => {{
        let error = &$error;
        assert!(matches!(error.kind(), $kind), "{error:?}");
    }};
}
pub(crate) use assert_kind;
