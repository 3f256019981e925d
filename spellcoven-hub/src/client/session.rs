//! The client's side of `/api/ws` as a state machine without I/O and without a
//! clock: when to dial, what to send, what to tell the reader.

mod live;
mod reconnect;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::token::AccessToken;
use super::update::Update;
use crate::wire::{ClientMessage, ResumePoint, close};
use live::Live;
use reconnect::Reconnect;

/// Asking for a token, dialling with the WebSocket handshake, waiting for
/// `auth.ok`, waiting for a snapshot: each may take this long.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the shell has to do.
#[derive(PartialEq, Eq)]
pub(super) enum Output {
    /// Ask the token source; drop an earlier question.
    FetchToken,
    /// Open a WebSocket; drop an earlier attempt.
    Dial,
    /// Send this text.
    Send(String),
    /// Send a WebSocket ping.
    Ping,
    /// Close with this code and forget the connection (or the attempt).
    Close(u16),
    /// Give this to the reader.
    Update(Update),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Gave up, unauthorized or not started: only a command leads out.
    Stopped,
    /// The next attempt begins then. With a `token` it goes on with dialling.
    Waiting {
        until: Instant,
        token: bool,
    },
    FetchingToken {
        deadline: Instant,
    },
    Dialling {
        deadline: Instant,
    },
    Authenticating {
        deadline: Instant,
    },
    Live,
    /// For good.
    Closed,
}

/// One client's protocol state over all its connections.
pub(super) struct Session {
    state: State,
    reconnect: Reconnect,
    token: Option<AccessToken>,
    /// The hub refused it with this reason: never to be sent again.
    refused: Option<(AccessToken, String)>,
    live: Live,
    /// The reader is behind: nothing is begun and nothing falls due.
    paused: bool,
    outputs: VecDeque<Output>,
}

impl Session {
    pub(super) fn new(
        max_attempts: Option<u32>,
        resume: Option<ResumePoint>,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            state: State::Stopped,
            reconnect: Reconnect::new(max_attempts, rng),
            token: None,
            refused: None,
            live: Live::new(resume),
            paused: false,
            outputs: VecDeque::new(),
        }
    }

    /// Begins; also the command to try again at once, with a fresh count.
    /// Changes nothing while a connection stands or is being made.
    pub(super) fn connect(&mut self, now: Instant) {
        if matches!(self.state, State::Stopped | State::Waiting { .. }) {
            self.reconnect.reset();
            self.fetch_token(now);
        }
    }

    /// Asks for a new token, to send it on the standing connection.
    pub(super) fn refresh_token(&mut self) {
        if self.state == State::Live {
            self.outputs.push_back(Output::FetchToken);
        }
    }

    /// Asks the hub for a snapshot.
    pub(super) fn request_snapshot(&mut self) {
        if self.state == State::Live {
            self.live.request_snapshot(&mut self.outputs);
        }
    }

    /// Ends for good.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.outputs.push_back(Output::Close(close::NORMAL));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// The token source's answer; `Err` is its reason.
    pub(super) fn handle_token(&mut self, token: Result<AccessToken, String>, now: Instant) {
        match (&self.state, token) {
            (State::FetchingToken { .. }, Ok(token)) => self.take_token(token, now),
            (State::FetchingToken { .. }, Err(reason)) => self.attempt_failed(None, reason, now),
            (State::Live, Ok(token)) => {
                self.send(&ClientMessage::Auth {
                    token: token.expose().to_owned(),
                    resume: None,
                });
                self.token = Some(token);
            }
            (State::Live, Err(reason)) => tracing::warn!(reason, "no new token; the old one stays"),
            _ => {}
        }
    }

    fn take_token(&mut self, token: AccessToken, now: Instant) {
        let Some((refused, reason)) = self.refused.take() else {
            self.token = Some(token);
            self.dial(now);
            return;
        };
        if refused == token {
            self.outputs.push_back(Output::Update(Update::Unauthorized {
                reason: reason.clone(),
            }));
            self.refused = Some((refused, reason));
            self.state = State::Stopped;
            return;
        }
        self.token = Some(token);
        // A new token is an attempt like any other: it waits its turn, or a
        // hub that refuses every token would be asked in a tight loop.
        match self.reconnect.next_delay() {
            Some(delay) => {
                self.state = State::Waiting {
                    until: now + delay,
                    token: true,
                }
            }
            None => self.give_up(),
        }
    }

    /// The WebSocket stands.
    pub(super) fn handle_dialled(&mut self, now: Instant) {
        let (State::Dialling { .. }, Some(token)) = (&self.state, &self.token) else {
            return;
        };
        let token = token.expose().to_owned();
        let resume = self.live.begin();
        self.state = State::Authenticating {
            deadline: now + STEP_TIMEOUT,
        };
        self.send(&ClientMessage::Auth { token, resume });
    }

    /// The WebSocket could not be opened.
    pub(super) fn handle_dial_failed(&mut self, reason: String, now: Instant) {
        if matches!(self.state, State::Dialling { .. }) {
            self.attempt_failed(None, reason, now);
        }
    }

    /// A text message came.
    pub(super) fn handle_message(&mut self, text: &str, now: Instant) {
        let step = match self.state {
            State::Authenticating { .. } => {
                self.live.handle_before_auth(text, now, &mut self.outputs)
            }
            State::Live => self.live.handle_message(text, now, &mut self.outputs),
            _ => return,
        };
        match step {
            live::Step::Go => {}
            live::Step::Accepted { max_attempts } => {
                self.state = State::Live;
                self.refused = None;
                self.reconnect.succeeded(max_attempts);
            }
            live::Step::Fail(reason) => {
                self.outputs.push_back(Output::Close(close::POLICY));
                self.attempt_failed(None, reason.to_owned(), now);
            }
        }
    }

    /// Something that is no text message came (a ping, a pong): the hub lives.
    pub(super) fn handle_activity(&mut self, now: Instant) {
        self.live.heard(now);
    }

    /// Whether the shell has stopped reading, because its reader is behind. No
    /// time counts meanwhile: what is waited for may have come, unread.
    pub(super) fn set_paused(&mut self, paused: bool, now: Instant) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        if paused {
            return;
        }
        self.live.restart_deadlines(now);
        if let State::FetchingToken { deadline }
        | State::Dialling { deadline }
        | State::Authenticating { deadline } = &mut self.state
        {
            *deadline = now + STEP_TIMEOUT;
        }
    }

    /// The connection is gone, with the hub's close code where it sent one.
    pub(super) fn handle_closed(&mut self, code: Option<u16>, reason: String, now: Instant) {
        if matches!(self.state, State::Authenticating { .. } | State::Live) {
            self.attempt_failed(code, reason, now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        match self.state {
            State::Waiting { until, token } if until <= now => {
                if token {
                    self.dial(now);
                } else {
                    self.fetch_token(now);
                }
            }
            State::FetchingToken { deadline } if deadline <= now => {
                self.attempt_failed(
                    None,
                    "the token source gave no token in time".to_owned(),
                    now,
                );
            }
            State::Dialling { deadline } if deadline <= now => {
                self.outputs.push_back(Output::Close(close::NORMAL));
                self.attempt_failed(
                    None,
                    "the hub did not take the connection in time".to_owned(),
                    now,
                );
            }
            State::Authenticating { deadline } if deadline <= now => {
                self.outputs.push_back(Output::Close(close::NORMAL));
                self.attempt_failed(None, "the hub did not answer auth in time".to_owned(), now);
            }
            State::Live => {
                if let live::Step::Fail(reason) = self.live.handle_timeout(now, &mut self.outputs) {
                    self.outputs.push_back(Output::Close(close::NORMAL));
                    self.attempt_failed(None, reason.to_owned(), now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            _ if self.paused => None,
            State::Waiting { until, .. } => Some(until),
            State::FetchingToken { deadline }
            | State::Dialling { deadline }
            | State::Authenticating { deadline } => Some(deadline),
            State::Live => self.live.poll_timeout(),
            State::Stopped | State::Closed => None,
        }
    }

    fn fetch_token(&mut self, now: Instant) {
        self.state = State::FetchingToken {
            deadline: now + STEP_TIMEOUT,
        };
        self.outputs.push_back(Output::FetchToken);
    }

    fn dial(&mut self, now: Instant) {
        self.state = State::Dialling {
            deadline: now + STEP_TIMEOUT,
        };
        self.outputs.push_back(Output::Dial);
    }

    /// A connection was lost or could not be made.
    fn attempt_failed(&mut self, code: Option<u16>, reason: String, now: Instant) {
        if code == Some(close::UNAUTHORIZED)
            && let Some(token) = self.token.take()
        {
            self.refused = Some((token, reason.clone()));
            self.outputs.push_back(Output::Update(Update::Disconnected {
                code,
                reason,
                retry_in: None,
            }));
            self.fetch_token(now);
            return;
        }
        let delay = self.reconnect.next_delay();
        self.outputs.push_back(Output::Update(Update::Disconnected {
            code,
            reason,
            retry_in: delay,
        }));
        match delay {
            Some(delay) => {
                self.state = State::Waiting {
                    until: now + delay,
                    token: false,
                }
            }
            None => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.state = State::Stopped;
        self.outputs.push_back(Output::Update(Update::GaveUp {
            attempts: self.reconnect.attempts(),
        }));
    }

    fn send(&mut self, message: &ClientMessage) {
        self.outputs.push_back(Output::Send(text(message)));
    }
}

fn text(message: &ClientMessage) -> String {
    serde_json::to_string(message).expect("strings and numbers always serialise")
}

#[cfg(test)]
mod tests;
