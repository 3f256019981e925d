//! The Gateway's protocol as a state machine: messages and the time go in;
//! payloads, events and the next wake-up come out. No I/O and no clock.

mod backoff;
mod close;
mod command;
mod config;
mod envelope;
mod heartbeat;
mod identify;
mod inbound;
mod inflate;
mod lifecycle;
mod send_limit;
mod session;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::{
    backoff::{Backoff, Renewals},
    heartbeat::Heartbeat,
    inflate::Inflate,
    send_limit::{SendLimit, Sent},
};
pub use self::{
    close::{CLOSE_END_SESSION, CLOSE_KEEP_SESSION, Reaction, reaction},
    command::{Command, PresenceStatus},
    config::{Compression, DEFAULT_GATEWAY_URL, Payload, ProtocolConfig},
    session::SessionState,
};
use crate::{CommandError, GatewayError, GatewayEvent};

/// One shard's connection to the Gateway, over its whole life.
///
/// Call one `handle_*` method (or [`pause_reading`](Self::pause_reading),
/// [`resume_reading`](Self::resume_reading),
/// [`identify_granted`](Self::identify_granted),
/// [`request_shutdown`](Self::request_shutdown)), then
/// [`poll_output`](Self::poll_output) until it gives `None`, then wait for the
/// next input or for [`poll_timeout`](Self::poll_timeout), whichever comes
/// first. Instants must not go backwards.
///
/// Source of all rules: Discord documentation, "Gateway" and "Gateway Events",
/// version 10.
#[derive(Debug)]
pub struct Protocol {
    config: ProtocolConfig,
    rng: fastrand::Rng,
    phase: Phase,
    inflate: Inflate,
    outputs: VecDeque<Output>,
    heart: Option<Heartbeat>,
    limit: SendLimit,
    commands: VecDeque<String>,
    session: Option<Session>,
    resumes: ResumeRecord,
    backoff: Backoff,
    renewals: Renewals,
    at_resume_url: bool,
    paused_since: Option<Instant>,
    /// When the limit lets the next waiting command go.
    next_command_at: Option<Instant>,
    /// When a new session is begun because an event could not be read.
    resync_at: Option<Instant>,
    last_resync: Option<Instant>,
    /// How many commands per minute 4008 has cost.
    lowered_by: usize,
    connections: u64,
    stats: ProtocolStats,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Open a connection to this URL, then call
    /// [`Protocol::handle_connected`] or [`Protocol::handle_connect_failed`].
    Connect {
        /// The whole URL, query included.
        url: String,
    },
    /// Send this as one text message.
    Send(Payload),
    /// Close the connection with this code, or give up opening it; whatever it
    /// says later is of no interest, and `handle_closed` is not to be called.
    Close {
        /// 4000 or 1000.
        code: u16,
    },
    /// Ask the identify queue for a turn, then call
    /// [`Protocol::identify_granted`]. A [`Output::Close`], or the connection's
    /// end, withdraws this.
    RequestIdentify,
    /// The state has changed.
    State(ConnectionState),
    /// An event for the consumer, in order.
    Dispatch(GatewayEvent),
    /// It is over, and this is why. Nothing follows.
    Fatal(GatewayError),
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// No connection; waiting before the next attempt.
    Waiting,
    /// Opening a connection, or waiting for HELLO on it.
    Connecting,
    /// Connected, and waiting for the identify queue.
    AwaitingIdentify,
    /// Identify was sent, and READY has not come.
    Identifying,
    /// Resume was sent, and RESUMED has not come.
    Resuming,
    /// Events flow.
    Active,
    /// Shut down on request.
    Stopped,
    /// Discord refused for good.
    Failed,
}

/// Counters over the life of a shard. All only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProtocolStats {
    /// Connections that were begun after the first.
    pub reconnects: u64,
    /// Identify payloads sent.
    pub identifies: u64,
    /// Resumes that RESUMED answered.
    pub resumes: u64,
    /// Invalid Session received (op 9).
    pub invalid_sessions: u64,
    /// Reconnect received (op 7).
    pub reconnect_requests: u64,
    /// Connections given up for missing acks.
    pub zombies: u64,
    /// Beats that were due while an ack was missing and frames arrived.
    pub late_acks: u64,
    /// Connections given up because HELLO, READY or RESUMED did not come.
    pub timeouts: u64,
    /// Messages that were no JSON object of the Gateway, or could not be
    /// inflated.
    pub malformed: u64,
    /// Opcodes that mean nothing to this crate.
    pub unknown_ops: u64,
    /// Events whose name means nothing to this crate, or that nobody wants.
    pub skipped_events: u64,
    /// Events that came where none may, before READY say.
    pub unexpected: u64,
    /// Wanted events whose payload could not be read.
    pub undecodable: u64,
    /// Sessions given up for it: see [`ProtocolConfig::resync_interval`].
    pub resyncs: u64,
    /// The last close code that Discord sent.
    pub last_close_code: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting {
        until: Instant,
    },
    Connecting {
        deadline: Instant,
    },
    AwaitHello {
        deadline: Instant,
    },
    AwaitSlot,
    Identifying {
        deadline: Instant,
        patience: Instant,
    },
    Resuming {
        deadline: Instant,
    },
    Active {
        since: Instant,
    },
    Stopped,
    Failed,
}

#[derive(Debug)]
struct Session {
    state: SessionState,
    /// When READY came, or when a stored session was taken up.
    since: Instant,
}

/// What befell the attempts to resume the session at hand.
#[derive(Debug, Default)]
struct ResumeRecord {
    /// Resumes in a row that ended without RESUMED.
    unanswered: u32,
    /// Failures in a row at the session's own URL.
    url_failures: u32,
    /// One more unanswered resume ends the session.
    last_chance: bool,
}

impl Protocol {
    /// A state machine that wants to connect at once.
    pub fn new(config: ProtocolConfig, now: Instant) -> Self {
        let rng = config
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let session = config
            .session
            .clone()
            .map(|state| Session { state, since: now });
        let mut protocol = Self {
            rng,
            phase: Phase::Waiting { until: now },
            inflate: Inflate::new(config.compression, config.max_message_size),
            outputs: VecDeque::new(),
            heart: None,
            limit: SendLimit::new(Duration::from_secs(60), 0),
            commands: VecDeque::new(),
            session,
            resumes: ResumeRecord::default(),
            backoff: Backoff::default(),
            renewals: Renewals::default(),
            at_resume_url: false,
            paused_since: None,
            next_command_at: None,
            resync_at: None,
            last_resync: None,
            lowered_by: 0,
            connections: 0,
            stats: ProtocolStats::default(),
            config,
        };
        match protocol.config.fault() {
            Some(fault) => protocol.fail(fault),
            None => {
                // The first attempt counts, so that a second one waits.
                let _ = protocol.backoff.next(&mut protocol.rng);
                protocol.connect(now);
            }
        }
        protocol
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    /// `None` only after the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reading = self.paused_since.is_none();
        let phase = match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Connecting { deadline } => Some(deadline),
            Phase::AwaitHello { deadline }
            | Phase::Identifying { deadline, .. }
            | Phase::Resuming { deadline } => reading.then_some(deadline),
            Phase::Active { .. } => self.resync_at,
            Phase::AwaitSlot => None,
            Phase::Stopped | Phase::Failed => return None,
        };
        let beat = self.heart.as_ref().map(Heartbeat::next_beat);
        let watchdog = self
            .heart
            .as_ref()
            .and_then(Heartbeat::watchdog)
            .filter(|_| reading);
        [phase, beat, watchdog, self.next_command_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes a command; it is sent when the session is active and the limit
    /// allows it.
    ///
    /// # Errors
    ///
    /// See [`CommandError`]; nothing is sent then.
    pub fn handle_command(&mut self, command: &Command, now: Instant) -> Result<(), CommandError> {
        if self.is_finished() {
            return Err(CommandError::Closed);
        }
        let text = command.encode()?;
        if !self.wants_command() {
            return Err(CommandError::QueueFull);
        }
        self.commands.push_back(text);
        self.pump_commands(now);
        Ok(())
    }

    /// Whether there is room for another command.
    pub fn wants_command(&self) -> bool {
        self.commands.len() < self.config.command_queue
    }

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Waiting { .. } => ConnectionState::Waiting,
            Phase::Connecting { .. } | Phase::AwaitHello { .. } => ConnectionState::Connecting,
            Phase::AwaitSlot => ConnectionState::AwaitingIdentify,
            Phase::Identifying { .. } => ConnectionState::Identifying,
            Phase::Resuming { .. } => ConnectionState::Resuming,
            Phase::Active { .. } => ConnectionState::Active,
            Phase::Stopped => ConnectionState::Stopped,
            Phase::Failed => ConnectionState::Failed,
        }
    }

    /// Whether it is over, on request or for good.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Stopped | Phase::Failed)
    }

    /// The session, with the number of the last event that was received.
    pub fn session(&self) -> Option<&SessionState> {
        self.session.as_ref().map(|session| &session.state)
    }

    /// When the session began, or was taken up from storage.
    pub fn session_since(&self) -> Option<Instant> {
        self.session.as_ref().map(|session| session.since)
    }

    /// The time from the last heartbeat to its ack on this connection.
    pub fn heartbeat_latency(&self) -> Option<Duration> {
        self.heart.as_ref().and_then(Heartbeat::latency)
    }

    /// The counters.
    pub fn stats(&self) -> ProtocolStats {
        self.stats
    }

    fn send(&mut self, text: String, now: Instant) {
        self.send_as(Sent::Other, text, now);
    }

    fn send_as(&mut self, sent: Sent, text: String, now: Instant) {
        self.limit.record(sent, now);
        self.outputs.push_back(Output::Send(Payload::new(text)));
    }

    fn enter(&mut self, phase: Phase) {
        let before = self.state();
        self.phase = phase;
        let state = self.state();
        if state != before {
            self.outputs.push_back(Output::State(state));
        }
    }

    fn fail(&mut self, error: GatewayError) {
        tracing::error!(%error, "the shard stops for good");
        self.heart = None;
        self.session = None;
        self.commands.clear();
        self.enter(Phase::Failed);
        self.outputs.push_back(Output::Fatal(error));
    }
}
