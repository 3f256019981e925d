//! What the connection does and says.

use std::time::Instant;

use bytes::Bytes;

use super::{HANDSHAKE, Output, Phase, Verdict, VoiceGateway};
use crate::gateway::{
    CloseReaction, Incoming,
    heartbeat::Heartbeat,
    incoming::{parse_binary, parse_text},
    outgoing,
};

impl VoiceGateway {
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
            self.speaking = None;
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
                    self.repeat_speaking();
                    self.flush();
                }
            }
            other => self.out.push_back(Output::Message(other)),
        }
    }

    pub(crate) fn closed(&mut self, code: Option<u16>, now: Instant) {
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Ended) {
            return;
        }
        self.last_code = code;
        self.note_uptime(now);
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
        match verdict {
            Some(verdict) => self.end(verdict),
            None => {
                self.out.push_back(Output::Lost { code, reaction });
                self.retry(now);
            }
        }
    }

    fn is_connected(&self) -> bool {
        matches!(
            self.phase,
            Phase::Identifying { .. } | Phase::Resuming { .. } | Phase::Active { .. }
        )
    }
}
