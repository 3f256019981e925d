//! RTP timestamps that keep wall time over pauses.

use std::time::{Duration, Instant};

use super::frame::{SAMPLES_20_MS, SAMPLES_PER_MS};

/// Within a stretch of speech the timestamps follow the frames, however uneven
/// their ticks. Behind by more than this they jump: then frames were left out,
/// not sent late.
const BEHIND: u64 = 500 * SAMPLES_PER_MS as u64;

/// Gives each frame its timestamp.
#[derive(Debug)]
pub(super) struct MediaClock {
    origin: Instant,
    offset: u32,
    /// Where the next frame begins if it follows on the last, in samples since
    /// the origin.
    next: u64,
    /// The last frame: when it was sent and where it begins.
    last: Option<(Instant, u64)>,
    talking: bool,
}

impl MediaClock {
    /// `offset`: where the timestamps begin, at random (RFC 3550, 5.1).
    pub(super) fn new(now: Instant, offset: u32) -> Self {
        Self {
            origin: now,
            offset,
            next: 0,
            last: None,
            talking: false,
        }
    }

    /// The timestamp of a frame that is sent now.
    ///
    /// After a pause it stands where it would if frames had gone on all the
    /// while (RFC 7587, 4), on the grid of 20 ms.
    pub(super) fn stamp(&mut self, now: Instant, samples: u32) -> u32 {
        let behind = self.elapsed(now).saturating_sub(self.next);
        if !self.talking || behind > BEHIND {
            self.next += behind - behind % u64::from(SAMPLES_20_MS);
            self.talking = true;
        }
        let begin = self.next;
        self.next += u64::from(samples);
        self.last = Some((now, begin));
        self.wire(begin)
    }

    /// The stretch of speech has ended.
    pub(super) fn pause(&mut self) {
        self.talking = false;
    }

    /// The timestamp of the sound that is spoken now, for a sender report.
    pub(super) fn read(&self, now: Instant) -> u32 {
        self.wire(match self.last {
            None => self.elapsed(now),
            Some((at, begin)) => begin + samples(now.saturating_duration_since(at)),
        })
    }

    fn elapsed(&self, now: Instant) -> u64 {
        samples(now.saturating_duration_since(self.origin))
    }

    #[cfg(test)]
    pub(super) fn set_offset(&mut self, offset: u32) {
        self.offset = offset;
    }

    /// Wraps after a day.
    fn wire(&self, position: u64) -> u32 {
        self.offset.wrapping_add(position as u32)
    }
}

fn samples(span: Duration) -> u64 {
    // A span of 2^64 samples is beyond any clock.
    (span.as_micros() * u128::from(SAMPLES_PER_MS) / 1000) as u64
}
