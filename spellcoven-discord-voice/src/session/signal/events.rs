//! What the main gateway says.

use std::time::Instant;

use twilight_model::id::{Id, marker::ChannelMarker};

use super::{JOIN, Named, Own, Phase, SAME_MOVE, SERVER, SIGNAL_AGAIN, WORD};
use crate::{
    gateway::{Access, VoiceGateway},
    session::{ConnectError, EndReason, Session, VoiceEvent, VoiceTrouble},
    signal::{OwnVoiceState, VoiceServer},
};

impl Session {
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
            // Nobody is removed from where they are not: this late word is of a call before.
            _ if self.signal.own.is_none() => {
                self.signal.own_leaves = self.signal.own_leaves.saturating_sub(1);
            }
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
        } else if let Phase::AwaitingServer { until: None } = self.signal.phase
            && first
        {
            // The late answer to a rejoin.
            self.signal.phase = Phase::AwaitingServer {
                until: Some(now + SERVER),
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
        if self.signal.phase == Phase::Calling
            && let Some(named) = &self.signal.server
            && named.used
            && named.server == server
        {
            // Told twice: it is in use already, and its token would not do for a second session.
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
    pub(super) fn try_start(&mut self, now: Instant) {
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
}
