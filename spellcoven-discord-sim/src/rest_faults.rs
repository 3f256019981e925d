//! REST faults: what goes wrong with a request on demand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a REST fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Instead of executing the request.
    #[default]
    Before,
    /// After it was executed: the client cannot know.
    After,
}

/// Who is limited, as a 429 tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// The bot's bucket.
    #[default]
    User,
    /// The resource, whoever asks.
    Shared,
    /// The bot over all routes.
    Global,
}

impl Scope {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Shared => "shared",
            Self::Global => "global",
        }
    }
}

/// What a REST fault does.
///
/// In JSON, as the control API takes it, a variant is its name in snake case, and times are milliseconds: `"hang_up"`,
/// `{"status": 502}`, `{"hang": 5000}`, `{"too_many_requests": {"retry_after": 1500, "scope": "shared"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RestFaultKind {
    /// This status with an error body of Discord's shape.
    Status(u16),
    /// The connection is closed without an answer.
    HangUp,
    /// Nothing for so long, then the connection is closed without an answer.
    Hang(#[serde(with = "millis")] Duration),
    /// A 429 with Discord's body and headers.
    TooManyRequests {
        /// The wait it tells.
        #[serde(with = "millis")]
        retry_after: Duration,
        /// The scope it tells.
        #[serde(default)]
        scope: Scope,
    },
    /// A 429 whose header and body tell different waits. Neither window is kept: the next request passes.
    WrongRetryAfter {
        /// What `Retry-After` tells, in whole seconds (rounded up).
        #[serde(with = "millis")]
        header: Duration,
        /// What `retry_after` tells.
        #[serde(with = "millis")]
        body: Duration,
    },
    /// Cloudflare's 429: HTML with `error code: 1015`, no `Via`, no limit headers.
    CloudflareBan {
        /// `Retry-After`, which is not always there.
        #[serde(default, with = "optional_millis")]
        retry_after: Option<Duration>,
    },
    /// The 429 of an address that is banned: JSON without limit headers, without a wait.
    IpBan,
    /// 202 with `retry_after`: the thing is not ready.
    Accepted {
        /// The wait it tells.
        #[serde(with = "millis")]
        retry_after: Duration,
    },
    /// Any answer at all. Carries no `Via`, as from a proxy in front.
    Body {
        /// The status.
        status: u16,
        /// The `Content-Type`.
        content_type: String,
        /// The body, sent as it is.
        body: String,
    },
    /// The right answer with this `Content-Type`.
    WrongContentType(String),
    /// The right answer with the second half of its body missing; `Content-Length` is that of what is sent.
    TruncatedBody,
    /// The right answer's head and half of its body, then the connection is dropped.
    ResetMidBody,
    /// The right answer, its body in small pieces with pauses between them.
    SlowBody {
        /// Bytes in a piece. At least 1.
        chunk: usize,
        /// Time before each piece.
        #[serde(with = "millis")]
        pause: Duration,
    },
    /// The right answer, so much later.
    Delay(#[serde(with = "millis")] Duration),
}

impl RestFaultKind {
    /// How many kinds there are. An array of this length has a place for each of [`one_of_each`](Self::one_of_each),
    /// so that a table over all kinds does not compile when a kind is added.
    pub const KINDS: usize = 14;

    /// One fault of each kind, in the order of the enum.
    #[must_use]
    pub fn one_of_each() -> [Self; Self::KINDS] {
        let second = Duration::from_secs(1);
        [
            Self::Status(502),
            Self::HangUp,
            Self::Hang(Duration::from_secs(60)),
            Self::TooManyRequests {
                retry_after: second,
                scope: Scope::User,
            },
            Self::WrongRetryAfter {
                header: second,
                body: second / 4,
            },
            Self::CloudflareBan {
                retry_after: Some(second),
            },
            Self::IpBan,
            Self::Accepted {
                retry_after: second,
            },
            Self::Body {
                status: 502,
                content_type: "text/html".to_owned(),
                body: "<html><title>502 Bad Gateway</title></html>".to_owned(),
            },
            Self::WrongContentType("text/html".to_owned()),
            Self::TruncatedBody,
            Self::ResetMidBody,
            Self::SlowBody {
                chunk: 16,
                pause: second / 10,
            },
            Self::Delay(second),
        ]
    }

    /// The place of this kind in [`one_of_each`](Self::one_of_each).
    #[must_use]
    pub const fn kind(&self) -> usize {
        match self {
            Self::Status(_) => 0,
            Self::HangUp => 1,
            Self::Hang(_) => 2,
            Self::TooManyRequests { .. } => 3,
            Self::WrongRetryAfter { .. } => 4,
            Self::CloudflareBan { .. } => 5,
            Self::IpBan => 6,
            Self::Accepted { .. } => 7,
            Self::Body { .. } => 8,
            Self::WrongContentType(_) => 9,
            Self::TruncatedBody => 10,
            Self::ResetMidBody => 11,
            Self::SlowBody { .. } => 12,
            Self::Delay(_) => 13,
        }
    }

    /// Whether it works on the real answer, so that the request is executed whatever [`RestFault::when`] says.
    #[must_use]
    pub const fn needs_execution(&self) -> bool {
        matches!(
            self,
            Self::WrongContentType(_)
                | Self::TruncatedBody
                | Self::ResetMidBody
                | Self::SlowBody { .. }
                | Self::Delay(_)
        )
    }

    /// Whether it is a 429 of any kind.
    pub(crate) const fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::TooManyRequests { .. }
                | Self::WrongRetryAfter { .. }
                | Self::CloudflareBan { .. }
                | Self::IpBan
        )
    }

    /// Whether the answer comes from something in front of Discord, and so carries no `Via`.
    pub(crate) const fn is_foreign(&self) -> bool {
        matches!(
            self,
            Self::Body { .. } | Self::CloudflareBan { .. } | Self::IpBan
        )
    }
}

/// A fault of REST: for requests that match, so many times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestFault {
    /// Method and beginning of the path without `/api/v10`, as `"POST /guilds/"` or
    /// `"POST /guilds/{guild.id}/channels"`. A part in braces stands for any id, `*` for any method; a path alone matches
    /// every method, a method alone every path, an empty text everything.
    #[serde(default, rename = "match", alias = "matches")]
    pub matches: String,
    /// How many requests it strikes.
    #[serde(default = "once", rename = "count", alias = "times")]
    pub times: u32,
    /// What happens to them.
    pub what: RestFaultKind,
    /// Before or after execution; see [`executes`](Self::executes).
    #[serde(default)]
    pub when: When,
}

const fn once() -> u32 {
    1
}

impl RestFault {
    /// One request that matches is struck before it is executed.
    #[must_use]
    pub fn once(matches: impl Into<String>, what: RestFaultKind) -> Self {
        Self {
            matches: matches.into(),
            times: 1,
            what,
            when: When::Before,
        }
    }

    /// The same, `times` times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// The same, after execution.
    #[must_use]
    pub fn after_execution(mut self) -> Self {
        self.when = When::After;
        self
    }

    /// Whether a request that it strikes is executed: [`when`](Self::when) says it, but for faults that work on the real
    /// answer, and for 429s and 202s, which Discord gives only to requests that it does not execute.
    #[must_use]
    pub const fn executes(&self) -> bool {
        let refuses = self.what.is_limit() || matches!(self.what, RestFaultKind::Accepted { .. });
        self.what.needs_execution() || (matches!(self.when, When::After) && !refuses)
    }

    pub(crate) fn strikes(&self, method: &str, path: &str) -> bool {
        if self.times == 0 {
            return false;
        }
        let matches = self.matches.trim();
        let (wanted, prefix) = match matches.split_once(' ') {
            Some((wanted, prefix)) => (wanted, prefix.trim_start()),
            None if matches.starts_with('/') => ("*", matches),
            None => (matches, ""),
        };
        let method_fits = matches!(wanted, "" | "*") || wanted.eq_ignore_ascii_case(method);
        method_fits && begins_with(path, prefix)
    }
}

/// Whether a path begins as a pattern says; a part of the pattern in braces stands for any one part.
fn begins_with(path: &str, pattern: &str) -> bool {
    let pattern = pattern
        .strip_prefix("/api/v10")
        .or_else(|| pattern.strip_prefix("/api/v9"))
        .unwrap_or(pattern);
    let mut parts = path.split('/');
    let mut wanted = pattern.split('/').peekable();
    while let Some(want) = wanted.next() {
        let Some(part) = parts.next() else {
            return false;
        };
        let any = want.starts_with('{') && want.ends_with('}');
        let fits = if wanted.peek().is_none() {
            any || part.starts_with(want)
        } else {
            any || part == want
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Times in JSON: milliseconds, as a whole number.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// The same where there may be none.
mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place() {
        for (place, what) in RestFaultKind::one_of_each().iter().enumerate() {
            assert_eq!(what.kind(), place, "{what:?}");
        }
    }

    #[test]
    fn every_kind_survives_json() {
        for what in RestFaultKind::one_of_each() {
            let fault = RestFault::once("GET /a", what).times(3).after_execution();
            let text = serde_json::to_string(&fault).expect("a fault is JSON");
            let back: RestFault = serde_json::from_str(&text).expect(&text);
            assert_eq!(back, fault, "{text}");
        }
        let short: RestFault =
            serde_json::from_str(r#"{"match": "POST", "what": "hang_up"}"#).expect("short form");
        assert_eq!(short, RestFault::once("POST", RestFaultKind::HangUp));
    }

    #[test]
    fn what_a_fault_strikes() {
        let path = "/guilds/7/channels";
        for (matches, strikes) in [
            ("", true),
            ("*", true),
            ("POST", true),
            ("post", true),
            ("GET", false),
            ("POST /guilds/", true),
            ("* /guilds/7/cha", true),
            ("/guilds/7", true),
            ("POST /guilds/{guild.id}/channels", true),
            ("POST /api/v10/guilds/{id}/channels", true),
            ("POST /guilds/{guild.id}/roles", false),
            ("POST /guilds/7/channels/8", false),
            ("POST /channels", false),
        ] {
            let fault = RestFault::once(matches, RestFaultKind::HangUp);
            assert_eq!(fault.strikes("POST", path), strikes, "{matches:?}");
        }
    }
}
