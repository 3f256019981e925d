//! Connecting, giving up, trying again.

use std::time::{Duration, Instant};

use super::{
    HANDSHAKE, IDENTIFIES, IDENTIFIES_AFTER_CRASH, Output, Phase, RESUMES, Verdict, VoiceGateway,
};
use crate::gateway::{
    close::{CLOSE_END_SESSION, CLOSE_KEEP_SESSION},
    heartbeat::Pulse,
};

/// How long the end of a session may be on its way.
const GOODBYE: Duration = Duration::from_millis(250);

impl VoiceGateway {
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

    /// Begins a fresh session on the same server, because something outside this machine failed. The old one has to end
    /// first: an Identify while it lives is answered with 4006 (observed).
    pub(crate) fn identify_again(&mut self, now: Instant) {
        self.resumable = false;
        if !matches!(self.phase, Phase::Waiting { .. } | Phase::Ended) {
            self.note_uptime(now);
            self.close(CLOSE_END_SESSION);
        }
        self.retry(now);
    }

    /// The same where nothing is wrong with the server: after just as long as the end of the old session needs to be
    /// there before.
    pub(crate) fn identify_soon(&mut self, now: Instant) {
        let works = self.is_active() && self.identifies < IDENTIFIES;
        self.identify_again(now);
        if works && let Phase::Waiting { until } = &mut self.phase {
            *until = (*until).min(now + GOODBYE);
        }
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

    pub(super) fn open(&mut self, now: Instant) {
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

    pub(super) fn failed(&mut self, why: &str, now: Instant) {
        self.out.push_back(Output::Failed {
            why: why.to_owned(),
        });
        self.last_code = None;
        self.retry(now);
    }

    /// Waits for the next attempt, or ends where there were enough.
    pub(super) fn retry(&mut self, now: Instant) {
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

    pub(super) fn end(&mut self, verdict: Verdict) {
        self.heart = None;
        self.hello_by = None;
        self.phase = Phase::Ended;
        self.out.push_back(Output::Ended {
            code: self.last_code,
            verdict,
        });
    }

    pub(super) fn close(&mut self, code: u16) {
        self.out.push_back(Output::Close { id: self.id, code });
    }

    pub(super) fn note_uptime(&mut self, now: Instant) {
        if self.is_healthy(now) {
            self.was_healthy = true;
            self.backoff.reset();
            self.identifies = 0;
            self.unanswered_resumes = 0;
            self.refused = false;
            self.crashed &= self.last_code == Some(4015);
        }
    }
}
