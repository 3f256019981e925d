//! One WebSocket connection's protocol: what may come when, what follows, and when time is up. No I/O, no clock.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    auth::{AuthError, TokenError, Verified},
    limits::Limits,
};
use crate::wire::{ClientMessage, ErrorCode, ResumePoint, close};

/// The window in which a client's messages are counted.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// The farthest a timer is set; a token that lives longer ends its connection then.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The state of one connection.
///
/// `handle_*` takes what happened and says what to do next; `poll_timeout` says when to call `handle_timeout`;
/// while `wants_input` is `false`, nothing more should be read.
#[derive(Debug)]
pub(crate) struct Session {
    phase: Phase,
    /// The `sub` of the first token; its other claims are not kept, since connections are many.
    sub: Option<Arc<str>>,
    auth_deadline: Instant,
    expires: Instant,
    heard: Instant,
    next_ping: Instant,
    window: Instant,
    in_window: u32,
    limits: SessionLimits,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    auth_deadline: Duration,
    messages: u32,
    ping: Duration,
    idle: Duration,
    leeway_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing came yet.
    Start,
    /// A token is being checked: the first one, with what the client wants to resume.
    First(Option<ResumePoint>),
    Live,
    /// A later token is being checked.
    Again,
    Closed,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Check this token, then call `handle_verified`.
    Verify(String),
    /// The first token was good: acknowledge and begin to deliver.
    Open {
        sub: Arc<str>,
        resume: Option<ResumePoint>,
    },
    /// A later token was good: acknowledge.
    Extended,
    /// Send a snapshot.
    Snapshot,
    /// Send a ping.
    Ping,
    /// Send the error, if any, and close.
    Close(Close),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) error: Option<(ErrorCode, &'static str)>,
}

impl Close {
    pub(crate) const fn quiet(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            error: None,
        }
    }

    const fn unauthorized(reason: &'static str, message: &'static str) -> Self {
        Self {
            code: close::UNAUTHORIZED,
            reason,
            error: Some((ErrorCode::Unauthorized, message)),
        }
    }

    pub(crate) const fn bad_message(message: &'static str) -> Self {
        let error = Some((ErrorCode::BadRequest, message));
        Self {
            code: close::POLICY,
            reason: close::reason::BAD_MESSAGE,
            error,
        }
    }
}

impl SessionLimits {
    pub(crate) fn new(limits: &Limits, leeway_ms: u64) -> Self {
        Self {
            auth_deadline: limits.auth_deadline,
            messages: limits.max_client_messages_per_10s,
            ping: limits.ping_interval,
            idle: limits.idle_timeout,
            leeway_ms,
        }
    }
}

impl Session {
    pub(crate) fn new(now: Instant, limits: SessionLimits) -> Self {
        Self {
            phase: Phase::Start,
            sub: None,
            auth_deadline: now + limits.auth_deadline,
            expires: now + FAR,
            heard: now,
            next_ping: now + limits.ping,
            window: now,
            in_window: 0,
            limits,
        }
    }

    /// Whether messages should be read: not while a token is being checked.
    pub(crate) fn wants_input(&self) -> bool {
        matches!(self.phase, Phase::Start | Phase::Live)
    }

    /// A text message came.
    pub(crate) fn handle_text(&mut self, text: &str, now: Instant) -> Option<Action> {
        if let Some(close) = self.count(now) {
            return Some(self.end(close));
        }
        let Ok(message) = serde_json::from_str::<ClientMessage>(text) else {
            return Some(self.end(Close::bad_message("not a known message")));
        };
        match (message, &self.phase) {
            (ClientMessage::Auth { token, resume }, Phase::Start) => {
                self.phase = Phase::First(resume);
                Some(Action::Verify(token))
            }
            (ClientMessage::Auth { token, .. }, Phase::Live) => {
                self.phase = Phase::Again;
                Some(Action::Verify(token))
            }
            (ClientMessage::Snapshot, Phase::Live) => Some(Action::Snapshot),
            (ClientMessage::Snapshot, Phase::Start) => Some(self.end(Close::unauthorized(
                close::reason::UNAUTHORIZED,
                "the first message must be auth",
            ))),
            // Nothing is read while a token is being checked, and nothing matters after the end.
            _ => None,
        }
    }

    /// A token came with the handshake, as if it were the first message.
    pub(crate) fn begin(&mut self, token: String, resume: Option<ResumePoint>) -> Option<Action> {
        self.phase = Phase::First(resume);
        Some(Action::Verify(token))
    }

    /// A binary message came; the protocol has none.
    pub(crate) fn handle_binary(&mut self) -> Option<Action> {
        Some(self.end(Close::bad_message(
            "binary messages are not part of the protocol",
        )))
    }

    /// A ping or pong came.
    pub(crate) fn handle_control(&mut self, now: Instant) -> Option<Action> {
        self.count(now).map(|close| self.end(close))
    }

    /// The token of [`Action::Verify`] was checked.
    pub(crate) fn handle_verified(
        &mut self,
        result: Result<Verified, AuthError>,
        now: Instant,
        now_ms: u64,
    ) -> Option<Action> {
        let verified = match result {
            Ok(verified) => verified,
            Err(AuthError::Refused(error)) => return Some(self.refuse(error)),
            Err(AuthError::Unavailable) => {
                let code = close::TRY_AGAIN_LATER;
                let error = Some((
                    ErrorCode::InternalError,
                    "the identity provider's keys cannot be had",
                ));
                return Some(self.end(Close {
                    code,
                    reason: close::reason::IDENTITY_UNAVAILABLE,
                    error,
                }));
            }
        };
        if self
            .sub
            .as_ref()
            .is_some_and(|sub| **sub != *verified.user.sub)
        {
            return Some(self.refuse(TokenError::OtherUser));
        }
        // Within the leeway after `exp`: the clocks differ, so the connection ends with the leeway.
        let end_ms = verified.expires_ms.max(now_ms);
        let end_ms = if end_ms == now_ms {
            verified.expires_ms + self.limits.leeway_ms
        } else {
            end_ms
        };
        let left = Duration::from_millis(end_ms.saturating_sub(now_ms));
        match std::mem::replace(&mut self.phase, Phase::Live) {
            Phase::First(resume) => {
                self.expires = now + left.min(FAR);
                let sub: Arc<str> = verified.user.sub.into();
                self.sub = Some(Arc::clone(&sub));
                Some(Action::Open { sub, resume })
            }
            Phase::Again => {
                self.expires = now + left.min(FAR);
                Some(Action::Extended)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Instant {
        let idle = self.heard + self.limits.idle;
        match self.phase {
            Phase::Start | Phase::First(_) => self.auth_deadline,
            Phase::Live | Phase::Again => self.expires.min(idle).min(self.next_ping),
            Phase::Closed => self.heard + FAR,
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        match self.phase {
            Phase::Start | Phase::First(_) if now >= self.auth_deadline => {
                let close = Close::unauthorized(
                    close::reason::AUTH_TIMEOUT,
                    "no good auth within the deadline",
                );
                Some(self.end(close))
            }
            Phase::Live | Phase::Again if now >= self.expires => Some(self.end(
                Close::unauthorized(close::reason::TOKEN_EXPIRED, "the token expired"),
            )),
            Phase::Live | Phase::Again if now >= self.heard + self.limits.idle => {
                Some(self.end(Close::quiet(close::GOING_AWAY, close::reason::IDLE_TIMEOUT)))
            }
            Phase::Live | Phase::Again if now >= self.next_ping => {
                self.next_ping = now + self.limits.ping;
                Some(Action::Ping)
            }
            _ => None,
        }
    }

    fn refuse(&mut self, error: TokenError) -> Action {
        tracing::debug!(%error, "token refused");
        self.end(Close::unauthorized(
            close::reason::UNAUTHORIZED,
            "the token is not accepted",
        ))
    }

    fn end(&mut self, close: Close) -> Action {
        self.phase = Phase::Closed;
        Action::Close(close)
    }

    /// Counts a message, and says how to end if there are too many.
    fn count(&mut self, now: Instant) -> Option<Close> {
        self.heard = now;
        if now.duration_since(self.window) >= RATE_WINDOW {
            self.window = now;
            self.in_window = 0;
        }
        self.in_window += 1;
        (self.in_window > self.limits.messages).then_some(Close {
            code: close::POLICY,
            reason: close::reason::RATE_LIMITED,
            error: Some((ErrorCode::BadRequest, "too many messages")),
        })
    }
}
