//! The connection to one voice server: what its gateway says, and what that means for the rest.

use core::net::SocketAddr;
use std::time::Instant;

use twilight_model::id::Id;

use super::{
    Action, CallError, EncryptionEvent, LinkId, Session, SpeakingFlags, UdpId, VoiceEvent,
    VoiceTrouble,
    media::{Media, Udp},
};
use crate::{
    CloseReaction,
    dave::{DaveOutput, E2eePolicy, KeyChange},
    gateway::{Incoming, Output, Ready, SessionDescription, Verdict, VoiceGateway},
    transport::EncryptionMode,
};

/// What a fresh session (Identify) brings, and what ends with it. A resume keeps it all.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) ready: Option<Ready>,
    /// What op 1 asked for.
    pub(super) mode: Option<EncryptionMode>,
    pub(super) udp: Option<Udp>,
    /// There once op 4 has brought the keys.
    pub(super) media: Option<Media>,
    /// These stay over fresh sessions with the same server.
    refused_modes: Vec<EncryptionMode>,
    /// When a call that was resumed without a key, and still has none, is begun anew.
    pub(super) stalls_at: Option<Instant>,
    /// The own address, as the server sees it.
    pub(super) address: Option<SocketAddr>,
    /// When op 4 must have answered op 1.
    pub(super) described_by: Option<Instant>,
    pub(super) udp_failures: u32,
}

impl Connection {
    pub(super) fn has_media(&self) -> bool {
        self.media.is_some()
    }
}

impl Session {
    /// The WebSocket that [`Action::OpenLink`] asked for is open.
    pub(crate) fn link_opened(&mut self, now: Instant, id: LinkId) {
        self.with_link(id, now, |gateway| gateway.opened(now));
    }

    /// It could not be opened; `why` is for the log.
    pub(crate) fn link_failed(&mut self, now: Instant, id: LinkId, why: &str) {
        self.with_link(id, now, |gateway| gateway.open_failed(why, now));
    }

    /// A text message.
    pub(crate) fn link_text(&mut self, now: Instant, id: LinkId, text: &str) {
        self.with_link(id, now, |gateway| gateway.text(text, now));
    }

    /// A binary message.
    pub(crate) fn link_binary(&mut self, now: Instant, id: LinkId, bytes: &[u8]) {
        self.with_link(id, now, |gateway| gateway.binary(bytes));
    }

    /// The link has ended, with Discord's close code or without one.
    pub(crate) fn link_closed(&mut self, now: Instant, id: LinkId, code: Option<u16>) {
        self.with_link(id, now, |gateway| gateway.closed(code, now));
    }

    /// What an earlier link says is ignored.
    fn with_link(&mut self, id: LinkId, now: Instant, input: impl FnOnce(&mut VoiceGateway)) {
        if let Some(gateway) = &mut self.gateway
            && gateway.last_id() == id.0
        {
            input(gateway);
            self.settle(now);
        }
    }

    pub(super) fn gateway_said(&mut self, output: Output, now: Instant) {
        match output {
            Output::Open { id, url } => {
                self.last_link = id;
                self.counts.links += 1;
                let id = LinkId(id);
                self.actions.push_back(Action::OpenLink { id, url });
            }
            Output::Text { id, text } => {
                let id = LinkId(id);
                self.actions.push_back(Action::SendText { id, text });
            }
            Output::Binary { id, bytes } => {
                let id = LinkId(id);
                self.actions.push_back(Action::SendBinary { id, bytes });
            }
            Output::Close { id, code } => {
                let id = LinkId(id);
                self.actions.push_back(Action::CloseLink { id, code });
            }
            Output::Lost { code, reaction } => {
                self.trouble(VoiceTrouble::LinkLost { code, reaction });
            }
            Output::Failed { why } => self.trouble(VoiceTrouble::LinkFailed { why }),
            Output::MissedAck => self.trouble(VoiceTrouble::MissedAck),
            Output::Malformed { what } => {
                self.counts.malformed += 1;
                self.trouble(VoiceTrouble::Malformed { what });
            }
            Output::Identifying => {
                self.counts.identifies += 1;
                self.begin_afresh();
            }
            Output::Ready(ready) => self.ready(ready, now),
            Output::Resumed => {
                self.counts.resumes += 1;
                self.resumed(now);
            }
            Output::Message(incoming) => self.message(incoming, now),
            Output::Dave { op, payload } => self.dave.binary(now, op, payload),
            Output::Ended { code, verdict } => self.link_ended(code, verdict, now),
        }
    }

    fn link_ended(&mut self, code: Option<u16>, verdict: Verdict, now: Instant) {
        let lost = |reaction| VoiceTrouble::LinkLost { code, reaction };
        match verdict {
            Verdict::WaitForSignal => {
                self.trouble(lost(CloseReaction::WaitForSignal));
                self.await_signal(now);
            }
            Verdict::Rejoin => {
                self.trouble(lost(CloseReaction::Rejoin));
                self.rejoin(code, now);
            }
            Verdict::NewServer => {
                self.trouble(VoiceTrouble::ServerGone);
                self.await_server(now);
            }
            Verdict::GiveUp => self.give_up(code, now),
        }
    }

    fn give_up(&mut self, code: Option<u16>, now: Instant) {
        let error = match code {
            Some(4016) => {
                if self.try_another_mode(now) {
                    return;
                }
                let ready = self.connection.ready.take();
                CallError::NoCommonMode {
                    offered: ready.map(|ready| ready.modes).unwrap_or_default(),
                }
            }
            Some(4017) => CallError::EncryptionRequired,
            Some(4021) => CallError::RateLimited,
            Some(code) => CallError::Refused { code },
            None => CallError::SessionRefused { code },
        };
        self.fail(error, now);
    }

    /// The server does not know the mode that it has offered: if it has offered another one, that one.
    fn try_another_mode(&mut self, now: Instant) -> bool {
        let Some(refused) = self.connection.mode else {
            return false;
        };
        self.connection.refused_modes.push(refused);
        let left = self
            .connection
            .ready
            .as_ref()
            .and_then(|ready| choose(&ready.modes, &self.connection.refused_modes));
        match &mut self.gateway {
            Some(gateway) if left.is_some() => {
                gateway.identify_again(now);
                true
            }
            _ => false,
        }
    }

    fn ready(&mut self, ready: Ready, now: Instant) {
        self.people.naming_begins(now);
        let Some(mode) = choose(&ready.modes, &self.connection.refused_modes) else {
            let offered = ready.modes;
            return self.fail(CallError::NoCommonMode { offered }, now);
        };
        self.last_udp += 1;
        let id = UdpId(self.last_udp);
        let remote = SocketAddr::new(ready.ip, ready.port);
        self.connection.mode = Some(mode);
        self.connection.udp = Some(Udp::new(id));
        self.connection.ready = Some(ready);
        self.actions.push_back(Action::OpenUdp { id, remote });
    }

    fn message(&mut self, incoming: Incoming, now: Instant) {
        match incoming {
            Incoming::SessionDescription(description) => self.described(&description, now),
            Incoming::ClientsConnect { user_ids } => {
                for user in user_ids {
                    self.dave.user_connected(now, user);
                    self.joined(user);
                }
            }
            Incoming::ClientDisconnect { user_id } => {
                self.dave.user_left(now, user_id);
                if let Some(media) = &mut self.connection.media {
                    media.receiver.user_left(user_id);
                }
                if self.people.left(user_id)
                    && let Some(user_id) = Id::new_checked(user_id)
                {
                    self.emit(VoiceEvent::Left { user_id });
                }
            }
            Incoming::Speaking {
                user_id,
                ssrc,
                speaking,
            } => self.announced(user_id, ssrc, SpeakingFlags::from_bits(speaking), now),
            // 0 is a camera without a microphone.
            Incoming::Video {
                user_id,
                audio_ssrc,
            } if audio_ssrc != 0 => {
                self.names_ssrc(user_id, audio_ssrc, now);
            }
            Incoming::Dave { op, d } => self.dave.json(now, op, &d),
            // The rest was dealt with before, or means nothing to this crate.
            _ => {}
        }
    }

    fn announced(&mut self, user: u64, ssrc: u32, flags: SpeakingFlags, now: Instant) {
        if self.names_ssrc(user, ssrc, now)
            && let Some(user_id) = Id::new_checked(user)
        {
            self.people.speaking(user, flags);
            self.emit(VoiceEvent::Speaking {
                user_id,
                ssrc,
                flags,
            });
        }
    }

    /// `false` for the own user.
    fn names_ssrc(&mut self, user: u64, ssrc: u32, now: Instant) -> bool {
        if user == self.config.user_id.get() {
            return false;
        }
        self.joined(user);
        self.people.ssrc(user, ssrc);
        self.map_ssrc(user, ssrc, now);
        true
    }

    fn joined(&mut self, user: u64) {
        if user != self.config.user_id.get()
            && self.people.joined(user)
            && let Some(user_id) = Id::new_checked(user)
        {
            self.emit(VoiceEvent::Joined { user_id });
        }
    }

    fn described(&mut self, description: &SessionDescription, now: Instant) {
        let Some(mode) = EncryptionMode::from_name(&description.mode) else {
            let offered = vec![description.mode.clone()];
            return self.fail(CallError::NoCommonMode { offered }, now);
        };
        self.connection.udp_failures = 0;
        let encrypted = description.dave_protocol_version > 0;
        if !encrypted && self.config.policy == E2eePolicy::Required && self.is_asked() {
            return self.fail(CallError::NotEncrypted, now);
        }
        self.take_keys(mode, description.secret_key, now);
        self.dave
            .session_description(now, description.dave_protocol_version);
    }

    pub(super) fn dave_said(&mut self, output: DaveOutput, now: Instant) {
        match output {
            DaveOutput::SendJson { op, d } => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.send_json(op, &d, now);
                }
            }
            DaveOutput::SendBinary { op, payload } => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.send_binary(op, &payload, now);
                }
            }
            DaveOutput::Job(job) => self.actions.push_back(Action::Job(job)),
            DaveOutput::Keys(KeyChange::Send(key)) => {
                if let Some(media) = &mut self.connection.media {
                    media.sender.apply(key);
                    if !media.sender.holds() {
                        self.pacer.unhold(now);
                        if self.dave.has_group() {
                            self.connection.stalls_at = None;
                        }
                    }
                }
            }
            DaveOutput::Keys(change) => self.receive_keys(change, now),
            DaveOutput::Event(event) => {
                self.emit(VoiceEvent::Encryption(EncryptionEvent::from(event)))
            }
        }
    }

    pub(super) fn trouble(&mut self, trouble: VoiceTrouble) {
        tracing::debug!(%trouble, "voice connection");
        self.emit(VoiceEvent::Trouble(trouble));
    }
}

fn choose(offered: &[String], refused: &[EncryptionMode]) -> Option<EncryptionMode> {
    let left: Vec<&str> = offered
        .iter()
        .map(String::as_str)
        .filter(|name| EncryptionMode::from_name(name).is_some_and(|mode| !refused.contains(&mode)))
        .collect();
    EncryptionMode::choose(&left)
}
