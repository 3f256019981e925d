//! What a seat has for its media, and what is counted of them.

use ::core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::cipher::{Cipher, Secret};

/// How many counters back a repeated one is noticed.
const WINDOW: u32 = 128;

/// Media of one user since the simulator's start, over all calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MediaCounts {
    /// RTP packets that arrived and were opened.
    pub packets: u64,
    /// Of these, frames of DAVE: they end in its marker, and their trailer holds.
    pub dave: u64,
    /// Of these, silence (`F8 FF FE`), which is never encrypted.
    pub silence: u64,
    /// Of these, nothing but padding.
    pub padding: u64,
    /// Of these, anything else: media that are not end-to-end encrypted.
    pub clear: u64,
    /// Of the clear ones, those that came while the call used DAVE.
    pub clear_in_dave_call: u64,
    /// Bytes of all payloads.
    pub payload_bytes: u64,
    /// RTCP packets that arrived and were opened.
    pub rtcp: u64,
    /// Datagrams that could not be opened, or do not hold together.
    pub unreadable: u64,
    /// Packets whose transport counter had been used before.
    pub reused_counters: u64,
    /// Datagrams from an address that is not the user's.
    pub wrong_address: u64,
    /// Packets dropped because the user was muted or suppressed.
    pub muted: u64,
    /// Packets dropped because no op 5 had come yet.
    pub before_speaking: u64,
    /// Packets that never arrived, by their sequence numbers.
    pub missing: u64,
    /// Copies sent to others.
    pub forwarded: u64,
    /// Copies not sent because the receiver does not know DAVE.
    pub withheld: u64,
    /// Copies that were sent to this user.
    pub received: u64,
    /// Datagrams of or for this user that faults lost.
    pub lost_by_faults: u64,
}

/// Reception of one stream, as RFC 3550 counts it (appendices A.3 and A.8).
#[derive(Debug, Default)]
pub(super) struct Reception {
    started: bool,
    base: u32,
    highest: u16,
    cycles: u32,
    received: u32,
    expected_before: u32,
    received_before: u32,
    transit: u32,
    /// In units of a sixteenth of a tick of 48 kHz.
    jitter16: u32,
    /// The middle of the NTP time of the last sender report, and when it came.
    pub(super) last_report: Option<(u32, Duration)>,
}

impl Reception {
    pub(super) fn packet(&mut self, sequence: u16, timestamp: u32, now: Duration) {
        let arrival = (now.as_micros() * 48 / 1000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if !self.started {
            self.started = true;
            self.base = u32::from(sequence);
            self.highest = sequence;
        } else {
            let ahead = sequence.wrapping_sub(self.highest);
            if ahead < 0x8000 {
                if sequence < self.highest {
                    self.cycles = self.cycles.wrapping_add(1 << 16);
                }
                self.highest = sequence;
            }
            let distance = transit.wrapping_sub(self.transit) as i32;
            let distance = distance.unsigned_abs().min(1 << 27);
            self.jitter16 = self
                .jitter16
                .saturating_add(distance)
                .saturating_sub((self.jitter16 + 8) >> 4);
        }
        self.transit = transit;
        self.received = self.received.wrapping_add(1);
    }

    fn extended(&self) -> u32 {
        self.cycles.wrapping_add(u32::from(self.highest))
    }

    pub(super) fn missing(&self) -> u32 {
        if !self.started {
            return 0;
        }
        let expected = self.extended().wrapping_sub(self.base).wrapping_add(1);
        expected.saturating_sub(self.received)
    }

    /// A report block of 24 bytes about `ssrc`; `None` while nothing came since the last one.
    pub(super) fn block(&mut self, ssrc: u32, now: Duration) -> Option<[u8; 24]> {
        let expected = self.extended().wrapping_sub(self.base).wrapping_add(1);
        let new_expected = expected.wrapping_sub(self.expected_before);
        let new_received = self.received.wrapping_sub(self.received_before);
        if !self.started || new_received == 0 {
            return None;
        }
        self.expected_before = expected;
        self.received_before = self.received;
        let new_lost = new_expected.saturating_sub(new_received);
        let fraction = (u64::from(new_lost) * 256 / u64::from(new_expected.max(1))).min(255);
        let lost = self.missing().min(0x7F_FFFF);
        let (report, delay) = match self.last_report {
            Some((middle, at)) => {
                let since = now.saturating_sub(at).as_micros() * 65_536 / 1_000_000;
                (middle, u32::try_from(since).unwrap_or(u32::MAX))
            }
            None => (0, 0),
        };
        let words = [
            ssrc,
            (fraction as u32) << 24 | lost,
            self.extended(),
            self.jitter16 >> 4,
            report,
            delay,
        ];
        let mut block = [0; 24];
        for (to, word) in block.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        Some(block)
    }
}

/// Notices a counter that was used before.
#[derive(Debug, Default)]
pub(super) struct Counters {
    highest: Option<u32>,
    seen: u128,
}

impl Counters {
    /// Whether this counter is new, as far back as is remembered.
    pub(super) fn is_new(&mut self, counter: u32) -> bool {
        let Some(highest) = self.highest else {
            (self.highest, self.seen) = (Some(counter), 1);
            return true;
        };
        let ahead = counter.wrapping_sub(highest);
        if ahead == 0 {
            return false;
        }
        if ahead < 1 << 31 {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = Some(counter);
            return true;
        }
        let back = highest.wrapping_sub(counter);
        if back >= WINDOW {
            return true;
        }
        let bit = 1 << back;
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// A seat's media.
#[derive(Debug)]
pub(super) struct Media {
    /// Of audio; video has the next one, its retransmissions the one after. 0: none yet.
    pub(super) ssrc: u32,
    pub(super) secret: Secret,
    pub(super) cipher: Option<Cipher>,
    /// The counter of the next packet to the client.
    pub(super) counter: u32,
    /// Counters of packets from the client.
    pub(super) counters: Counters,
    /// Where its datagrams come from: told by IP discovery, or seen.
    pub(super) address: Option<SocketAddr>,
    /// What op 1 says; used while nothing was seen.
    pub(super) told: Option<SocketAddr>,
    pub(super) discoveries: u32,
    /// When the first packet came before op 5.
    pub(super) early: Option<Duration>,
    pub(super) reception: Reception,
    pub(super) report_due: Option<Duration>,
    /// By how much the sequence numbers of a stream to this client are shifted, because packets were put in.
    pub(super) shifts: BTreeMap<u32, u16>,
}

impl Media {
    pub(super) fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            secret: Secret::new([0; 32]),
            cipher: None,
            counter: 0,
            counters: Counters::default(),
            address: None,
            told: None,
            discoveries: 0,
            early: None,
            reception: Reception::default(),
            report_due: None,
            shifts: BTreeMap::new(),
        }
    }

    /// Where to send what is for the client.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.address.or(self.told)
    }
}

impl Default for Media {
    fn default() -> Self {
        Self::new(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_remembered_in_a_window_and_over_the_wrap() {
        let mut counters = Counters::default();
        for counter in [u32::MAX - 1, 1, u32::MAX, 0] {
            assert!(counters.is_new(counter), "{counter}");
        }
        for counter in [u32::MAX - 1, 1, u32::MAX, 0] {
            assert!(!counters.is_new(counter), "{counter}");
        }
        assert!(counters.is_new(500));
        assert!(counters.is_new(2), "too long ago to be told");
        assert!(!counters.is_new(500));
    }

    #[test]
    fn a_report_block_counts_loss_as_the_rfc_does() {
        let mut reception = Reception::default();
        assert_eq!(reception.block(7, Duration::ZERO), None);
        // 65534, 65535, 0, (1 is lost), 2.
        for (index, sequence) in [65_534_u16, 65_535, 0, 2].into_iter().enumerate() {
            let at = Duration::from_millis(20 * u64::from(sequence.wrapping_sub(65_534)));
            let timestamp = 960 * u32::from(sequence.wrapping_sub(65_534));
            reception.packet(sequence, timestamp, at);
            assert_eq!(reception.missing(), u32::from(index == 3));
        }
        reception.last_report = Some((0xAABB_CCDD, Duration::from_millis(80)));
        let block = reception.block(7, Duration::from_millis(580)).unwrap();
        assert_eq!(block[..4], 7_u32.to_be_bytes());
        assert_eq!(block[4], 51, "1 of 5, in 256ths");
        assert_eq!(block[5..8], [0, 0, 1]);
        assert_eq!(block[8..12], (65_536_u32 + 2).to_be_bytes());
        assert_eq!(block[12..16], [0; 4], "no jitter");
        assert_eq!(block[16..20], [0xAA, 0xBB, 0xCC, 0xDD]);
        assert_eq!(block[20..], 32_768_u32.to_be_bytes(), "half a second");
        assert_eq!(reception.block(7, Duration::from_secs(2)), None);
    }
}
