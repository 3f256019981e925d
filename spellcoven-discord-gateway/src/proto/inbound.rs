//! What to do with each message that arrives.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{
    Output, Phase, Protocol, ResumeRecord, Session, SessionState,
    backoff::between,
    envelope::{Envelope, op},
    identify,
};
use crate::{
    Event, EventKind, GatewayEvent,
    event::{Ready, guild_of},
};

/// After Invalid Session a client waits "a random amount of time between 1 and
/// 5 seconds". That stood in Discord's documentation until 2022; it spreads
/// reconnects.
const INVALID_MIN: Duration = Duration::from_secs(1);
const INVALID_IDENTIFY_MAX: Duration = Duration::from_secs(5);

/// Where a session was refused (not an identify), the draw ends at 3 s, so
/// that a refused resume and the identify after it fit into 5 s together.
const INVALID_RESUME_MAX: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Hello {
    heartbeat_interval: u64,
}

impl Protocol {
    /// A text message has arrived; it is JSON, whatever compression was asked
    /// for.
    pub fn handle_message(&mut self, message: impl AsRef<[u8]>, now: Instant) {
        if !self.is_connected() {
            return;
        }
        if let Some(heart) = &mut self.heart {
            heart.on_frame(now);
        }
        self.take(message.as_ref(), now);
    }

    /// A binary message has arrived: with transport compression the next part
    /// of the stream, which completes a payload or does not; without, JSON.
    ///
    /// A message that cannot be inflated, or would be larger than
    /// [`ProtocolConfig::max_message_size`](super::ProtocolConfig::max_message_size),
    /// ends the connection, and the session is resumed on another one with a
    /// fresh stream.
    pub fn handle_binary(&mut self, message: impl AsRef<[u8]>, now: Instant) {
        if !self.is_connected() {
            return;
        }
        if let Some(heart) = &mut self.heart {
            heart.on_frame(now);
        }
        match self.inflate.message(message.as_ref()) {
            Ok(Some(payload)) => {
                self.take(&payload, now);
                self.inflate.give_back(payload);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(reason = error.describe(), "cannot inflate: closing");
                self.stats.malformed += 1;
                self.abandon(Duration::ZERO, now);
            }
        }
    }

    fn take(&mut self, message: &[u8], now: Instant) {
        let envelope = match Envelope::parse(message) {
            Ok(envelope) => envelope,
            Err(error) => return self.malformed("message", &error, now),
        };
        match envelope.op {
            op::DISPATCH => self.dispatch(&envelope, now),
            op::HEARTBEAT => self.beat_now(now),
            op::RECONNECT => {
                tracing::info!("Discord asks to reconnect");
                self.stats.reconnect_requests += 1;
                self.abandon(Duration::ZERO, now);
            }
            op::INVALID_SESSION => self.invalid_session(envelope.data() == "true", now),
            op::HELLO => self.hello(&envelope, now),
            op::HEARTBEAT_ACK => {
                if let Some(heart) = &mut self.heart {
                    heart.on_ack(now);
                }
            }
            other => {
                tracing::debug!(op = other, "unknown opcode");
                self.stats.unknown_ops += 1;
            }
        }
    }

    fn hello(&mut self, envelope: &Envelope<'_>, now: Instant) {
        let Phase::AwaitHello { .. } = self.phase else {
            self.stats.unexpected += 1;
            return;
        };
        let hello: Hello = match serde_json::from_str(envelope.data()) {
            Ok(hello) => hello,
            Err(error) => return self.malformed("HELLO", &error, now),
        };
        self.begin_heartbeat(Duration::from_millis(hello.heartbeat_interval), now);
        match &self.session {
            Some(session) => {
                let text = identify::resume(&self.config.token, &session.state);
                self.send(text, now);
                self.enter(Phase::Resuming {
                    deadline: now + self.config.ready_timeout,
                });
            }
            None => {
                self.enter(Phase::AwaitSlot);
                self.outputs.push_back(Output::RequestIdentify);
            }
        }
    }

    /// The server asks for a heartbeat: at once, the schedule stays.
    fn beat_now(&mut self, now: Instant) {
        // Asked more often than the limit allows, a client that answered would
        // be cut for answering.
        if self.limit.exhausted(now) {
            self.stats.unexpected += 1;
            return;
        }
        if let Some(heart) = &mut self.heart {
            heart.on_beat(now);
        }
        let seq = self.session.as_ref().map(|session| session.state.seq);
        self.send(identify::heartbeat(seq), now);
    }

    fn invalid_session(&mut self, resumable: bool, now: Instant) {
        self.stats.invalid_sessions += 1;
        let identifying = matches!(self.phase, Phase::Identifying { .. });
        tracing::info!(resumable, identifying, "Discord calls the session invalid");
        let max = if identifying {
            INVALID_IDENTIFY_MAX
        } else {
            INVALID_RESUME_MAX
        };
        let wait = between(&mut self.rng, INVALID_MIN, max);
        if !resumable {
            self.drop_session();
        }
        self.abandon(wait, now);
    }

    fn dispatch(&mut self, envelope: &Envelope<'_>, now: Instant) {
        let kind = EventKind::from_name(envelope.name());
        tracing::debug!(event = envelope.name(), seq = envelope.s, "event");
        match (self.phase, kind) {
            (Phase::Identifying { .. } | Phase::Resuming { .. }, Some(EventKind::Ready)) => {
                self.ready(envelope, now);
            }
            (Phase::Resuming { .. }, Some(EventKind::Resumed)) => {
                self.stats.resumes += 1;
                self.resumes = ResumeRecord::default();
                self.deliver(envelope, kind, now);
                self.activate(now);
            }
            (Phase::Resuming { .. } | Phase::Active { .. }, _) => {
                self.deliver(envelope, kind, now);
            }
            _ => self.stats.unexpected += 1,
        }
    }

    fn ready(&mut self, envelope: &Envelope<'_>, now: Instant) {
        let ready = match Ready::parse(envelope.data()) {
            Ok(ready) => ready,
            Err(error) => return self.malformed("READY", &error, now),
        };
        let seq = envelope.s.unwrap_or_default();
        self.resumes = ResumeRecord::default();
        self.renewals.begin();
        self.session = Some(Session {
            state: SessionState {
                session_id: ready.session_id.clone(),
                resume_url: ready.resume_gateway_url.clone(),
                seq,
            },
            since: now,
        });
        let event = Event::Ready(Box::new(ready));
        self.outputs
            .push_back(Output::Dispatch(GatewayEvent { seq, event }));
        self.activate(now);
    }

    fn activate(&mut self, now: Instant) {
        self.enter(Phase::Active { since: now });
        self.pump_commands(now);
    }

    fn deliver(&mut self, envelope: &Envelope<'_>, kind: Option<EventKind>, now: Instant) {
        let Some(session) = &mut self.session else {
            self.stats.unexpected += 1;
            return;
        };
        let seq = envelope.s.unwrap_or(session.state.seq);
        session.state.seq = session.state.seq.max(seq);
        let name = envelope.name();
        let wanted = &self.config.wanted;
        let event = match kind.filter(|kind| wanted.wants(*kind)) {
            Some(kind) => match Event::parse(kind, envelope.data()) {
                Ok(event) => event,
                Err(error) => {
                    self.stats.undecodable += 1;
                    let reason = describe(&error);
                    tracing::warn!(event = name, reason, "an event cannot be read");
                    if kind.is_state() {
                        self.schedule_resync(now);
                    }
                    Event::Undecodable {
                        name: name.into(),
                        guild_id: guild_of(kind, envelope.data()),
                        reason: reason.into(),
                    }
                }
            },
            None if wanted.wants_raw(name) => Event::Raw {
                name: name.into(),
                json: envelope.data().into(),
            },
            None => {
                self.stats.skipped_events += 1;
                return;
            }
        };
        self.outputs
            .push_back(Output::Dispatch(GatewayEvent { seq, event }));
    }

    fn malformed(&mut self, what: &'static str, error: &serde_json::Error, now: Instant) {
        tracing::warn!(what, reason = describe(error), "malformed: closing");
        self.stats.malformed += 1;
        self.abandon(Duration::ZERO, now);
    }
}

/// Where and how, but no content: serde's own text may quote a secret.
fn describe(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}
