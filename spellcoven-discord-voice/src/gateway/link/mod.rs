//! The connection to one voice server, from VOICE_SERVER_UPDATE to the next: connecting, identifying, resuming,
//! heartbeats.

mod course;
mod input;
mod send;

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    CloseReaction, Incoming, Ready, backoff::Backoff, heartbeat::Heartbeat, outgoing::Access,
};

/// For opening the connection, and again for Ready or Resumed to come.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection that held for so long was healthy: backoff and counts start again.
const HEALTHY: Duration = Duration::from_secs(30);
/// After so many resumes in a row without an answer, identify.
const RESUMES: u32 = 3;
/// So many identifies for one VOICE_SERVER_UPDATE.
const IDENTIFIES: u32 = 5;
/// The same after 4015.
const IDENTIFIES_AFTER_CRASH: u32 = 2;
/// So many messages of ours may wait for a resume. Above it the session is given up for a fresh one, because the
/// server would miss some.
const WAITING: usize = 64;

/// What comes out. Its Debug leaves out what is sent: an Identify has the call's token.
pub(crate) enum Output {
    /// Open a WebSocket.
    Open { id: u64, url: String },
    /// Send text.
    Text { id: u64, text: String },
    /// Send bytes.
    Binary { id: u64, bytes: Vec<u8> },
    /// Close it.
    Close { id: u64, code: u16 },
    /// It ended, and this machine mends it.
    Lost {
        code: Option<u16>,
        reaction: CloseReaction,
    },
    /// It could not be opened, or nothing came in time; this machine goes on trying.
    Failed { why: String },
    /// An ack is missing; this machine mends it.
    MissedAck,
    /// The old session is over: Identify was sent, and everything begins anew.
    Identifying,
    /// The answer to Identify.
    Ready(Ready),
    /// The session goes on, on a new connection.
    Resumed,
    /// Anything else that is said.
    Message(Incoming),
    /// A DAVE message in a binary frame.
    Dave { op: u8, payload: Bytes },
    /// Something that cannot be read was ignored.
    Malformed { what: &'static str },
    /// This machine is done; the caller decides what follows.
    Ended { code: Option<u16>, verdict: Verdict },
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait 10 s for a VOICE_STATE_UPDATE.
    WaitForSignal,
    /// Leave and join again.
    Rejoin,
    /// Wait for a VOICE_SERVER_UPDATE.
    NewServer,
    /// Give up; the close code says why.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting { until: Instant },
    Opening { until: Instant },
    Identifying { until: Instant },
    Resuming { until: Instant },
    Active { since: Instant },
    Ended,
}

enum Waiting {
    Text(String),
    Binary(Vec<u8>),
    /// Op 5, of which only the last says anything.
    Speaking(String),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { id, url } => write!(f, "Open {{ id: {id}, url: {url:?} }}"),
            Self::Text { id, text } => write!(f, "Text {{ id: {id}, {} bytes }}", text.len()),
            Self::Binary { id, bytes } => write!(f, "Binary {{ id: {id}, {} bytes }}", bytes.len()),
            Self::Close { id, code } => write!(f, "Close {{ id: {id}, code: {code} }}"),
            Self::Lost { code, reaction } => {
                write!(f, "Lost {{ code: {code:?}, reaction: {reaction:?} }}")
            }
            Self::Failed { why } => write!(f, "Failed {{ why: {why:?} }}"),
            Self::MissedAck => f.write_str("MissedAck"),
            Self::Identifying => f.write_str("Identifying"),
            Self::Ready(ready) => write!(f, "{ready:?}"),
            Self::Resumed => f.write_str("Resumed"),
            Self::Message(message) => write!(f, "Message({message:?})"),
            Self::Dave { op, payload } => {
                write!(f, "Dave {{ op: {op}, {} bytes }}", payload.len())
            }
            Self::Malformed { what } => write!(f, "Malformed {{ what: {what:?} }}"),
            Self::Ended { code, verdict } => {
                write!(f, "Ended {{ code: {code:?}, verdict: {verdict:?} }}")
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, length) = match self {
            Self::Text(text) => ("Text", text.len()),
            Self::Binary(bytes) => ("Binary", bytes.len()),
            Self::Speaking(text) => ("Speaking", text.len()),
        };
        write!(f, "{name} of {length} bytes")
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct VoiceGateway {
    access: Access,
    rng: fastrand::Rng,
    start: Instant,
    phase: Phase,
    id: u64,
    heart: Option<Heartbeat>,
    /// Until when Hello must have come on the connection at hand.
    hello_by: Option<Instant>,
    round_trip: Option<Duration>,
    last_t: u64,
    /// The last number seen, over JSON and binary messages; 0 is one, and it wraps, so it is never compared.
    seq: Option<u64>,
    /// Ready came, so the session can be resumed.
    resumable: bool,
    unanswered_resumes: u32,
    identifies: u32,
    /// A close code that blames the client has come, and there was no health since.
    refused: bool,
    /// 4015 has come.
    crashed: bool,
    was_healthy: bool,
    backoff: Backoff,
    last_code: Option<u16>,
    waiting: VecDeque<Waiting>,
    /// The last op 5 of this session.
    speaking: Option<String>,
    out: VecDeque<Output>,
}

impl VoiceGateway {
    /// Connects at once. `id` is that of the last link, so that none is used twice.
    pub(crate) fn new(access: Access, id: u64, rng: fastrand::Rng, now: Instant) -> Self {
        let mut gateway = Self {
            access,
            rng,
            start: now,
            phase: Phase::Ended,
            id,
            heart: None,
            hello_by: None,
            round_trip: None,
            last_t: 0,
            seq: None,
            resumable: false,
            unanswered_resumes: 0,
            identifies: 0,
            refused: false,
            crashed: false,
            was_healthy: false,
            backoff: Backoff::default(),
            last_code: None,
            waiting: VecDeque::new(),
            speaking: None,
            out: VecDeque::new(),
        };
        gateway.open(now);
        gateway
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Waiting { until }
            | Phase::Opening { until }
            | Phase::Identifying { until }
            | Phase::Resuming { until } => Some(until),
            Phase::Active { .. } => None,
            Phase::Ended => return None,
        };
        let beat = self.heart.as_ref().map(Heartbeat::next);
        [phase, beat, self.hello_by].into_iter().flatten().min()
    }

    /// The number of the last link.
    pub(crate) fn last_id(&self) -> u64 {
        self.id
    }

    /// The heartbeat's round trip, of this connection or the last one that had one.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// How many messages wait for a resume.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a lost connection is to be resumed, rather than begun anew.
    pub(crate) fn is_resuming(&self) -> bool {
        self.resumable && !matches!(self.phase, Phase::Active { .. } | Phase::Ended)
    }

    /// Whether Ready or Resumed has come on the connection at hand.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active { .. })
    }

    /// Whether any connection to this server was healthy for 30 s.
    pub(crate) fn was_healthy(&self, now: Instant) -> bool {
        self.was_healthy || self.is_healthy(now)
    }

    fn is_healthy(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Active { since } if now.saturating_duration_since(since) >= HEALTHY)
    }
}
