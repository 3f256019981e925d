//! Things that go wrong on demand.

use std::time::Duration;

/// A fault of the Gateway, for every live session of a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The TCP connection is dropped without a close frame. The session stays resumable.
    Cut,
    /// Op 7, and a close after the grace of the settings. The session stays resumable.
    Reconnect,
    /// Op 9 on a live session. `resumable: false` destroys it. The socket stays open and takes an Identify or Resume.
    InvalidSession {
        /// The `d` of op 9.
        resumable: bool,
    },
    /// A close frame with this code. The codes 4003, 4004, 4006, 4007 and 4009 to 4014 destroy the session.
    Close {
        /// The close code.
        code: u16,
    },
    /// Op 1: the server asks for a heartbeat now.
    RequestHeartbeat,
    /// Heartbeats are no longer answered (`true`), or are again (`false`).
    MuteAcks {
        /// Whether they are muted.
        on: bool,
    },
    /// The next `times` resumes are answered with op 9 `false`, and their sessions destroyed.
    RefuseResume {
        /// How many.
        times: u32,
    },
    /// Dispatches are kept back (`true`), or released (`false`). Heartbeats go on.
    HoldEvents {
        /// Whether they are kept back.
        on: bool,
    },
}

/// When a REST fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Instead of executing the request.
    #[default]
    Before,
    /// After it was executed: the client cannot know.
    After,
}

/// Who is limited, as a 429 tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestFaultKind {
    /// This status with an error body of Discord's shape.
    Status(u16),
    /// The connection is closed without an answer.
    HangUp,
    /// Nothing for so long, then the connection is closed without an answer.
    Hang(Duration),
    /// A 429 with Discord's body and headers.
    TooManyRequests {
        /// The wait it tells.
        retry_after: Duration,
        /// The scope it tells.
        scope: Scope,
    },
    /// Any answer at all: HTML, truncated JSON, a wrong content type. Carries no `Via`, as from a proxy in front.
    Body {
        /// The status.
        status: u16,
        /// The `Content-Type`.
        content_type: String,
        /// The body, sent as it is.
        body: String,
    },
    /// The right answer, so much later.
    Delay(Duration),
}

/// A fault of REST: for requests that match, so many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestFault {
    /// Method and beginning of the path without `/api/v10`, as `"POST /guilds/"`. `*` stands for any method; an empty
    /// text matches all.
    pub matches: String,
    /// How many requests it strikes.
    pub times: u32,
    /// What happens to them.
    pub what: RestFaultKind,
    /// Before or after execution.
    pub when: When,
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

    pub(crate) fn strikes(&self, method: &str, path: &str) -> bool {
        if self.times == 0 {
            return false;
        }
        match self.matches.split_once(' ') {
            None => self.matches.is_empty() || self.matches == "*" || self.matches == method,
            Some((wanted, prefix)) => {
                (wanted == "*" || wanted == method) && path.starts_with(prefix)
            }
        }
    }
}
