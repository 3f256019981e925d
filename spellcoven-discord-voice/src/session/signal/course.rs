//! What follows when nobody answers, and from the voice gateway's verdicts: rejoining, waiting, the end.

use std::time::Instant;

use super::{JOIN, Phase, REJOINS, SERVER, WORD};
use crate::session::{Action, CallError, ConnectError, EndReason, Session, VoiceEvent};

impl Session {
    pub(in crate::session) fn signal_timeout(&mut self, now: Instant) {
        if self.signal.send_again_at.is_some_and(|at| at <= now) {
            self.signal.send_again_at = None;
            self.actions
                .extend(self.signal.last_request.map(Action::Signal));
        }
        match self.signal.phase {
            Phase::Joining { until } if until <= now => self.join_timed_out(now),
            Phase::AwaitingState { until } if until <= now => {
                if self.config.rejoin && !self.signal.closed {
                    // The main gateway may be down; it will say so when it is back.
                    self.signal.phase = Phase::AwaitingServer { until: None };
                } else {
                    self.leave_channel(now);
                    self.end(EndReason::NoWord, ConnectError::Removed, now);
                }
            }
            Phase::AwaitingServer { until: Some(until) } if until <= now => self.rejoin(None, now),
            Phase::Leaving { until } if until <= now => {
                self.signal.phase = Phase::Idle;
                self.answer_leavers();
            }
            _ => {}
        }
        self.pending_timed_out(now);
    }

    fn join_timed_out(&mut self, now: Instant) {
        let let_in = self.signal.own.is_some();
        match &self.signal.pending {
            Some(pending) if let_in && pending.server_until > now => {
                self.signal.phase = Phase::Joining {
                    until: pending.server_until,
                };
                return;
            }
            None if let_in => {
                // A rejoin of our own: the server may take as long as after a `connect`.
                self.signal.phase = Phase::AwaitingServer {
                    until: Some(now + (SERVER - JOIN)),
                };
                return;
            }
            None if self.config.rejoin && !self.signal.closed => {
                // The main gateway may be down, and the request wait in its queue: it will be answered, or a new session
                // will be told.
                self.signal.phase = Phase::AwaitingServer { until: None };
                return;
            }
            _ => {}
        }
        self.leave_channel(now);
        let error = if let_in {
            ConnectError::NoServer
        } else {
            ConnectError::NoAnswer
        };
        self.end(EndReason::NoWord, error, now);
    }

    /// A `connect` that asked for another channel than the call's.
    fn pending_timed_out(&mut self, now: Instant) {
        let Some(pending) = &self.signal.pending else {
            return;
        };
        if self.signal.is_connecting_as_asked() {
            return;
        }
        if self.signal.is_in(pending.channel) {
            if pending.server_until <= now {
                self.leave_channel(now);
                self.end(EndReason::NoWord, ConnectError::NoServer, now);
            }
        } else if pending.until <= now {
            self.answer(Err(ConnectError::NoAnswer));
            self.signal.wanted = self.signal.own.as_ref().map(|own| own.channel);
            // If the server of the old channel changed meanwhile, it has waited for this.
            self.try_start(now);
        }
    }

    /// Leaves and joins again, for credentials that work.
    pub(in crate::session) fn rejoin(&mut self, code: Option<u16>, now: Instant) {
        let asked = self.signal.pending.as_ref().map(|pending| pending.channel);
        let own = self.signal.own.as_ref().map(|own| own.channel);
        let Some(channel) = asked.or(own).or(self.signal.wanted) else {
            return;
        };
        self.drop_connection(false, now);
        if self.signal.closed || self.signal.rejoins >= REJOINS {
            return self.fail(CallError::SessionRefused { code }, now);
        }
        self.signal.rejoins += 1;
        self.leave_channel(now);
        // The leaving waits for the main gateway as long as the joining behind it.
        self.signal.own_leaves_until = Some(now + JOIN);
        self.signal.own = None;
        self.signal.server = None;
        self.signal.phase = Phase::Joining { until: now + JOIN };
        if let Some(pending) = &mut self.signal.pending {
            pending.until = now + JOIN;
            pending.server_until = now + SERVER;
        }
        self.request(Some(channel));
    }

    /// 4014 or 4022: the main gateway will say what follows. If it has named a server already, that is what follows.
    pub(in crate::session) fn await_signal(&mut self, now: Instant) {
        self.drop_connection(false, now);
        self.signal.phase = Phase::AwaitingState { until: now + WORD };
        self.signal.server = self.signal.server.take().filter(|named| !named.used);
        self.try_start(now);
    }

    /// The server is gone for good: another one has to be named.
    pub(in crate::session) fn await_server(&mut self, now: Instant) {
        self.drop_connection(false, now);
        self.signal.phase = Phase::AwaitingServer {
            until: Some(now + SERVER),
        };
        self.signal.server = self.signal.server.take().filter(|named| !named.used);
        self.try_start(now);
    }

    /// It went wrong for good: leaves.
    pub(in crate::session) fn fail(&mut self, error: CallError, now: Instant) {
        tracing::warn!(%error, "the call failed");
        self.leave_channel(now);
        let answer = ConnectError::Failed(error.clone());
        self.end(EndReason::Failed(error), answer, now);
    }

    /// The call is over without `disconnect`.
    pub(super) fn end(&mut self, reason: EndReason, answer: ConnectError, now: Instant) {
        self.drop_call(now);
        self.signal.phase = Phase::Idle;
        self.signal.wanted = None;
        if self.signal.pending.is_some() {
            self.answer(Err(answer));
        } else {
            self.emit(VoiceEvent::Ended(reason));
        }
        self.answer_leavers();
    }

    pub(super) fn drop_call(&mut self, now: Instant) {
        self.drop_connection(true, now);
        self.signal.own = None;
        self.signal.server = None;
        self.signal.send_again_at = None;
        self.signal.phase = Phase::Idle;
    }
}
