//! What ends with a session or with a connection, and when one is begun afresh.

use std::time::{Duration, Instant};

use super::{Action, CallError, LinkId, Session, VoiceTrouble, connection::Connection};
use crate::gateway::Output;

/// So often in a row the UDP path may fail before the call does.
const UDP_FAILURES: u32 = 3;
/// With others in the call, a group is formed or entered within two seconds, the server's longest wait for a client.
const STALL: Duration = Duration::from_millis(2_500);

impl Session {
    /// Identify was sent: nothing of the session before holds any more.
    pub(super) fn begin_afresh(&mut self) {
        self.drop_session();
        if let Some(own) = &self.signal.own {
            self.dave.reset(own.channel.get());
        }
        let actions = &mut self.actions;
        self.people
            .fresh_session(|event| actions.push_back(Action::Event(event)));
    }

    /// The UDP path is of no use: a fresh session gets another one.
    pub(super) fn udp_broken(&mut self, now: Instant) {
        self.trouble(VoiceTrouble::Udp);
        self.connection.udp_failures += 1;
        self.drop_session();
        if self.connection.udp_failures >= UDP_FAILURES {
            self.fail(CallError::UdpUnreachable, now);
        } else if let Some(gateway) = &mut self.gateway {
            gateway.identify_again(now);
        }
    }

    /// A cut may have swallowed what this client had to say about its keys, and the server replays only its own side.
    pub(super) fn watch_for_a_stall(&mut self, now: Instant) {
        if self.is_without_keys() {
            self.connection.stalls_at = Some(now + STALL);
        }
    }

    /// Whether an encrypted call has no key to send with, or there is no group: the old key would still be there, and
    /// new ones would never come.
    fn is_without_keys(&self) -> bool {
        let media = self.connection.media.as_ref();
        media.is_some_and(|media| {
            self.dave.active_version() > 0 && (media.sender.holds() || !self.dave.has_group())
        })
    }

    pub(super) fn stall_timeout(&mut self, now: Instant) {
        if self.connection.stalls_at.is_none_or(|at| at > now) {
            return;
        }
        self.connection.stalls_at = None;
        if !self.people.is_empty()
            && self.is_without_keys()
            && let Some(gateway) = &mut self.gateway
        {
            gateway.identify_soon(now);
            self.trouble(VoiceTrouble::KeysMissing);
        }
    }

    /// Op 1 or its answer was lost, or the server has none: a fresh session asks again.
    pub(super) fn description_timeout(&mut self, now: Instant) {
        if self.connection.described_by.is_none_or(|by| by > now) {
            return;
        }
        self.connection.described_by = None;
        let gateway = self.gateway.as_ref();
        if !gateway.is_some_and(|gateway| gateway.is_active() || gateway.is_resuming()) {
            // A fresh session is on its way.
            return;
        }
        self.drop_session();
        let why = "no Session Description within 10 s".to_owned();
        self.trouble(VoiceTrouble::LinkFailed { why });
        if let Some(gateway) = &mut self.gateway {
            gateway.identify_again(now);
        }
    }

    /// Gives up what one Identify brought. The source of audio stays.
    pub(super) fn drop_session(&mut self) {
        if let Some(udp) = self.connection.udp.take() {
            self.actions.push_back(Action::CloseUdp { id: udp.id });
        }
        self.connection.ready = None;
        self.connection.mode = None;
        self.connection.media = None;
        self.connection.stalls_at = None;
        self.connection.address = None;
        self.connection.described_by = None;
        self.pacer.stop();
    }

    /// Gives up the connection to the voice server. `leaves`: the people of this channel are no more of interest.
    pub(super) fn drop_connection(&mut self, leaves: bool, now: Instant) {
        if let Some(mut gateway) = self.gateway.take() {
            if gateway.was_healthy(now) {
                self.signal.rejoins = 0;
            }
            gateway.leave();
            self.last_link = gateway.last_id();
            while let Some(output) = gateway.poll() {
                if let Output::Close { id, code } = output {
                    let id = LinkId(id);
                    self.actions.push_back(Action::CloseLink { id, code });
                }
            }
        }
        self.drop_session();
        self.connection = Connection::default();
        let channel = self.signal.own.as_ref().map_or(0, |own| own.channel.get());
        self.dave.reset(channel);
        let actions = &mut self.actions;
        let tell = |event| actions.push_back(Action::Event(event));
        if leaves {
            self.people.clear(tell);
        } else {
            self.people.fresh_session(tell);
        }
    }
}
