//! One voice session as a state machine without I/O: messages, datagrams, orders and the time go in; what to send, what
//! happened and the next wake-up come out.

mod action;
mod config;
mod connection;
mod error;
mod event;
mod media;
mod pacer;
mod people;
mod signal;
mod stats;
mod teardown;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Instant};

use twilight_model::id::{
    Id,
    marker::{ChannelMarker, UserMarker},
};

pub(crate) use self::{
    action::{Action, LinkId, UdpId},
    config::SessionConfig,
    stats::SessionStats,
};
use self::{
    connection::Connection,
    pacer::Pacer,
    people::People,
    signal::{Phase, Signal},
};
pub use self::{
    error::{CallError, ConnectError, EndReason, VoiceTrouble},
    event::{ConnectionState, EncryptionEvent, Participant, SpeakingFlags, VoiceEvent},
    pacer::PlaybackStats,
    stats::Backlog,
};
use crate::{
    audio::AudioSource,
    dave::{Dave, DaveConfig, DaveIdentity, VerificationJob},
    gateway::VoiceGateway,
};
pub(crate) use crate::{
    dave::{MlsDone, MlsJob},
    media::ReceivedFrame,
};

/// Buffers that are kept: a beat has one datagram, and now and then a report.
const SPARE: usize = 2;

/// A client's voice connection in one guild, over its whole life: any number of calls, one after the other.
///
/// Call one input method, then [`poll`](Self::poll) until it gives `None`, then wait for the next input or for
/// [`poll_timeout`](Self::poll_timeout), whichever comes first. Instants must not go backwards. What waits in it is
/// bounded by what one input brings about, as long as it is drained.
///
/// The parts know nothing of each other: the main gateway's side (`signal`), the connection to one voice server
/// ([`VoiceGateway`]), end-to-end encryption ([`Dave`]), sending and receiving (`media`), the beat ([`Pacer`]) and who is
/// there ([`People`]). The session passes values between them.
pub(crate) struct Session {
    config: SessionConfig,
    rng: fastrand::Rng,
    actions: VecDeque<Action>,
    /// What the consumer was told last.
    state: ConnectionState,
    signal: Signal,
    /// `None` where there is no server to connect to.
    gateway: Option<VoiceGateway>,
    connection: Connection,
    dave: Dave,
    pacer: Pacer,
    people: People,
    last_link: u64,
    last_udp: u64,
    /// Buffers of datagrams that were sent.
    spare: Vec<Vec<u8>>,
    counts: stats::Counts,
}

impl Session {
    /// A session that is in no channel.
    pub(crate) fn new(config: SessionConfig, _now: Instant) -> Self {
        let rng = config
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let user_id = config.user_id.get();
        let identity = config.identity.clone();
        let dave = Dave::new(DaveConfig {
            user_id,
            // Told at each connection.
            channel_id: 0,
            identity: identity.unwrap_or_else(|| DaveIdentity::of_process(user_id)),
            policy: config.policy,
        });
        Self {
            config,
            rng,
            actions: VecDeque::new(),
            state: ConnectionState::Disconnected,
            signal: Signal::new(),
            gateway: None,
            connection: Connection::default(),
            dave,
            pacer: Pacer::default(),
            people: People::default(),
            last_link: 0,
            last_udp: 0,
            spare: Vec::new(),
            counts: stats::Counts::default(),
        }
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`timeout`](Self::timeout) at the latest; `None` when nothing is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [
            self.pacer.poll_timeout(),
            self.signal.poll_timeout(),
            self.gateway.as_ref().and_then(VoiceGateway::poll_timeout),
            self.connection.poll_timeout(),
            self.people.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub(crate) fn timeout(&mut self, now: Instant) {
        // The beat first: the rest may take a little.
        self.pace(now);
        self.media_timeout(now);
        let actions = &mut self.actions;
        self.people
            .timeout(now, |event| actions.push_back(Action::Event(event)));
        self.stall_timeout(now);
        self.description_timeout(now);
        self.signal_timeout(now);
        if let Some(gateway) = &mut self.gateway {
            gateway.timeout(now);
        }
        self.settle(now);
    }

    /// Plays this from now on, in place of what was played; `None` stops. It is called every 20 ms while media can flow,
    /// and not at all while they cannot.
    pub(crate) fn set_source(&mut self, now: Instant, source: Option<Box<dyn AudioSource>>) {
        self.pacer.set_source(source, now);
    }

    /// The job of [`Action::Job`] is done.
    pub(crate) fn job_done(&mut self, now: Instant, done: MlsDone) {
        self.dave.job_done(now, done);
        self.settle(now);
    }

    /// The buffer of an [`Action::Datagram`] that was sent, to be used again.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(buffer);
        }
    }

    /// Where the call stands.
    pub(crate) fn state(&self) -> ConnectionState {
        self.state
    }

    /// The channel that the client is in.
    pub(crate) fn channel(&self) -> Option<Id<ChannelMarker>> {
        self.signal.own.as_ref().map(|own| own.channel)
    }

    /// Who else is in the call, by user id.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        self.people.list()
    }

    /// The 30 digits that all members of the call's group have in common; `None` while there is no group.
    pub(crate) fn privacy_code(&self) -> Option<&str> {
        self.dave.privacy_code()
    }

    /// To compute the verification code with this user; `None` if that is not a member of the group.
    pub(crate) fn verification(&self, user: Id<UserMarker>) -> Option<VerificationJob> {
        self.dave.verification(user.get())
    }

    /// Passes on what the parts have to say, until none has anything left, and tells of a new state.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.gateway.as_mut().and_then(VoiceGateway::poll) {
                self.gateway_said(output, now);
            } else if let Some(output) = self.dave.poll() {
                self.dave_said(output, now);
            } else {
                break;
            }
        }
        let state = self.state_now();
        if state != self.state {
            self.state = state;
            self.emit(VoiceEvent::State(state));
        }
        if state == ConnectionState::Connected {
            self.answer_if_asked();
        }
    }

    fn state_now(&self) -> ConnectionState {
        match self.signal.phase {
            Phase::Idle => ConnectionState::Disconnected,
            Phase::Leaving { .. } => ConnectionState::Leaving,
            Phase::Joining { .. } => ConnectionState::Joining,
            Phase::AwaitingState { .. } | Phase::AwaitingServer { .. } => {
                ConnectionState::AwaitingServer
            }
            Phase::Calling => match &self.gateway {
                Some(gateway) if self.connection.has_media() && gateway.is_active() => {
                    ConnectionState::Connected
                }
                Some(gateway) if self.connection.has_media() && gateway.is_resuming() => {
                    ConnectionState::Resuming
                }
                _ => ConnectionState::Connecting,
            },
        }
    }

    fn emit(&mut self, event: VoiceEvent) {
        self.actions.push_back(Action::Event(event));
    }
}
