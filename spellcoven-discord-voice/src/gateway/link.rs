//! The connection to one voice server, from VOICE_SERVER_UPDATE to the next: connecting, identifying, resuming,
//! heartbeats.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;

use super::{
    CloseReaction, Incoming, Ready,
    backoff::Backoff,
    close::{CLOSE_END_SESSION, CLOSE_KEEP_SESSION},
    heartbeat::{Heartbeat, Pulse},
    incoming::{parse_binary, parse_text},
    outgoing::{self, Access},
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

/// What comes out.
#[derive(Debug)]
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

#[derive(Debug)]
enum Waiting {
    Text(String),
    Binary(Vec<u8>),
    /// Op 5, of which only the last says anything.
    Speaking(String),
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
    /// A close code that blames the client has come.
    refused: bool,
    /// 4015 has come.
    crashed: bool,
    was_healthy: bool,
    backoff: Backoff,
    last_code: Option<u16>,
    waiting: VecDeque<Waiting>,
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

    /// Sends a message, now or after the resume.
    pub(crate) fn send(&mut self, text: String, now: Instant) {
        match self.phase {
            Phase::Active { .. } => self.out.push_back(Output::Text { id: self.id, text }),
            _ => self.wait(Waiting::Text(text), now),
        }
    }

    /// Sends op 5. Of several that wait for a resume only the last is sent.
    pub(crate) fn send_speaking(&mut self, ssrc: u32, speaking: u32, now: Instant) {
        let text = outgoing::speaking(ssrc, speaking);
        if self.is_active() {
            return self.send(text, now);
        }
        self.waiting
            .retain(|message| !matches!(message, Waiting::Speaking(_)));
        self.wait(Waiting::Speaking(text), now);
    }

    /// Sends a JSON message of this opcode.
    pub(crate) fn send_json(&mut self, op: u8, d: &Value, now: Instant) {
        self.send(outgoing::message(op, d), now);
    }

    /// Sends a binary message: opcode, then payload.
    pub(crate) fn send_binary(&mut self, op: u8, payload: &[u8], now: Instant) {
        let mut bytes = Vec::with_capacity(payload.len() + 1);
        bytes.push(op);
        bytes.extend_from_slice(payload);
        match self.phase {
            Phase::Active { .. } => self.out.push_back(Output::Binary { id: self.id, bytes }),
            _ => self.wait(Waiting::Binary(bytes), now),
        }
    }

    fn wait(&mut self, message: Waiting, now: Instant) {
        if !self.is_resuming() {
            return;
        }
        if self.waiting.len() >= WAITING {
            self.resumable = false;
            self.waiting.clear();
            if let Phase::Opening { .. } | Phase::Waiting { .. } = self.phase {
                // It will identify.
                return;
            }
            self.close(CLOSE_KEEP_SESSION);
            self.retry(now);
            return;
        }
        self.waiting.push_back(message);
    }

    pub(crate) fn opened(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        let until = now + HANDSHAKE;
        self.hello_by = Some(until);
        let text = if self.resumable {
            self.phase = Phase::Resuming { until };
            outgoing::resume(&self.access, self.seq)
        } else {
            self.phase = Phase::Identifying { until };
            self.seq = None;
            self.waiting.clear();
            self.out.push_back(Output::Identifying);
            outgoing::identify(&self.access)
        };
        self.out.push_back(Output::Text { id: self.id, text });
    }

    pub(crate) fn open_failed(&mut self, why: &str, now: Instant) {
        if matches!(self.phase, Phase::Opening { .. }) {
            self.failed(why, now);
        }
    }

    pub(crate) fn text(&mut self, text: &str, now: Instant) {
        if !self.is_connected() {
            return;
        }
        match parse_text(text) {
            Err(what) => self.out.push_back(Output::Malformed { what }),
            Ok((incoming, seq)) => {
                self.seq = seq.or(self.seq);
                self.message(incoming, now);
            }
        }
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        if !self.is_connected() {
            return;
        }
        match parse_binary(bytes) {
            Err(what) => self.out.push_back(Output::Malformed { what }),
            Ok((seq, op, payload)) => {
                self.seq = Some(seq.into());
                let payload = Bytes::copy_from_slice(payload);
                self.out.push_back(Output::Dave { op, payload });
            }
        }
    }

    fn message(&mut self, incoming: Incoming, now: Instant) {
        match incoming {
            Incoming::Hello { interval } => {
                let jitter = self.rng.f64();
                self.hello_by = None;
                self.heart = Some(Heartbeat::new(interval, jitter, now));
            }
            Incoming::Heartbeat => self.beat(now),
            Incoming::HeartbeatAck { t } => {
                if let Some(heart) = &mut self.heart {
                    heart.acked(t, now);
                    self.round_trip = heart.round_trip().or(self.round_trip);
                }
            }
            Incoming::Ready(ready) => {
                if matches!(self.phase, Phase::Identifying { .. }) {
                    self.resumable = true;
                    self.unanswered_resumes = 0;
                    self.phase = Phase::Active { since: now };
                    self.out.push_back(Output::Ready(ready));
                }
            }
            Incoming::Resumed => {
                if matches!(self.phase, Phase::Resuming { .. }) {
                    self.unanswered_resumes = 0;
                    self.phase = Phase::Active { since: now };
                    self.out.push_back(Output::Resumed);
                    self.flush();
                }
            }
            other => self.out.push_back(Output::Message(other)),
        }
    }

    fn flush(&mut self) {
        let id = self.id;
        for message in self.waiting.drain(..) {
            self.out.push_back(match message {
                Waiting::Text(text) | Waiting::Speaking(text) => Output::Text { id, text },
                Waiting::Binary(bytes) => Output::Binary { id, bytes },
            });
        }
    }

    pub(crate) fn closed(&mut self, code: Option<u16>, now: Instant) {
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Ended) {
            return;
        }
        self.last_code = code;
        let reaction = CloseReaction::to(code);
        let verdict = match reaction {
            CloseReaction::Resume => None,
            CloseReaction::NewServer => {
                if !std::mem::replace(&mut self.crashed, true) {
                    self.identifies = 0;
                }
                None
            }
            CloseReaction::Identify => {
                self.resumable = false;
                None
            }
            CloseReaction::IdentifyOnce if !self.refused => {
                self.refused = true;
                self.resumable = false;
                None
            }
            CloseReaction::IdentifyOnce | CloseReaction::GiveUp => Some(Verdict::GiveUp),
            CloseReaction::WaitForSignal => Some(Verdict::WaitForSignal),
            CloseReaction::Rejoin => Some(Verdict::Rejoin),
        };
        self.note_uptime(now);
        match verdict {
            Some(verdict) => self.end(verdict),
            None => {
                self.out.push_back(Output::Lost { code, reaction });
                self.retry(now);
            }
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Waiting { until } if now >= until => return self.open(now),
            Phase::Opening { until } if now >= until => {
                self.close(CLOSE_KEEP_SESSION);
                return self.failed("no connection within 10 s", now);
            }
            Phase::Identifying { until } | Phase::Resuming { until } if now >= until => {
                self.close(CLOSE_KEEP_SESSION);
                return self.failed("no answer to Identify or Resume within 10 s", now);
            }
            _ => {}
        }
        if self.hello_by.is_some_and(|until| now >= until) {
            self.close(CLOSE_KEEP_SESSION);
            return self.failed("no Hello within 10 s", now);
        }
        match self.heart.as_mut().map(|heart| heart.pulse(now)) {
            Some(Pulse::Beat) => self.beat(now),
            Some(Pulse::Dead) => {
                self.note_uptime(now);
                self.close(CLOSE_KEEP_SESSION);
                self.out.push_back(Output::MissedAck);
                self.retry(now);
            }
            Some(Pulse::Quiet) | None => {}
        }
    }

    /// Begins a fresh session on the same server, because something outside this machine failed.
    pub(crate) fn identify_again(&mut self, now: Instant) {
        self.resumable = false;
        if !matches!(self.phase, Phase::Waiting { .. } | Phase::Ended) {
            self.note_uptime(now);
            self.close(CLOSE_KEEP_SESSION);
        }
        self.retry(now);
    }

    /// Ends the session for good.
    pub(crate) fn leave(&mut self) {
        if !matches!(self.phase, Phase::Waiting { .. } | Phase::Ended) {
            self.close(CLOSE_END_SESSION);
        }
        self.phase = Phase::Ended;
        self.heart = None;
        self.hello_by = None;
    }

    fn open(&mut self, now: Instant) {
        self.id += 1;
        self.heart = None;
        if !self.resumable {
            self.identifies += 1;
        }
        self.phase = Phase::Opening {
            until: now + HANDSHAKE,
        };
        self.out.push_back(Output::Open {
            id: self.id,
            url: self.access.url(),
        });
    }

    fn failed(&mut self, why: &str, now: Instant) {
        self.out.push_back(Output::Failed {
            why: why.to_owned(),
        });
        self.last_code = None;
        self.retry(now);
    }

    /// Waits for the next attempt, or ends where there were enough.
    fn retry(&mut self, now: Instant) {
        self.heart = None;
        self.hello_by = None;
        if self.resumable {
            if !matches!(self.phase, Phase::Active { .. }) {
                self.unanswered_resumes += 1;
            }
            let enough = if self.crashed { 1 } else { RESUMES };
            self.resumable = self.unanswered_resumes < enough;
        }
        let limit = if self.crashed {
            IDENTIFIES_AFTER_CRASH
        } else {
            IDENTIFIES
        };
        if !self.resumable && self.identifies >= limit {
            return self.end(if self.crashed {
                Verdict::NewServer
            } else {
                Verdict::Rejoin
            });
        }
        self.phase = Phase::Waiting {
            until: now + self.backoff.next(&mut self.rng),
        };
    }

    fn end(&mut self, verdict: Verdict) {
        self.heart = None;
        self.hello_by = None;
        self.phase = Phase::Ended;
        self.out.push_back(Output::Ended {
            code: self.last_code,
            verdict,
        });
    }

    fn close(&mut self, code: u16) {
        self.out.push_back(Output::Close { id: self.id, code });
    }

    fn beat(&mut self, now: Instant) {
        let Some(heart) = &mut self.heart else {
            return;
        };
        // Milliseconds since the start fit into 53 bits for as long as anyone may wait, and say nothing of this host.
        let elapsed = now.saturating_duration_since(self.start).as_millis();
        let t = u64::try_from(elapsed)
            .unwrap_or(u64::MAX)
            .max(self.last_t + 1);
        self.last_t = t;
        heart.sent(t, now);
        let text = outgoing::heartbeat(t, self.seq);
        self.out.push_back(Output::Text { id: self.id, text });
    }

    fn note_uptime(&mut self, now: Instant) {
        if self.is_healthy(now) {
            self.was_healthy = true;
            self.backoff.reset();
            self.identifies = 0;
            self.unanswered_resumes = 0;
            self.crashed &= self.last_code == Some(4015);
        }
    }

    fn is_connected(&self) -> bool {
        matches!(
            self.phase,
            Phase::Identifying { .. } | Phase::Resuming { .. } | Phase::Active { .. }
        )
    }
}
