//! What is sent, and what waits for a resume.

use std::time::Instant;

use serde_json::Value;

use super::{Output, Phase, VoiceGateway, WAITING, Waiting};
use crate::gateway::{close::CLOSE_KEEP_SESSION, outgoing};

impl VoiceGateway {
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
        self.speaking = Some(text.clone());
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

    pub(super) fn wait(&mut self, message: Waiting, now: Instant) {
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

    /// Op 5 may have been lost with the link, and without one the server forwards no audio.
    pub(super) fn repeat_speaking(&mut self) {
        let waits = |message: &Waiting| matches!(message, Waiting::Speaking(_));
        if !self.waiting.iter().any(waits)
            && let Some(text) = self.speaking.clone()
        {
            self.out.push_back(Output::Text { id: self.id, text });
        }
    }

    pub(super) fn flush(&mut self) {
        let id = self.id;
        for message in self.waiting.drain(..) {
            self.out.push_back(match message {
                Waiting::Text(text) | Waiting::Speaking(text) => Output::Text { id, text },
                Waiting::Binary(bytes) => Output::Binary { id, bytes },
            });
        }
    }

    pub(super) fn beat(&mut self, now: Instant) {
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
}
