//! What the consumer asks: join, move, leave, mute; and the answers.

use std::time::Instant;

use twilight_model::id::{Id, marker::ChannelMarker};

use super::{JOIN, LEAVE, Pending, Phase, SERVER};
use crate::{
    session::{Action, ConnectError, Session},
    signal::VoiceStateRequest,
};

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
            Phase::Idle | Phase::Leaving { .. } | Phase::Joining { .. } => self.join(channel, now),
            // A rejoin waits for an answer: there is no call, either.
            Phase::AwaitingServer { .. } if self.signal.own.is_none() => self.join(channel, now),
            _ if self.signal.is_in(channel) => {}
            _ => self.request(Some(channel)),
        }
        self.settle(now);
    }

    /// From no channel.
    fn join(&mut self, channel: Id<ChannelMarker>, now: Instant) {
        self.answer_leavers();
        self.signal.own = None;
        self.signal.server = None;
        self.signal.phase = Phase::Joining { until: now + JOIN };
        self.signal.rejoins = 0;
        self.request(Some(channel));
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

    pub(super) fn request(&mut self, channel: Option<Id<ChannelMarker>>) {
        let mut request = VoiceStateRequest::new(self.config.guild_id, channel);
        request.self_mute = self.config.self_mute;
        request.self_deaf = self.config.self_deaf;
        self.signal.last_request = Some(request);
        self.signal.send_again_at = None;
        self.actions.push_back(Action::Signal(request));
    }

    pub(super) fn leave_channel(&mut self, now: Instant) {
        if !self.signal.closed {
            self.signal.own_leaves += 1;
            self.signal.own_leaves_until = Some(now + LEAVE);
            self.request(None);
        }
    }

    /// Answers the `connect` that waits, if one does.
    pub(super) fn answer(&mut self, result: Result<(), ConnectError>) {
        if self.signal.pending.take().is_some() {
            self.actions.push_back(Action::Connected(result));
        }
    }

    /// Whether a `connect` waits for the call to be up.
    pub(in crate::session) fn is_asked(&self) -> bool {
        self.signal.is_connecting_as_asked()
    }

    /// The call is up: that answers a `connect` to its channel.
    pub(in crate::session) fn answer_if_asked(&mut self) {
        if self.signal.is_connecting_as_asked() {
            self.answer(Ok(()));
        }
    }

    pub(super) fn answer_leavers(&mut self) {
        for _ in 0..std::mem::take(&mut self.signal.leavers) {
            self.actions.push_back(Action::Disconnected);
        }
    }
}
