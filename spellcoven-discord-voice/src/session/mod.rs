//! One voice session as a state machine without I/O.

mod action;
mod config;
mod error;
mod event;
mod stand_in;

use core::net::SocketAddr;
use std::{collections::VecDeque, time::Instant};

use twilight_model::id::{Id, marker::ChannelMarker};

pub(crate) use self::{
    action::{Action, LinkId, UdpId},
    config::SessionConfig,
    stand_in::{AudioSource, MlsDone, MlsJob, ReceivedFrame},
};
pub use self::{
    error::{CallError, ConnectError, EndReason, VoiceTrouble},
    event::{ConnectionState, Participant, SpeakingFlags, VoiceEvent},
};
use crate::signal::{OwnVoiceState, VoiceServer};

/// A client's voice connection in one guild, over its whole life: any number of calls, one after the other.
///
/// Call one input method, then [`poll`](Self::poll) until it gives `None`, then wait for the next input or for
/// [`poll_timeout`](Self::poll_timeout), whichever comes first. Instants must not go backwards.
pub(crate) struct Session {
    config: SessionConfig,
    actions: VecDeque<Action>,
    state: ConnectionState,
}

impl Session {
    /// A session that is in no channel.
    pub(crate) fn new(config: SessionConfig, now: Instant) -> Self {
        let _ = now;
        Self {
            config,
            actions: VecDeque::new(),
            state: ConnectionState::Disconnected,
        }
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`timeout`](Self::timeout) at the latest; `None` when nothing is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub(crate) fn timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Joins, or moves to, a channel. [`Action::Connected`] answers.
    pub(crate) fn connect(&mut self, now: Instant, channel: Id<ChannelMarker>) {
        let _ = (now, channel, &self.config);
    }

    /// Leaves. [`Action::Disconnected`] answers.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        let _ = now;
    }

    /// Sends op 4 with these when in a channel, and with the next join otherwise. While muted, the source goes on and
    /// nothing of it is sent.
    pub(crate) fn set_self(&mut self, now: Instant, mute: bool, deaf: bool) {
        let _ = (now, mute, deaf);
    }

    /// Plays this from now on, in place of what was played; `None` stops. It is called every 20 ms while media can flow.
    pub(crate) fn set_source(&mut self, now: Instant, source: Option<Box<dyn AudioSource>>) {
        let _ = (now, source);
    }

    /// VOICE_STATE_UPDATE of the own user in this guild.
    pub(crate) fn voice_state(&mut self, now: Instant, state: OwnVoiceState) {
        let _ = (now, state);
    }

    /// VOICE_SERVER_UPDATE of this guild.
    pub(crate) fn voice_server(&mut self, now: Instant, server: VoiceServer) {
        let _ = (now, server);
    }

    /// The main gateway began a new session.
    pub(crate) fn gateway_restarted(&mut self, now: Instant) {
        let _ = now;
    }

    /// The main gateway is gone for good: nothing can be joined any more. A running call goes on as long as it can.
    pub(crate) fn signalling_closed(&mut self, now: Instant) {
        let _ = now;
    }

    /// Op 4 of the last [`Action::Signal`] could not be sent.
    pub(crate) fn signal_failed(&mut self, now: Instant) {
        let _ = now;
    }

    /// The WebSocket that [`Action::OpenLink`] asked for is open.
    pub(crate) fn link_opened(&mut self, now: Instant, id: LinkId) {
        let _ = (now, id);
    }

    /// It could not be opened; `why` is for the log.
    pub(crate) fn link_failed(&mut self, now: Instant, id: LinkId, why: &str) {
        let _ = (now, id, why);
    }

    /// A text message.
    pub(crate) fn link_text(&mut self, now: Instant, id: LinkId, text: &str) {
        let _ = (now, id, text);
    }

    /// A binary message.
    pub(crate) fn link_binary(&mut self, now: Instant, id: LinkId, bytes: &[u8]) {
        let _ = (now, id, bytes);
    }

    /// The link has ended, with Discord's close code or without one.
    pub(crate) fn link_closed(&mut self, now: Instant, id: LinkId, code: Option<u16>) {
        let _ = (now, id, code);
    }

    /// The socket that [`Action::OpenUdp`] asked for is open.
    pub(crate) fn udp_opened(&mut self, now: Instant, id: UdpId, local: SocketAddr) {
        let _ = (now, id, local);
    }

    /// It could not be opened, or broke.
    pub(crate) fn udp_failed(&mut self, now: Instant, id: UdpId) {
        let _ = (now, id);
    }

    /// A datagram from the voice server. It is decrypted in place.
    pub(crate) fn datagram(&mut self, now: Instant, id: UdpId, datagram: &mut [u8]) {
        let _ = (now, id, datagram);
    }

    /// The buffer of an [`Action::Datagram`] that was sent, to be used again.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        let _ = buffer;
    }

    /// The job of [`Action::Job`] is done.
    pub(crate) fn job_done(&mut self, now: Instant, done: MlsDone) {
        let _ = (now, done);
    }

    /// Where the call stands.
    pub(crate) fn state(&self) -> ConnectionState {
        self.state
    }

    /// The channel that the client is in.
    pub(crate) fn channel(&self) -> Option<Id<ChannelMarker>> {
        None
    }

    /// Who else is in the call, by user id.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        Vec::new()
    }
}
