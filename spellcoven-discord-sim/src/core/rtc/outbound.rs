//! The way out of the forwarding unit: copies for receivers, sealed for each, with what faults do to them.

use ::core::net::SocketAddr;
use std::time::Duration;

use super::super::World;
use super::cipher::RTCP_CLEAR;
use super::faults::MediaFaults;
use super::packet::{self, Rtp};
use super::seat::SeatKey;
use super::{Datagram, Rtc, VoiceServerId};

impl World {
    /// Sends a clear packet to one receiver, with what faults do to it on the way.
    pub(super) fn send_rtp(&mut self, key: SeatKey, rtp: &Rtp, packet: &[u8]) {
        let faults = self.rtc.faults_of.get(&key.1).unwrap_or(&self.rtc.faults);
        if *faults == MediaFaults::default() {
            let mut buffer = self.rtc.buffer();
            buffer.extend_from_slice(packet);
            self.shift(key, rtp.ssrc, &mut buffer);
            self.seal_and_send(key, buffer, false, self.now);
            return;
        }
        let faults = faults.clone();
        if self.rtc.chance(faults.loss) {
            self.rtc.counts.entry(key.1).or_default().lost_by_faults += 1;
            return;
        }
        if self.rtc.chance(faults.all_padding) {
            let mut buffer = self.rtc.buffer();
            buffer.extend_from_slice(packet.get(..rtp.payload.start).unwrap_or_default());
            if let Some(first) = buffer.first_mut() {
                *first &= !0x20;
            }
            packet::pad(&mut buffer, 32);
            self.shift(key, rtp.ssrc, &mut buffer);
            self.seal_and_send(key, buffer, false, self.now);
            if let Some(seat) = self.rtc.seats.get_mut(&key) {
                let shift = seat.media.shifts.entry(rtp.ssrc).or_default();
                *shift = shift.wrapping_add(1);
            }
        }
        let copies = if self.rtc.chance(faults.duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut buffer = self.rtc.buffer();
            buffer.extend_from_slice(packet);
            self.shift(key, rtp.ssrc, &mut buffer);
            if self.rtc.chance(faults.extension) {
                packet::extend(&mut buffer, rtp);
            }
            if self.rtc.chance(faults.padding) {
                let bytes = self.rtc.rng.u8(1..=64);
                packet::pad(&mut buffer, bytes);
            }
            let corrupt = self.rtc.chance(faults.corrupt);
            let at = self.now.saturating_add(self.rtc.delay(&faults));
            self.seal_and_send(key, buffer, corrupt, at);
        }
    }

    fn shift(&self, key: SeatKey, ssrc: u32, packet: &mut [u8]) {
        let seat = self.rtc.seats.get(&key);
        let Some(shift) = seat.and_then(|seat| seat.media.shifts.get(&ssrc)) else {
            return;
        };
        let sequence = packet::be16(packet, 2).unwrap_or(0).wrapping_add(*shift);
        if let Some(bytes) = packet.get_mut(2..4) {
            bytes.copy_from_slice(&sequence.to_be_bytes());
        }
    }

    pub(super) fn seal_and_send(
        &mut self,
        key: SeatKey,
        mut packet: Vec<u8>,
        corrupt: bool,
        at: Duration,
    ) {
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return;
        };
        let media = &mut seat.media;
        let (Some(cipher), Some(to)) = (&media.cipher, media.destination()) else {
            return;
        };
        let is_rtcp = packet.get(1).is_some_and(|second| packet::is_rtcp(*second));
        let clear = if is_rtcp {
            Some(RTCP_CLEAR)
        } else {
            cipher.mode().clear_len(&packet)
        };
        let sealed = clear.and_then(|clear| cipher.seal(&mut packet, clear, media.counter));
        media.counter = media.counter.wrapping_add(1);
        let server = seat.server;
        if sealed.is_none() {
            return;
        }
        if corrupt {
            let at = self.rtc.rng.usize(12.min(packet.len() - 1)..packet.len());
            packet[at] ^= 1 << self.rtc.rng.u8(0..8);
        }
        self.rtc.counts.entry(key.1).or_default().received += u64::from(!is_rtcp);
        self.rtc.send(server, to, packet, at, self.now);
    }
}

impl Rtc {
    pub(super) fn chance(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }

    fn delay(&mut self, faults: &MediaFaults) -> Duration {
        let mut ms = faults.delay_ms;
        if faults.jitter_ms > 0 {
            ms = ms.saturating_add(self.rng.u64(0..=faults.jitter_ms));
        }
        if self.chance(faults.reorder) {
            ms = ms.saturating_add(self.rng.u64(25..=65));
        }
        Duration::from_millis(ms)
    }

    /// An empty buffer.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Sends a datagram, now or later.
    pub(super) fn send(
        &mut self,
        server: VoiceServerId,
        to: SocketAddr,
        bytes: Vec<u8>,
        at: Duration,
        now: Duration,
    ) {
        let Some(from) = self.servers.get(&server).map(|server| server.udp) else {
            return;
        };
        if self.out.len() + self.later.len() >= self.datagram_limit {
            self.strays += 1;
            return;
        }
        let datagram = Datagram {
            server,
            from,
            to,
            bytes,
        };
        if at <= now {
            self.arrive(datagram);
        } else {
            self.next_later += 1;
            self.later.insert((at, self.next_later), datagram);
            self.wake_at(at);
        }
    }

    fn arrive(&mut self, mut datagram: Datagram) {
        if let Some(bytes) = self.post(datagram.to, std::mem::take(&mut datagram.bytes)) {
            datagram.bytes = bytes;
            self.out.push_back(datagram);
        }
    }

    /// Datagrams whose time has come.
    pub(super) fn release(&mut self, now: Duration) {
        while let Some(entry) = self.later.first_entry() {
            let at = entry.key().0;
            if at > now {
                self.wake_at(at);
                return;
            }
            let datagram = entry.remove();
            self.arrive(datagram);
        }
    }
}
