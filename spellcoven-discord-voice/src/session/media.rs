//! The path of the media: the UDP socket, the keys, the beat, what comes and what goes.

use core::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{
    Action, Session, UdpId,
    connection::Connection,
    pacer::{Gate, Step},
    people::People,
};
use crate::{
    dave::KeyChange,
    gateway::{self, VoiceGateway},
    media::{Outcome, Received, Receiver, SendError, Sender},
    rtp::{DatagramKind, ReportBlock},
    transport::{EncryptionMode, Opener, Sealer, TransportKey},
    udp::{Discovery, DiscoveryStep, Ping, PingStats},
};

/// Most datagrams that are made are smaller, and a process may have thousands of sessions; a buffer grows if need be.
const DATAGRAM: usize = 400;
/// For op 4 to answer op 1.
const DESCRIPTION: Duration = Duration::from_secs(10);

/// Sending and receiving, while there are keys.
#[derive(Debug)]
pub(super) struct Media {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) mode: EncryptionMode,
    blocks: Vec<ReportBlock>,
}

/// The UDP socket.
#[derive(Debug)]
pub(super) struct Udp {
    pub(super) id: UdpId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Opening,
    Discovering(Discovery),
    Known(Ping),
}

impl Udp {
    pub(super) fn new(id: UdpId) -> Self {
        Self {
            id,
            stage: Stage::Opening,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Opening => None,
            Stage::Discovering(discovery) => discovery.poll_timeout(),
            Stage::Known(ping) => Some(ping.poll_timeout()),
        }
    }
}

impl Connection {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let udp = self.udp.as_ref().and_then(Udp::poll_timeout);
        let media = self.media.as_ref();
        let report = media.map(|media| media.sender.poll_timeout());
        let waiting = media.and_then(|media| media.receiver.poll_timeout());
        [udp, report, waiting, self.stalls_at, self.described_by]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn ping_stats(&self) -> Option<PingStats> {
        match &self.udp.as_ref()?.stage {
            Stage::Known(ping) => Some(ping.stats()),
            Stage::Opening | Stage::Discovering(_) => None,
        }
    }
}

impl Session {
    /// The socket that [`Action::OpenUdp`] asked for is open. What it is bound to is of no use: the server tells the
    /// address that it sees.
    pub(crate) fn udp_opened(&mut self, now: Instant, id: UdpId, _local: SocketAddr) {
        if let Some(udp) = &mut self.connection.udp
            && udp.id == id
            && let Some(ready) = &self.connection.ready
        {
            udp.stage = Stage::Discovering(Discovery::new(now, ready.ssrc));
            self.media_timeout(now);
            self.settle(now);
        }
    }

    /// It could not be opened, or broke.
    pub(crate) fn udp_failed(&mut self, now: Instant, id: UdpId) {
        if self.connection.udp.as_ref().is_some_and(|udp| udp.id == id) {
            self.udp_broken(now);
            self.settle(now);
        }
    }

    /// A datagram from the voice server. It is decrypted in place.
    pub(crate) fn datagram(&mut self, now: Instant, id: UdpId, datagram: &mut [u8]) {
        let Some(udp) = self.connection.udp.as_mut().filter(|udp| udp.id == id) else {
            return;
        };
        if let Stage::Known(ping) = &mut udp.stage {
            ping.heard();
        }
        match (DatagramKind::of(datagram), &mut udp.stage) {
            (DatagramKind::Discovery, Stage::Discovering(discovery)) => {
                let Some(address) = discovery.handle_datagram(datagram) else {
                    return;
                };
                udp.stage = Stage::Known(Ping::new(now));
                self.connection.address = Some(address);
                self.connection.described_by = Some(now + DESCRIPTION);
                self.select_protocol(now);
                self.settle(now);
            }
            (DatagramKind::Ping, Stage::Known(ping)) => {
                ping.handle_datagram(now, datagram);
            }
            _ => self.media_datagram(datagram, now),
        }
    }

    fn media_datagram(&mut self, datagram: &mut [u8], now: Instant) {
        let Some(media) = &mut self.connection.media else {
            return;
        };
        let sender = &mut media.sender;
        let mut hearing = Hearing::new(&mut self.actions, &mut self.people, now);
        media
            .receiver
            .datagram(now, datagram, &mut |received| match received {
                Received::Report(block) => sender.remote_report(now, &block),
                other => hearing.take(other),
            });
        if media.receiver.failing() {
            media.receiver.clear_failures();
            self.dave.receivers_failing(now);
            self.settle(now);
        }
    }

    /// Op 1. While the link is away it waits for [`resumed`](Self::resumed).
    fn select_protocol(&mut self, now: Instant) {
        if let Some(gateway) = self.gateway.as_mut().filter(|gateway| gateway.is_active())
            && let (Some(mode), Some(address)) = (self.connection.mode, self.connection.address)
        {
            let text = gateway::select_protocol(address.ip(), address.port(), mode.name());
            gateway.send(text, now);
        }
    }

    /// The session goes on, on a new link. What was said on the old one in its last moments may be lost.
    pub(super) fn resumed(&mut self, now: Instant) {
        if self.connection.media.is_none() {
            self.select_protocol(now);
        }
        if let Some(Udp {
            stage: Stage::Known(ping),
            ..
        }) = &mut self.connection.udp
        {
            // What was missed meanwhile was the network's doing, which is back.
            ping.heard();
        }
        self.watch_for_a_stall(now);
    }

    /// Op 4: the keys of the transport, the first or new ones.
    pub(super) fn take_keys(&mut self, mode: EncryptionMode, key: [u8; 32], now: Instant) {
        let key = TransportKey::new(key);
        if let Some(media) = &mut self.connection.media {
            media.sender.rekey(mode, &key);
            media.receiver.rekey(mode, &key);
            media.mode = mode;
            return;
        }
        let Some(ready) = &self.connection.ready else {
            return;
        };
        let sealer = Sealer::new(mode, &key, self.rng.u32(..));
        let mut sender = Sender::new(now, ready.ssrc, sealer, &mut self.rng);
        let mut receiver = Receiver::new(ready.ssrc, Opener::new(mode, &key), self.config.receive);
        if self.config.receive {
            sender.announce();
        }
        for (user, ssrc) in self.people.ssrcs() {
            receiver.map(now, ssrc, user, &mut |_| {});
        }
        self.connection.described_by = None;
        self.connection.media = Some(Media {
            sender,
            receiver,
            mode,
            blocks: Vec::new(),
        });
        self.pacer.start(self.config.receive, now);
    }

    /// Keys of others, and whether frames in the clear are taken. Frames that waited for them are handed on.
    pub(super) fn receive_keys(&mut self, change: KeyChange, now: Instant) {
        if let Some(media) = &mut self.connection.media {
            let mut hearing = Hearing::new(&mut self.actions, &mut self.people, now);
            media
                .receiver
                .apply(now, change, &mut |received| hearing.take(received));
        }
    }

    pub(super) fn map_ssrc(&mut self, user: u64, ssrc: u32, now: Instant) {
        if let Some(media) = &mut self.connection.media {
            let mut hearing = Hearing::new(&mut self.actions, &mut self.people, now);
            media
                .receiver
                .map(now, ssrc, user, &mut |received| hearing.take(received));
        }
    }

    /// Sends what the beat has due.
    pub(super) fn pace(&mut self, now: Instant) {
        loop {
            let Some(media) = &mut self.connection.media else {
                return;
            };
            let gate = Gate {
                muted: self.config.self_mute,
                holds: media.sender.holds(),
            };
            let Some(step) = self.pacer.step(gate, now) else {
                return;
            };
            let ssrc = media.sender.ssrc();
            match step {
                Step::Speak(speaking) => {
                    if let Some(gateway) = &mut self.gateway {
                        gateway.send_speaking(ssrc, u32::from(speaking), now);
                    }
                    self.settle(now);
                }
                Step::Frame(frame) => {
                    let send =
                        |media: &mut Media, out: &mut Vec<u8>| media.sender.frame(now, &frame, out);
                    self.send(send, now);
                }
                Step::Silence => {
                    let send =
                        |media: &mut Media, out: &mut Vec<u8>| media.sender.silence(now, out);
                    self.send(send, now);
                }
                Step::Ended => self.emit(super::VoiceEvent::SourceEnded),
            }
        }
    }

    fn send(
        &mut self,
        make: impl FnOnce(&mut Media, &mut Vec<u8>) -> Result<Outcome, SendError>,
        now: Instant,
    ) {
        let (Some(media), Some(udp)) = (&mut self.connection.media, &self.connection.udp) else {
            return;
        };
        let mut bytes = self
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(DATAGRAM));
        match make(media, &mut bytes) {
            Ok(Outcome::Datagram) => {
                let id = udp.id;
                self.actions.push_back(Action::Datagram { id, bytes });
            }
            Ok(Outcome::Held | Outcome::Quiet) => self.recycle(bytes),
            Err(SendError::BadFrame) => {
                self.counts.bad_frames += 1;
                self.recycle(bytes);
            }
            Err(SendError::Exhausted) => {
                self.recycle(bytes);
                // A fresh session has fresh keys.
                if let Some(gateway) = &mut self.gateway {
                    gateway.identify_again(now);
                }
                self.drop_session();
                self.settle(now);
            }
        }
    }

    /// Discovery, ping, reports, frames that waited too long.
    pub(super) fn media_timeout(&mut self, now: Instant) {
        if let Some(udp) = &mut self.connection.udp {
            let id = udp.id;
            match &mut udp.stage {
                Stage::Opening => {}
                Stage::Discovering(discovery) => match discovery.handle_timeout(now) {
                    Some(DiscoveryStep::Send(request)) => self.datagram_of(id, &request),
                    Some(DiscoveryStep::GiveUp) => self.udp_broken(now),
                    None => {}
                },
                Stage::Known(ping) => {
                    if let Some(request) = ping.handle_timeout(now) {
                        let link = self.gateway.as_ref();
                        if ping.is_dead() && link.is_some_and(VoiceGateway::is_active) {
                            self.udp_broken(now);
                        } else {
                            self.datagram_of(id, &request);
                        }
                    }
                }
            }
        }
        if let Some(media) = &mut self.connection.media {
            media.receiver.handle_timeout(now);
            if media.sender.poll_timeout() <= now {
                media.receiver.report_blocks(now, &mut media.blocks);
                let send = |media: &mut Media, out: &mut Vec<u8>| {
                    media.sender.report(now, &media.blocks, out)
                };
                self.send(send, now);
            }
        }
    }

    fn datagram_of(&mut self, id: UdpId, content: &[u8]) {
        let mut bytes = self
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(DATAGRAM));
        bytes.clear();
        bytes.extend_from_slice(content);
        self.actions.push_back(Action::Datagram { id, bytes });
    }
}

/// Where received frames go.
struct Hearing<'a> {
    actions: &'a mut std::collections::VecDeque<Action>,
    people: &'a mut People,
    now: Instant,
}

impl<'a> Hearing<'a> {
    fn new(
        actions: &'a mut std::collections::VecDeque<Action>,
        people: &'a mut People,
        now: Instant,
    ) -> Self {
        Self {
            actions,
            people,
            now,
        }
    }

    fn take(&mut self, received: Received) {
        if let Received::Frame(frame) = received {
            let event = self
                .people
                .heard(frame.user_id, frame.is_silence(), self.now);
            self.actions.extend(event.map(Action::Event));
            self.actions.push_back(Action::Audio(frame));
        }
    }
}
