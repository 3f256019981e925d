//! The main gateway's side: joining, moving, leaving, being moved, being removed.

use std::time::{Duration, Instant};

use twilight_model::id::{Id, marker::ChannelMarker};

use super::{Action, CallError, ConnectError, EndReason, Session, VoiceEvent, VoiceTrouble};
use crate::{
    gateway::{Access, VoiceGateway},
    signal::{OwnVoiceState, VoiceServer, VoiceStateRequest},
};

/// For the main gateway to answer op 4. Where the channel is full it never does.
const JOIN: Duration = Duration::from_secs(10);
/// For a voice server to be named, where the join was answered.
const SERVER: Duration = Duration::from_secs(30);
/// For the main gateway's word after 4014, 4022 or a move.
const WORD: Duration = Duration::from_secs(10);
/// For the answer to leaving.
const LEAVE: Duration = Duration::from_secs(5);
/// Of a move, VOICE_SERVER_UPDATE may come first: one that is younger than this belongs to it.
const SAME_MOVE: Duration = Duration::from_secs(1);
/// So often in a row a call may be left and joined again to get new credentials.
const REJOINS: u32 = 2;
/// After op 4 could not be sent.
const SIGNAL_AGAIN: Duration = Duration::from_secs(1);

/// Where the session stands with the main gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In no channel.
    Idle,
    /// Op 4 was sent; waiting for both events.
    Joining { until: Instant },
    /// Both events were there: the rest is the voice gateway's.
    Calling,
    /// 4014 or 4022 came: a VOICE_STATE_UPDATE will say whether it is over.
    AwaitingState { until: Instant },
    /// In a channel, and no server to connect to. Without a limit where Discord said that one will come.
    AwaitingServer { until: Option<Instant> },
    /// Op 4 was sent to leave.
    Leaving { until: Instant },
}

/// What is known from the main gateway.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) phase: Phase,
    /// Where to go back to after a restart of the main gateway.
    wanted: Option<Id<ChannelMarker>>,
    pub(super) own: Option<Own>,
    server: Option<Named>,
    /// So many VOICE_STATE_UPDATEs without a channel may answer op 4s of ours, and mean nothing else then.
    own_leaves: u32,
    /// Until when.
    own_leaves_until: Option<Instant>,
    pending: Option<Pending>,
    /// `disconnect` calls to be answered.
    leavers: u32,
    pub(super) rejoins: u32,
    last_request: Option<VoiceStateRequest>,
    send_again_at: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Own {
    pub(super) channel: Id<ChannelMarker>,
    session_id: String,
}

#[derive(Debug)]
struct Named {
    server: VoiceServer,
    at: Instant,
    /// A connection was begun with it.
    used: bool,
}

/// A `connect` to be answered.
#[derive(Debug)]
struct Pending {
    channel: Id<ChannelMarker>,
    /// For Discord to let the client in.
    until: Instant,
    /// For a server to be named.
    server_until: Instant,
}

impl Signal {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            wanted: None,
            own: None,
            server: None,
            own_leaves: 0,
            own_leaves_until: None,
            pending: None,
            leavers: 0,
            rejoins: 0,
            last_request: None,
            send_again_at: None,
            closed: false,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Joining { until }
            | Phase::AwaitingState { until }
            | Phase::Leaving { until } => Some(until),
            Phase::AwaitingServer { until } => until,
            Phase::Idle | Phase::Calling => None,
        };
        let pending = self.pending.as_ref().map(|pending| {
            if self.is_in(pending.channel) {
                pending.server_until
            } else {
                pending.until
            }
        });
        // Once a connection is being made, its own limits count.
        let pending = pending.filter(|_| !self.is_connecting_as_asked());
        [phase, pending, self.send_again_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_own_leave(&self, now: Instant) -> bool {
        self.own_leaves > 0 && self.own_leaves_until.is_some_and(|until| now <= until)
    }

    fn is_in(&self, channel: Id<ChannelMarker>) -> bool {
        self.own.as_ref().is_some_and(|own| own.channel == channel)
    }

    fn is_connecting_as_asked(&self) -> bool {
        let asked = self.pending.as_ref();
        self.phase == Phase::Calling && asked.is_some_and(|asked| self.is_in(asked.channel))
    }
}

impl Session {
    /// Joins, or moves to, a channel. [`Action::Connected`] answers.
    pub(crate) fn connect(&mut self, now: Instant, channel: Id<ChannelMarker>) {
        self.answer(Err(ConnectError::Superseded));
        if self.signal.closed {
            self.actions
                .push_back(Action::Connected(Err(ConnectError::SignallingLost)));
            return;
        }
        self.signal.pending = Some(Pending {
            channel,
            until: now + JOIN,
            server_until: now + SERVER,
        });
        self.signal.wanted = Some(channel);
        match self.signal.phase {
            Phase::Idle | Phase::Leaving { .. } | Phase::Joining { .. } => {
                self.answer_leavers();
                self.signal.own = None;
                self.signal.server = None;
                self.signal.phase = Phase::Joining { until: now + JOIN };
                self.signal.rejoins = 0;
                self.request(Some(channel));
            }
            _ if self.signal.is_in(channel) => {}
            _ => self.request(Some(channel)),
        }
        self.settle(now);
    }

    /// Leaves. [`Action::Disconnected`] answers.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        self.answer(Err(ConnectError::Cancelled));
        self.signal.leavers += 1;
        self.signal.wanted = None;
        match self.signal.phase {
            Phase::Idle => self.answer_leavers(),
            Phase::Leaving { .. } => {}
            _ if self.signal.closed => {
                self.drop_call(now);
                self.answer_leavers();
            }
            _ => {
                self.drop_call(now);
                self.leave_channel(now);
                self.signal.phase = Phase::Leaving { until: now + LEAVE };
            }
        }
        self.settle(now);
    }

    /// Sends op 4 with these when in a channel, and with the next join otherwise. While muted, the source goes on and
    /// nothing of it is sent.
    pub(crate) fn set_self(&mut self, now: Instant, mute: bool, deaf: bool) {
        if (self.config.self_mute, self.config.self_deaf) == (mute, deaf) {
            return;
        }
        self.config.self_mute = mute;
        self.config.self_deaf = deaf;
        let asked = self.signal.pending.as_ref().map(|pending| pending.channel);
        let channel = asked.or(self.signal.own.as_ref().map(|own| own.channel));
        if !matches!(self.signal.phase, Phase::Idle | Phase::Leaving { .. })
            && let Some(channel) = channel.or(self.signal.wanted)
        {
            self.request(Some(channel));
        }
        self.settle(now);
    }

    /// VOICE_STATE_UPDATE of the own user in this guild.
    pub(crate) fn voice_state(&mut self, now: Instant, state: OwnVoiceState) {
        match state.channel_id {
            None => self.gone(now),
            Some(channel) => self.present(channel, state.session_id, now),
        }
        self.settle(now);
    }

    fn gone(&mut self, now: Instant) {
        match self.signal.phase {
            Phase::Leaving { .. } => {
                self.signal.own_leaves = 0;
                self.signal.phase = Phase::Idle;
                self.answer_leavers();
            }
            _ if self.signal.is_own_leave(now) => {
                self.signal.own_leaves -= 1;
                // If a state came before this, it was the old one's.
                if let Phase::Joining { .. } = self.signal.phase {
                    self.signal.own = None;
                }
            }
            Phase::Idle => {}
            _ => self.end(EndReason::Removed, ConnectError::Removed, now),
        }
    }

    fn present(&mut self, channel: Id<ChannelMarker>, session_id: String, now: Instant) {
        if matches!(self.signal.phase, Phase::Idle | Phase::Leaving { .. }) {
            return;
        }
        let before = self.signal.own.as_ref();
        let moved = before.is_none_or(|own| own.channel != channel);
        let changed = moved || before.is_none_or(|own| own.session_id != session_id);
        let first = before.is_none();
        self.signal.own = Some(Own {
            channel,
            session_id,
        });
        if moved {
            self.emit(VoiceEvent::Channel {
                channel_id: channel,
            });
            let asked = self.signal.pending.as_ref().map(|pending| pending.channel);
            self.signal.wanted = asked.or(Some(channel));
        }
        if changed && !first {
            // The old voice session cannot be used again, and neither can its server's token.
            self.drop_connection(moved, now);
            self.keep_server_of_this_move(now);
            self.signal.phase = Phase::AwaitingServer {
                until: Some(now + WORD),
            };
        } else if let Phase::AwaitingState { .. } = self.signal.phase {
            self.signal.phase = Phase::AwaitingServer {
                until: Some(now + WORD),
            };
        }
        self.try_start(now);
    }

    fn keep_server_of_this_move(&mut self, now: Instant) {
        match &mut self.signal.server {
            Some(named) if now.saturating_duration_since(named.at) < SAME_MOVE => {
                named.used = false
            }
            stale => *stale = None,
        }
    }

    /// VOICE_SERVER_UPDATE of this guild.
    pub(crate) fn voice_server(&mut self, now: Instant, server: VoiceServer) {
        if matches!(self.signal.phase, Phase::Idle | Phase::Leaving { .. }) {
            return;
        }
        let gone = server.endpoint.is_none();
        self.signal.server = (!gone).then_some(Named {
            server,
            at: now,
            used: false,
        });
        if gone {
            self.emit(VoiceEvent::Trouble(VoiceTrouble::ServerGone));
            self.drop_connection(false, now);
            if self.signal.own.is_some() {
                self.signal.phase = Phase::AwaitingServer { until: None };
            }
        } else {
            let moving = self.signal.pending.as_ref();
            let moving = moving.is_some_and(|asked| !self.signal.is_in(asked.channel));
            // Of our own move the state is still to come; a connection with the old channel would be in vain.
            if !moving || matches!(self.signal.phase, Phase::Joining { .. }) {
                self.try_start(now);
            }
        }
        self.settle(now);
    }

    /// Connects, if both halves are there.
    fn try_start(&mut self, now: Instant) {
        let (Some(own), Some(named)) = (&self.signal.own, &mut self.signal.server) else {
            return;
        };
        let Some(endpoint) = named.server.endpoint.clone() else {
            return;
        };
        if std::mem::replace(&mut named.used, true) {
            return;
        }
        let access = Access {
            guild_id: self.config.guild_id,
            channel_id: own.channel,
            user_id: self.config.user_id,
            session_id: own.session_id.clone(),
            token: named.server.token.clone(),
            endpoint,
        };
        self.drop_connection(false, now);
        self.signal.phase = Phase::Calling;
        let rng = self.rng.fork();
        self.gateway = Some(VoiceGateway::new(access, self.last_link, rng, now));
    }

    /// The main gateway began a new session.
    pub(crate) fn gateway_restarted(&mut self, now: Instant) {
        self.signal.own_leaves = 0;
        match (self.signal.phase, self.signal.wanted) {
            (Phase::Idle, _) => {}
            (Phase::Leaving { .. }, _) => {
                self.signal.phase = Phase::Idle;
                self.answer_leavers();
            }
            (_, Some(channel)) if self.config.rejoin || self.signal.pending.is_some() => {
                self.drop_connection(true, now);
                self.signal.own = None;
                self.signal.server = None;
                self.signal.phase = Phase::Joining { until: now + JOIN };
                self.request(Some(channel));
            }
            _ => self.end(EndReason::SessionLost, ConnectError::SignallingLost, now),
        }
        self.settle(now);
    }

    /// The main gateway is gone for good: nothing can be joined any more. A running call goes on as long as it can.
    pub(crate) fn signalling_closed(&mut self, now: Instant) {
        self.signal.closed = true;
        self.signal.send_again_at = None;
        match self.signal.phase {
            Phase::Idle => {}
            Phase::Leaving { .. } => {
                self.signal.phase = Phase::Idle;
                self.answer_leavers();
            }
            Phase::Calling if self.signal.is_connecting_as_asked() => {}
            Phase::Calling => self.answer(Err(ConnectError::SignallingLost)),
            _ => self.end(EndReason::SessionLost, ConnectError::SignallingLost, now),
        }
        self.settle(now);
    }

    /// Op 4 of the last [`Action::Signal`] could not be sent. It is tried again after a second.
    pub(crate) fn signal_failed(&mut self, now: Instant) {
        if !self.signal.closed {
            self.emit(VoiceEvent::Trouble(VoiceTrouble::Signalling));
            self.signal.send_again_at = Some(now + SIGNAL_AGAIN);
        }
    }

    pub(super) fn signal_timeout(&mut self, now: Instant) {
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
    pub(super) fn rejoin(&mut self, code: Option<u16>, now: Instant) {
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
    pub(super) fn await_signal(&mut self, now: Instant) {
        self.drop_connection(false, now);
        self.signal.phase = Phase::AwaitingState { until: now + WORD };
        self.signal.server = self.signal.server.take().filter(|named| !named.used);
        self.try_start(now);
    }

    /// The server is gone for good: another one has to be named.
    pub(super) fn await_server(&mut self, now: Instant) {
        self.drop_connection(false, now);
        self.signal.phase = Phase::AwaitingServer {
            until: Some(now + SERVER),
        };
        self.signal.server = self.signal.server.take().filter(|named| !named.used);
        self.try_start(now);
    }

    /// It went wrong for good: leaves.
    pub(super) fn fail(&mut self, error: CallError, now: Instant) {
        tracing::warn!(%error, "the call failed");
        self.leave_channel(now);
        let answer = ConnectError::Failed(error.clone());
        self.end(EndReason::Failed(error), answer, now);
    }

    /// The call is over without `disconnect`.
    fn end(&mut self, reason: EndReason, answer: ConnectError, now: Instant) {
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

    fn drop_call(&mut self, now: Instant) {
        self.drop_connection(true, now);
        self.signal.own = None;
        self.signal.server = None;
        self.signal.send_again_at = None;
        self.signal.phase = Phase::Idle;
    }

    fn leave_channel(&mut self, now: Instant) {
        if !self.signal.closed {
            self.signal.own_leaves += 1;
            self.signal.own_leaves_until = Some(now + LEAVE);
            self.request(None);
        }
    }

    fn request(&mut self, channel: Option<Id<ChannelMarker>>) {
        let mut request = VoiceStateRequest::new(self.config.guild_id, channel);
        request.self_mute = self.config.self_mute;
        request.self_deaf = self.config.self_deaf;
        self.signal.last_request = Some(request);
        self.signal.send_again_at = None;
        self.actions.push_back(Action::Signal(request));
    }

    /// Answers the `connect` that waits, if one does.
    pub(super) fn answer(&mut self, result: Result<(), ConnectError>) {
        if self.signal.pending.take().is_some() {
            self.actions.push_back(Action::Connected(result));
        }
    }

    /// Whether a `connect` waits for the call to be up.
    pub(super) fn is_asked(&self) -> bool {
        self.signal.is_connecting_as_asked()
    }

    /// The call is up: that answers a `connect` to its channel.
    pub(super) fn answer_if_asked(&mut self) {
        if self.signal.is_connecting_as_asked() {
            self.answer(Ok(()));
        }
    }

    fn answer_leavers(&mut self) {
        for _ in 0..std::mem::take(&mut self.signal.leavers) {
            self.actions.push_back(Action::Disconnected);
        }
    }
}
