//! Connecting, timing out, losing a connection and shutting down.

use std::time::{Duration, Instant};

use super::{
    CLOSE_END_SESSION, CLOSE_KEEP_SESSION, Output, Phase, Protocol, Reaction, ResumeRecord,
    SendLimit, Sent, backoff::between, config, heartbeat::Pulse, identify, reaction,
};
use crate::GatewayError;

/// After so many failures in a row at the resume URL the main URL is used.
const URL_FAILURES: u32 = 2;

/// After so many resumes in a row that nothing answered, the session is given
/// up. A broken session has met a reset on each resume for a minute and more
/// before Discord called it invalid (observed).
const UNANSWERED_RESUMES: u32 = 3;

/// How often READY's time-out may be granted while heartbeats are acked.
const PATIENCE: u32 = 5;

impl Protocol {
    /// The connection that [`Output::Connect`] asked for is open.
    pub fn handle_connected(&mut self, now: Instant) {
        if let Phase::Connecting { .. } = self.phase {
            self.enter(Phase::AwaitHello {
                deadline: now + self.config.hello_timeout,
            });
        }
    }

    /// The connection that [`Output::Connect`] asked for could not be opened.
    pub fn handle_connect_failed(&mut self, now: Instant) {
        if let Phase::Connecting { .. } = self.phase {
            tracing::info!("could not connect");
            self.lost(Duration::ZERO, now);
        }
    }

    /// The connection has ended, with the close code that Discord sent or
    /// without one.
    pub fn handle_closed(&mut self, code: Option<u16>, now: Instant) {
        if !self.is_connected() {
            return;
        }
        tracing::info!(code, "the connection has ended");
        if code.is_some() {
            self.stats.last_close_code = code;
        }
        match reaction(code) {
            Reaction::Resume => self.lost(Duration::ZERO, now),
            Reaction::ResumeOnce => {
                self.resumes.last_chance |= matches!(self.phase, Phase::Active { .. });
                self.lost(Duration::ZERO, now);
            }
            Reaction::ResumeSlower { min, max } => {
                self.lowered_by = (self.lowered_by + 10).min(60);
                let wait = between(&mut self.rng, min, max);
                self.lost(wait, now);
            }
            Reaction::Identify => {
                self.drop_session();
                self.lost(Duration::ZERO, now);
            }
            Reaction::Fatal => self.fail(self.fatal(code.unwrap_or_default())),
        }
    }

    /// The identify queue gave this shard its turn.
    pub fn identify_granted(&mut self, now: Instant) {
        if self.phase != Phase::AwaitSlot {
            return;
        }
        self.stats.identifies += 1;
        let text = identify::identify(&self.config.token, self.config.intents, self.config.shard);
        self.send(text, now);
        self.enter(Phase::Identifying {
            deadline: now + self.config.ready_timeout,
            patience: now + self.config.ready_timeout * PATIENCE,
        });
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.check_phase(now);
        self.check_resync(now);
        self.check_heart(now);
        self.pump_commands(now);
    }

    /// From now on the caller does not read the connection, because the
    /// consumer is slow. Heartbeats go on; nothing that would have to be read
    /// is missed.
    pub fn pause_reading(&mut self, now: Instant) {
        self.paused_since.get_or_insert(now);
    }

    /// The caller reads the connection again.
    pub fn resume_reading(&mut self, now: Instant) {
        let Some(since) = self.paused_since.take() else {
            return;
        };
        let paused = now.saturating_duration_since(since);
        match &mut self.phase {
            Phase::AwaitHello { deadline } | Phase::Resuming { deadline } => *deadline += paused,
            Phase::Identifying { deadline, patience } => {
                *deadline += paused;
                *patience += paused;
            }
            _ => {}
        }
        if let Some(heart) = &mut self.heart {
            heart.on_reading_again(now);
        }
    }

    /// Ends the shard. With `keep_session` the session can be resumed for a
    /// few minutes (close code 4000); without, the bot goes offline at once
    /// (1000), where a connection is open to say so.
    pub fn request_shutdown(&mut self, keep_session: bool, _now: Instant) {
        if self.is_finished() {
            return;
        }
        if !matches!(self.phase, Phase::Waiting { .. }) {
            let code = if keep_session {
                CLOSE_KEEP_SESSION
            } else {
                CLOSE_END_SESSION
            };
            self.outputs.push_back(Output::Close { code });
        }
        if !keep_session {
            self.drop_session();
        }
        tracing::info!(keep_session, "shutting down");
        self.heart = None;
        self.commands.clear();
        self.next_command_at = None;
        self.enter(Phase::Stopped);
    }

    pub(super) fn connect(&mut self, now: Instant) {
        if self.connections > 0 {
            self.stats.reconnects += 1;
        }
        self.connections += 1;
        let main = &self.config.gateway_url;
        let resume = self
            .session
            .as_ref()
            .filter(|_| self.resumes.url_failures < URL_FAILURES)
            .map(|session| &session.state.resume_url)
            .filter(|url| config::resume_url_usable(main, url));
        self.at_resume_url = resume.is_some();
        let url = config::connection_url(resume.unwrap_or(main), self.config.compression);
        self.inflate.reset();
        tracing::info!(url, resume = self.session.is_some(), "connecting");
        self.outputs.push_back(Output::Connect { url });
        self.enter(Phase::Connecting {
            deadline: now + self.config.connect_timeout,
        });
    }

    /// Gives the connection up from our side, the session kept.
    pub(super) fn abandon(&mut self, wait: Duration, now: Instant) {
        self.outputs.push_back(Output::Close {
            code: CLOSE_KEEP_SESSION,
        });
        self.lost(wait, now);
    }

    pub(super) fn drop_session(&mut self) {
        self.session = None;
        self.resync_at = None;
        self.resumes = ResumeRecord::default();
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(
            self.phase,
            Phase::AwaitHello { .. }
                | Phase::AwaitSlot
                | Phase::Identifying { .. }
                | Phase::Resuming { .. }
                | Phase::Active { .. }
        )
    }

    /// The connection is gone: note what that says, and wait for the next
    /// attempt, at least for `wait`.
    fn lost(&mut self, wait: Duration, now: Instant) {
        match self.phase {
            Phase::Active { since } => {
                let uptime = now.saturating_duration_since(since);
                self.backoff.ended(uptime);
                self.renewals.was_up(uptime);
            }
            Phase::Resuming { .. } => self.resume_failed(),
            _ => {}
        }
        let established = matches!(self.phase, Phase::Active { .. });
        if self.at_resume_url && !established {
            self.resumes.url_failures += 1;
        }
        self.heart = None;
        self.next_command_at = None;
        let mut wait = self.backoff.next(&mut self.rng).max(wait);
        if self.session.is_none() {
            wait = wait.max(self.renewals.wait(&mut self.rng));
        }
        tracing::info!(
            wait_ms = wait.as_millis() as u64,
            resume = self.session.is_some(),
            "reconnecting"
        );
        self.enter(Phase::Waiting { until: now + wait });
        if wait.is_zero() {
            self.connect(now);
        }
    }

    fn resume_failed(&mut self) {
        self.resumes.unanswered += 1;
        if self.resumes.last_chance || self.resumes.unanswered >= UNANSWERED_RESUMES {
            tracing::info!("the session does not resume: a new one is needed");
            self.drop_session();
        }
    }

    fn check_phase(&mut self, now: Instant) {
        let reading = self.paused_since.is_none();
        match self.phase {
            Phase::Waiting { until } if now >= until => self.connect(now),
            Phase::Connecting { deadline } if now >= deadline => self.time_out("a connection", now),
            Phase::AwaitHello { deadline } if reading && now >= deadline => {
                self.time_out("HELLO", now);
            }
            Phase::Resuming { deadline } if reading && now >= deadline => {
                self.time_out("RESUMED", now);
            }
            Phase::Identifying { deadline, patience } if reading && now >= deadline => {
                let acked = self.heart.as_ref().is_some_and(super::Heartbeat::is_acked);
                let later = (now + self.config.ready_timeout).min(patience);
                if acked && later > now {
                    self.enter(Phase::Identifying {
                        deadline: later,
                        patience,
                    });
                } else {
                    self.time_out("READY", now);
                }
            }
            _ => {}
        }
    }

    fn time_out(&mut self, what: &'static str, now: Instant) {
        tracing::warn!(what, "timed out");
        self.stats.timeouts += 1;
        self.abandon(Duration::ZERO, now);
    }

    /// An event of this kind could not be read, so what was made of the events
    /// is wrong from here on. Only a new session brings snapshots.
    pub(super) fn schedule_resync(&mut self, now: Instant) {
        let Some(interval) = self.config.resync_interval else {
            return;
        };
        let at = self
            .last_resync
            .map_or(now, |last| now.max(last + interval));
        self.resync_at.get_or_insert(at);
    }

    fn check_resync(&mut self, now: Instant) {
        let active = matches!(self.phase, Phase::Active { .. });
        if !active || self.resync_at.is_none_or(|at| now < at) {
            return;
        }
        tracing::warn!("an event could not be read: a new session brings snapshots");
        self.stats.resyncs += 1;
        self.last_resync = Some(now);
        self.drop_session();
        self.abandon(Duration::ZERO, now);
    }

    fn check_heart(&mut self, now: Instant) {
        let reading = self.paused_since.is_none();
        let Some(heart) = &mut self.heart else {
            return;
        };
        match heart.pulse(now) {
            Pulse::Dead if reading => {
                tracing::warn!("heartbeats are not acked: the connection is dead");
                self.stats.zombies += 1;
                self.abandon(Duration::ZERO, now);
                return;
            }
            Pulse::Late if reading => {
                tracing::warn!("a heartbeat is not acked yet, though messages arrive");
                self.stats.late_acks += 1;
            }
            _ => {}
        }
        if heart.is_due(now) && self.limit.exhausted(now) {
            heart.on_omitted_beat(now);
        } else if heart.is_due(now) {
            heart.on_scheduled_beat(now);
            let seq = self.session.as_ref().map(|session| session.state.seq);
            self.send_as(Sent::Beat, identify::heartbeat(seq), now);
        }
    }

    pub(super) fn pump_commands(&mut self, now: Instant) {
        self.next_command_at = None;
        if !matches!(self.phase, Phase::Active { .. }) {
            return;
        }
        while !self.commands.is_empty() {
            if !self.limit.may_send_command(now) {
                self.next_command_at = Some(self.limit.next_command_at(now));
                return;
            }
            if let Some(text) = self.commands.pop_front() {
                self.send(text, now);
            }
        }
    }

    pub(super) fn begin_heartbeat(&mut self, interval: Duration, now: Instant) {
        let heart = super::Heartbeat::new(interval, self.rng.f64(), now);
        self.limit = SendLimit::new(heart.interval(), self.lowered_by);
        self.heart = Some(heart);
    }

    fn fatal(&self, code: u16) -> GatewayError {
        let [id, total] = self.config.shard;
        let intents = self.config.intents;
        match code {
            4004 => GatewayError::AuthenticationFailed,
            4010 => GatewayError::InvalidShard { id, total },
            4011 => GatewayError::ShardingRequired { total },
            4013 => GatewayError::InvalidIntents { intents },
            4014 => GatewayError::DisallowedIntents { intents },
            _ => GatewayError::InvalidApiVersion,
        }
    }
}
