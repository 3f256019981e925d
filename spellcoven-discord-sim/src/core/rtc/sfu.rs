//! The forwarding unit: datagrams in, copies for the others out.

use ::core::net::SocketAddr;

use super::super::World;
use super::VoiceServerId;
use super::cipher::RTCP_CLEAR;
use super::faults::MediaFaults;
use super::packet::{self, Kind, Rtp, SILENCE};
use super::seat::SeatKey;
use crate::ids::{ChannelId, UserId};
use crate::journal::EntryKind;

/// Bytes of an IP discovery packet.
///
/// See: Discord documentation, Topics, Voice Connections, "IP Discovery".
const DISCOVERY: usize = 74;
/// Clear packets that are told in the journal, of one user.
const TOLD: u64 = 100;
/// The SSRC of the server's own reports (unknown; clients must not care).
const SERVER_SSRC: u32 = 1;

/// A packet that was opened, and whose it is.
struct Opened {
    key: SeatKey,
    channel: ChannelId,
    len: usize,
    audio: bool,
}

impl World {
    pub(super) fn on_datagram(
        &mut self,
        server: VoiceServerId,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        if !self.settings.voice.udp {
            return;
        }
        match *bytes {
            // Keep-alives of one library (its SSRC), to which nothing is answered.
            [] | [_, _, _, _] => {}
            // A ping is answered; another library's keep-alive comes back as it is (unknown of Discord).
            [0x13, 0x37, 0xCA, 0xFE, a, b, c, d] => {
                self.reply(server, from, &[0x13, 0x37, 0xF0, 0x0D, a, b, c, d]);
            }
            [_, _, _, _, _, _, _, _] if bytes[0] >> 6 != 2 => {
                let echo = bytes.to_vec();
                self.reply(server, from, &echo);
            }
            [0, 1, 0, 70, ..] if bytes.len() == DISCOVERY => self.discover(server, from, bytes),
            [first, second, ..] if first >> 6 == 2 => {
                let is_rtcp = packet::is_rtcp(second);
                if let Some(opened) = self.open_packet(server, from, bytes, is_rtcp) {
                    let clear = bytes.get_mut(..opened.len).unwrap_or_default();
                    if is_rtcp {
                        self.on_rtcp(&opened, clear);
                    } else {
                        self.on_rtp(&opened, clear);
                    }
                }
            }
            _ => self.rtc.strays += 1,
        }
    }

    fn reply(&mut self, server: VoiceServerId, to: SocketAddr, bytes: &[u8]) {
        let mut buffer = self.rtc.buffer();
        buffer.extend_from_slice(bytes);
        self.rtc.send(server, to, buffer, self.now, self.now);
    }

    /// IP discovery: the address as it is seen from here.
    fn discover(&mut self, server: VoiceServerId, from: SocketAddr, request: &[u8]) {
        let ssrc = packet::be32(request, 4).unwrap_or(0);
        let key = self.rtc.ssrcs.get(&ssrc).copied();
        let dropped = self.settings.voice.drop_discoveries;
        let Some(seat) = key.and_then(|key| self.rtc.seats.get_mut(&key)) else {
            self.rtc.strays += 1;
            return;
        };
        if seat.server != server {
            return;
        }
        seat.media.discoveries += 1;
        if seat.media.discoveries <= dropped {
            return;
        }
        seat.media.address = Some(from);
        let mut answer = [0; DISCOVERY];
        answer[..4].copy_from_slice(&[0, 2, 0, 70]);
        answer[4..8].copy_from_slice(&ssrc.to_be_bytes());
        for (to, byte) in answer[8..71].iter_mut().zip(from.ip().to_string().bytes()) {
            *to = byte;
        }
        answer[72..].copy_from_slice(&from.port().to_be_bytes());
        self.reply(server, from, &answer);
    }

    /// Finds out whose packet it is, and opens it in place.
    fn open_packet(
        &mut self,
        server: VoiceServerId,
        from: SocketAddr,
        bytes: &mut [u8],
        is_rtcp: bool,
    ) -> Option<Opened> {
        let ssrc = packet::be32(bytes, if is_rtcp { 4 } else { 8 })?;
        let Some(key) = self.rtc.ssrcs.get(&ssrc).copied() else {
            self.rtc.strays += 1;
            return None;
        };
        let counts = self.rtc.counts.entry(key.1).or_default();
        let seat = self.rtc.seats.get_mut(&key)?;
        let media = &mut seat.media;
        let cipher = media.cipher.as_ref().filter(|_| seat.server == server)?;
        if media.address.is_some_and(|address| address != from) {
            counts.wrong_address += 1;
            return None;
        }
        let clear = if is_rtcp {
            Some(RTCP_CLEAR)
        } else {
            cipher.mode().clear_len(bytes)
        };
        let opened = clear.and_then(|clear| cipher.open(bytes, clear));
        let Some((len, counter)) = opened else {
            counts.unreadable += 1;
            if counts.unreadable == 1 {
                self.complain(
                    format!("user {}", key.1),
                    "sent a packet that cannot be opened",
                );
            }
            return None;
        };
        media.address = Some(from);
        let audio = ssrc == media.ssrc;
        let channel = seat.channel;
        if counter.is_some_and(|counter| !media.counters.is_new(counter)) {
            counts.reused_counters += 1;
            if counts.reused_counters == 1 {
                let what = "used a counter of transport encryption a second time";
                self.complain(format!("user {}", key.1), what);
            }
            return None;
        }
        Some(Opened {
            key,
            channel,
            len,
            audio,
        })
    }

    fn on_rtp(&mut self, opened: &Opened, clear: &mut [u8]) {
        let user = opened.key.1;
        let chance = self.faults_of(user).loss_in;
        let counts = self.rtc.counts.entry(user).or_default();
        if chance > 0.0 && self.rtc.rng.f64() < chance {
            counts.lost_by_faults += 1;
            return;
        }
        let Some(rtp) = packet::read(clear) else {
            counts.unreadable += 1;
            return;
        };
        counts.packets += 1;
        let payload = clear.get(rtp.payload.clone()).unwrap_or_default();
        counts.payload_bytes += payload.len() as u64;
        let kind = packet::kind(payload);
        match kind {
            Kind::Dave => counts.dave += 1,
            Kind::Silence => counts.silence += 1,
            Kind::Nothing => counts.padding += 1,
            Kind::Clear => counts.clear += 1,
        }
        self.note_reception(opened, &rtp);
        if kind == Kind::Clear {
            self.note_clear(opened, &rtp);
        }
        if self.is_announced(opened) && !self.is_muted(opened.key) {
            self.forward(opened, &rtp, clear, kind);
        }
    }

    fn note_reception(&mut self, opened: &Opened, rtp: &Rtp) {
        let now = self.now;
        let interval = self.settings.voice.report_interval;
        let Some(seat) = self.rtc.seats.get_mut(&opened.key).filter(|_| opened.audio) else {
            return;
        };
        let media = &mut seat.media;
        let before = media.reception.missing();
        media.reception.packet(rtp.sequence, rtp.timestamp, now);
        let after = media.reception.missing();
        if media.report_due.is_none() {
            let due = now.saturating_add(interval);
            media.report_due = Some(due);
            self.rtc.wake_at(due);
        }
        let counts = self.rtc.counts.entry(opened.key.1).or_default();
        counts.missing = (counts.missing + u64::from(after)).saturating_sub(u64::from(before));
    }

    /// A packet that is not end-to-end encrypted, where all media have to be.
    fn note_clear(&mut self, opened: &Opened, rtp: &Rtp) {
        let user = opened.key.1;
        let calls = &self.rtc.calls;
        if calls
            .get(&opened.channel)
            .is_none_or(|call| call.dave.version() == 0)
        {
            return;
        }
        let counts = self.rtc.counts.entry(user).or_default();
        counts.clear_in_dave_call += 1;
        if counts.clear_in_dave_call <= TOLD {
            self.log(EntryKind::ClearMedia {
                user,
                channel: opened.channel,
                ssrc: rtp.ssrc,
                sequence: rtp.sequence,
                bytes: rtp.payload.len(),
            });
        }
    }

    /// Whether op 5 came before; if it has not come for long, the connection is closed.
    fn is_announced(&mut self, opened: &Opened) -> bool {
        let now = self.now;
        let grace = self.settings.voice.speaking_grace;
        let Some(seat) = self.rtc.seats.get_mut(&opened.key) else {
            return false;
        };
        if seat.speaking.is_some() {
            return true;
        }
        let early = *seat.media.early.get_or_insert(now);
        let link = seat.link;
        let counts = self.rtc.counts.entry(opened.key.1).or_default();
        counts.before_speaking += 1;
        if let Some(link) = link.filter(|_| now >= early.saturating_add(grace)) {
            self.voice_complaint(link, "sent media without an op 5 before");
            self.close_link(link, 4020, "Invalid SSRC.");
        }
        false
    }

    /// Muted by the guild, or listening on a stage.
    fn is_muted(&mut self, key: SeatKey) -> bool {
        let guild = self.guilds.get(&key.0);
        let muted = guild.is_some_and(|guild| {
            guild.members.get(&key.1).is_some_and(|member| member.mute)
                || guild.voice.get(&key.1).is_some_and(|state| state.suppress)
        });
        if muted {
            self.rtc.counts.entry(key.1).or_default().muted += 1;
        }
        muted
    }

    fn is_deafened(&self, key: SeatKey) -> bool {
        self.guilds
            .get(&key.0)
            .and_then(|guild| guild.members.get(&key.1))
            .is_some_and(|member| member.deaf)
    }

    fn forward(&mut self, opened: &Opened, rtp: &Rtp, clear: &[u8], kind: Kind) {
        let Some(call) = self.rtc.calls.get(&opened.channel) else {
            return;
        };
        let dave = call.dave.version() > 0;
        let mut silent = None;
        if self.faults_of(opened.key.1).silence {
            let mut packet = clear.get(..rtp.payload.start).unwrap_or_default().to_vec();
            packet.extend_from_slice(&SILENCE);
            if let Some(first) = packet.first_mut() {
                *first &= !0x20;
            }
            silent = Some(packet);
        }
        let packet = silent.as_deref().unwrap_or(clear);
        let mut at = 0;
        // By index: the list does not change meanwhile, and copying it would cost an allocation.
        while let Some(other) = self.member(opened.channel, at) {
            at += 1;
            let key = (opened.key.0, other);
            if other == opened.key.1 || self.is_deafened(key) {
                continue;
            }
            let knows_dave = dave && self.rtc.seats.get(&key).is_some_and(|seat| seat.dave > 0);
            let counts = self.rtc.counts.entry(opened.key.1).or_default();
            if kind == Kind::Dave && silent.is_none() && !knows_dave {
                counts.withheld += 1;
                continue;
            }
            counts.forwarded += 1;
            self.send_rtp(key, rtp, packet);
        }
    }

    fn member(&self, channel: ChannelId, at: usize) -> Option<UserId> {
        self.rtc.calls.get(&channel)?.members.get(at).copied()
    }

    /// Sender reports go to the others, and into the reports to the sender; of anything else nothing follows.
    fn on_rtcp(&mut self, opened: &Opened, clear: &[u8]) {
        self.rtc.counts.entry(opened.key.1).or_default().rtcp += 1;
        // A sender report has its sender's info: 28 bytes (RFC 3550, 6.4.1).
        if clear.get(1) != Some(&200) || clear.len() < 28 {
            return;
        }
        let now = self.now;
        if let Some(seat) = self.rtc.seats.get_mut(&opened.key).filter(|_| opened.audio) {
            let middle = packet::be32(clear, 10).unwrap_or(0);
            seat.media.reception.last_report = Some((middle, now));
        }
        if self.is_muted(opened.key) {
            return;
        }
        // Only the report itself: what comes behind it may name the receiver's other peers.
        let Some(report) = clear.get(..28) else {
            return;
        };
        let mut at = 0;
        while let Some(other) = self.member(opened.channel, at) {
            at += 1;
            if other != opened.key.1 {
                let mut buffer = self.rtc.buffer();
                buffer.extend_from_slice(report);
                // No report blocks, and the length that goes with that.
                buffer[0] &= 0xE0;
                buffer[2..4].copy_from_slice(&6_u16.to_be_bytes());
                self.seal_and_send((opened.key.0, other), buffer, false, now);
            }
        }
    }

    /// Receiver reports to those who send.
    pub(super) fn time_out_reports(&mut self) {
        let now = self.now;
        let interval = self.settings.voice.report_interval;
        let due: Vec<SeatKey> = self
            .rtc
            .seats
            .iter()
            .filter(|(_, seat)| seat.media.report_due.is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            let Some(seat) = self.rtc.seats.get_mut(&key) else {
                continue;
            };
            let media = &mut seat.media;
            let block = media.reception.block(media.ssrc, now);
            // One who stopped gets the next report when something came again.
            media.report_due = block.map(|_| now.saturating_add(interval));
            if let Some(block) = block {
                let mut buffer = self.rtc.buffer();
                buffer.extend_from_slice(&[0x81, 201, 0, 7]);
                buffer.extend_from_slice(&SERVER_SSRC.to_be_bytes());
                buffer.extend_from_slice(&block);
                self.seal_and_send(key, buffer, false, now);
            }
        }
        let seats = self.rtc.seats.values();
        if let Some(next) = seats.filter_map(|seat| seat.media.report_due).min() {
            self.rtc.wake_at(next);
        }
    }

    fn faults_of(&self, user: UserId) -> &MediaFaults {
        self.rtc.faults_of.get(&user).unwrap_or(&self.rtc.faults)
    }
}
