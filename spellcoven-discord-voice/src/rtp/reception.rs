//! What one receives of a stream: loss, jitter, the highest sequence number
//! (RFC 3550, A.1, A.3 and A.8).

use std::time::{Duration, Instant};

use super::{
    ntp::{NtpTime, ShortNtp},
    rtcp::ReportBlock,
};

/// A jump by more is a sender that began anew and no loss (RFC 3550, A.1,
/// `MAX_DROPOUT`): a minute of audio.
const MAX_DROPOUT: u64 = 3000;

/// The reception of one SSRC at 48 kHz. Give it each packet once: repeated ones
/// are for the replay window.
#[derive(Debug, Clone)]
pub(crate) struct Reception {
    /// The extended number of the first packet, and of the highest.
    base: u64,
    highest: u64,
    /// Sequence numbers left out by a sender that began anew.
    skipped: u64,
    received: u64,
    late: u64,
    /// In media clock units, times 16 (RFC 3550, A.8).
    jitter: u64,
    last_transit: Option<u32>,
    began: Instant,
    /// What the last report counted: expected and received.
    reported: (u64, u64),
    last_sr: Option<(NtpTime, Instant)>,
}

impl Reception {
    pub(crate) fn new(now: Instant, sequence: u16) -> Self {
        // Room below for packets that the first one overtook.
        let base = (1 << 32) + u64::from(sequence);
        Self {
            base,
            highest: base - 1,
            skipped: 0,
            received: 0,
            late: 0,
            jitter: 0,
            last_transit: None,
            began: now,
            reported: (0, 0),
            last_sr: None,
        }
    }

    /// A packet came. Gives its extended sequence number, which does not wrap.
    pub(crate) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32) -> u64 {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        let extended = if ahead < 0x8000 {
            self.highest + u64::from(ahead)
        } else {
            self.highest - u64::from(ahead.wrapping_neg())
        };
        self.received += 1;
        if extended > self.highest {
            let left_out = extended - self.highest - 1;
            if left_out > MAX_DROPOUT {
                self.skipped += left_out;
            }
            self.highest = extended;
        } else {
            self.late += 1;
            self.base = self.base.min(extended);
        }
        self.clock(now, timestamp);
        extended
    }

    /// RFC 3550, A.8, in the integer form given there.
    fn clock(&mut self, now: Instant, timestamp: u32) {
        let arrival = now.saturating_duration_since(self.began).as_micros() * 48 / 1000;
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(last) = self.last_transit.replace(transit) {
            let change = u64::from((transit.wrapping_sub(last) as i32).unsigned_abs());
            self.jitter = (self.jitter + change).saturating_sub((self.jitter + 8) >> 4);
        }
    }

    /// The next packet begins a new stretch of speech: the pause before it is
    /// no jitter.
    pub(crate) fn pause(&mut self) {
        self.last_transit = None;
    }

    /// The sender's report came.
    pub(crate) fn sender_report(&mut self, now: Instant, ntp: NtpTime) {
        self.last_sr = Some((ntp, now));
    }

    /// Packets that came after one with a higher number.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    fn expected(&self) -> u64 {
        (self.highest + 1 - self.base).saturating_sub(self.skipped)
    }

    /// Packets that have not come, as far as one can tell by now.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// The mean deviation of the packets' spacing.
    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_nanos((self.jitter >> 4) * 1_000_000_000 / 48_000)
    }

    /// Did anything come since the last report?
    pub(crate) fn has_news(&self) -> bool {
        self.received > self.reported.1
    }

    /// The block for the next report, which ends the interval that its fraction
    /// is about.
    pub(crate) fn report(&mut self, now: Instant, ssrc: u32) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received);
        let (expected_before, received_before) =
            std::mem::replace(&mut self.reported, (expected, received));
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(received.saturating_sub(received_before));
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        let (last_sr, delay) = match self.last_sr {
            None => (ShortNtp(0), ShortNtp(0)),
            Some((ntp, at)) => (
                ntp.short(),
                ShortNtp::from_duration(now.saturating_duration_since(at)),
            ),
        };
        ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(self.lost()).unwrap_or(i32::MAX),
            // The cycles as RFC 3550 counts them: from the first packet on.
            highest_sequence: self.highest as u32,
            jitter: u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX),
            last_sr,
            delay_since_last_sr: delay,
        }
    }
}

/// The round trip that a report about our stream tells, at its arrival (RFC
/// 3550, 6.4.1). `None` where the report refers to no sender report of ours, or
/// claims to have been under way for less than no time.
pub(crate) fn round_trip(now: NtpTime, block: &ReportBlock) -> Option<Duration> {
    if block.last_sr.0 == 0 {
        return None;
    }
    let span = now.short().since(block.last_sr).0;
    let round_trip = span.checked_sub(block.delay_since_last_sr.0)?;
    // More than a minute is no round trip but a wrong reference.
    (round_trip < 60 << 16).then(|| ShortNtp(round_trip).to_duration())
}
