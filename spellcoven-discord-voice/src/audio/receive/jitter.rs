//! Puts received packets back into order and time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    delay::{DelayEstimator, JitterConfig},
    types::{JitterPacket, JitterStats, Playout},
};
use crate::{
    audio::{FRAME_SAMPLES, OpusPacket, input::time_of},
    media::OpusFrame,
};

/// 20 ms.
const TICK: i64 = FRAME_SAMPLES as i64;
/// So many packets are held for one sender.
const MAX_PACKETS: usize = 64;
/// After so many turns without a packet the sender is taken to be silent.
const MAX_WAITS: u32 = 5;
/// A jump in the sequence beyond this is another stream (RFC 3550, A.1, MAX_DROPOUT).
const MAX_JUMP: u64 = 3000;
/// So many lost sequence numbers are remembered, to tell late packets from duplicates.
const MAX_REMEMBERED: usize = 128;
/// Above the greatest delay one packet in so many ticks is left out: 20 % faster speech,
/// which is still understood.
const CATCH_UP_EVERY: u32 = 5;
/// More than so much is never held, whatever its timestamps say.
const HARD_LIMIT: i64 = MAX_PACKETS as i64 * TICK;
/// How many ticks in a row have to find more than is needed before a packet is dropped.
const SHRINK_AFTER: u32 = 100;

#[derive(Debug)]
struct Held {
    timestamp: i64,
    samples: u32,
    payload: Bytes,
    arrival: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The sender is silent.
    Idle,
    /// The first packet came then; its turn is when the delay has passed.
    Filling(Instant),
    Playing,
}

/// The jitter buffer for one sender. Holds 64 packets and 1.28 s at most; of more, the
/// oldest are dropped. Above [`JitterConfig::max_delay`] (after a stall of the network, or
/// where frames had to wait for their key) it catches up by leaving out every fifth packet,
/// so that no stretch of speech is lost as a whole.
///
/// A tick is a turn of 20 ms. While a sender talks, each tick plays as much audio as it is
/// long. The delay grows by a tick when a packet is missed that might yet come, and when
/// packets come late; it shrinks by leaving out a packet when for two seconds more was
/// held than the jitter asks for, sooner where the packet is silence; and it is set anew
/// with each stretch of talk.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    state: State,
    held: BTreeMap<u64, Held>,
    delay: DelayEstimator,
    ssrc: Option<u32>,
    last_timestamp: i64,
    /// What is to be played next, once anything has been.
    next: Option<u64>,
    next_timestamp: i64,
    last_samples: u32,
    /// The last packet played was silence.
    silence: bool,
    /// Samples due in this turn; below 0 where a longer packet covers the next ones.
    owed: i64,
    waits_in_row: u32,
    grow: bool,
    missed: BTreeSet<u64>,
    ample: u32,
    since_left_out: u32,
    stats: JitterStats,
}

impl JitterBuffer {
    pub(crate) fn new(config: JitterConfig) -> JitterBuffer {
        JitterBuffer {
            state: State::Idle,
            held: BTreeMap::new(),
            delay: DelayEstimator::new(config),
            ssrc: None,
            last_timestamp: 0,
            next: None,
            next_timestamp: 0,
            last_samples: FRAME_SAMPLES as u32,
            silence: true,
            owed: 0,
            waits_in_row: 0,
            grow: false,
            missed: BTreeSet::new(),
            ample: 0,
            since_left_out: 0,
            stats: JitterStats::default(),
        }
    }

    /// Nothing is held and nothing is being played.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    pub(crate) fn stats(&self) -> JitterStats {
        JitterStats {
            delay: time_of(self.level().unsigned_abs()),
            target_delay: self.delay.target(),
            jitter: self.delay.jitter(),
            ..self.stats
        }
    }

    /// Takes a packet.
    pub(crate) fn push(&mut self, packet: JitterPacket) {
        let Ok(opus) = OpusPacket::parse(&packet.payload) else {
            self.stats.invalid += 1;
            return;
        };
        let sequence = packet.sequence;
        let jumped = self
            .newest()
            .is_some_and(|newest| newest.abs_diff(sequence) > MAX_JUMP);
        if jumped || self.ssrc != Some(packet.ssrc) {
            self.begin_stream(&packet);
        }
        let step = packet.timestamp.wrapping_sub(self.last_timestamp as u32) as i32;
        let timestamp = self.last_timestamp + i64::from(step);
        if self.next.is_some_and(|next| sequence < next) {
            self.behind(sequence, packet.arrival, timestamp);
            return;
        }
        if self.held.contains_key(&sequence) {
            self.stats.duplicates += 1;
            return;
        }
        self.last_timestamp = timestamp;
        if self.state == State::Idle {
            self.state = State::Filling(packet.arrival);
            self.delay.restart();
        }
        self.delay.arrived(packet.arrival, timestamp);
        self.held.insert(
            sequence,
            Held {
                timestamp,
                samples: opus.samples(),
                payload: packet.payload,
                arrival: packet.arrival,
            },
        );
        while self.held.len() > MAX_PACKETS {
            self.leave_out();
        }
    }

    fn newest(&self) -> Option<u64> {
        let newest = self.held.last_key_value().map(|(&sequence, _)| sequence);
        newest.or(self.next)
    }

    fn begin_stream(&mut self, packet: &JitterPacket) {
        self.stats.dropped += self.held.len() as u64;
        self.held.clear();
        self.missed.clear();
        self.state = State::Idle;
        self.ssrc = Some(packet.ssrc);
        self.next = None;
        self.last_timestamp = i64::from(packet.timestamp);
        self.silence = true;
    }

    /// A packet whose turn is over.
    fn behind(&mut self, sequence: u64, arrival: Instant, timestamp: i64) {
        if self.missed.remove(&sequence) {
            self.stats.late += 1;
            self.delay.arrived(arrival, timestamp);
            self.grow = true;
        } else {
            self.stats.duplicates += 1;
        }
    }

    /// Samples held, gaps included.
    fn level(&self) -> i64 {
        let Some((_, last)) = self.held.last_key_value() else {
            return 0;
        };
        let from = if self.state == State::Playing {
            self.next_timestamp
        } else {
            self.held
                .first_key_value()
                .map_or(0, |(_, held)| held.timestamp)
        };
        (last.timestamp + i64::from(last.samples) - from).max(0)
    }

    fn samples(time: Duration) -> i64 {
        i64::try_from(time.as_micros() * 48 / 1000).unwrap_or(i64::MAX)
    }

    /// Appends what is to be played in the next 20 ms. To be called every 20 ms.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<Playout>) {
        let max = Self::samples(self.delay.max_delay());
        match self.state {
            State::Idle => return,
            State::Filling(since) => {
                if now < since + self.delay.target() && self.level() < max {
                    return;
                }
                self.begin_talk();
            }
            State::Playing => {}
        }
        self.owed += TICK;
        self.limit(max);
        let target = Self::samples(self.delay.target());
        if std::mem::take(&mut self.grow) && self.level() < target && self.owed > 0 {
            self.wait(out);
            return;
        }
        self.shrink(target);
        while self.owed > 0 && self.state == State::Playing {
            self.turn(now, target, out);
        }
    }

    fn begin_talk(&mut self) {
        self.state = State::Playing;
        self.owed = 0;
        self.waits_in_row = 0;
        self.ample = 0;
        if let Some((&first, held)) = self.held.first_key_value() {
            self.next_timestamp = held.timestamp;
            self.miss_up_to(first);
            self.next = Some(first);
        }
    }

    /// All before this one are lost.
    fn miss_up_to(&mut self, sequence: u64) {
        let Some(next) = self.next.filter(|&next| next < sequence) else {
            return;
        };
        self.stats.lost += sequence - next;
        for missed in next.max(sequence.saturating_sub(MAX_REMEMBERED as u64))..sequence {
            self.remember_missed(missed);
        }
        self.next = Some(sequence);
    }

    fn remember_missed(&mut self, sequence: u64) {
        self.missed.insert(sequence);
        while self.missed.len() > MAX_REMEMBERED {
            self.missed.pop_first();
        }
    }

    /// Passes over a gap, or where there is none the oldest packet. False where nothing is
    /// held.
    fn leave_out(&mut self) -> bool {
        let Some((&first, held)) = self.held.first_key_value() else {
            return false;
        };
        let end = held.timestamp + i64::from(held.samples);
        let timestamp = held.timestamp;
        if self.state == State::Playing && self.gap_ahead() {
            self.miss_up_to(first);
            self.next_timestamp = timestamp;
        } else {
            self.held.remove(&first);
            self.miss_up_to(first);
            self.stats.dropped += 1;
            self.next = Some(first + 1);
            self.next_timestamp = end;
        }
        true
    }

    /// Keeps what is held below the limits.
    fn limit(&mut self, max: i64) {
        self.since_left_out += 1;
        while self.level() > HARD_LIMIT && self.leave_out() {}
        while self.level() > max {
            let may = self.since_left_out >= CATCH_UP_EVERY && self.owed > 0;
            if !self.gap_ahead() && !may {
                break;
            }
            if may {
                self.since_left_out = 0;
            }
            self.leave_out();
        }
    }

    /// The next packet held is not the next one to be played, or not yet.
    fn gap_ahead(&self) -> bool {
        self.held.first_key_value().is_some_and(|(&first, held)| {
            self.next.is_some_and(|next| next < first) || held.timestamp > self.next_timestamp
        })
    }

    /// Leaves a packet out where for long more has been held than needed.
    fn shrink(&mut self, target: i64) {
        let peak = Self::samples(self.delay.peak());
        if self.level() + peak <= target + 2 * TICK || self.owed <= 0 {
            self.ample = 0;
            return;
        }
        self.ample += 1;
        let Some((&first, held)) = self.held.first_key_value() else {
            return;
        };
        let quiet = is_silence(&held.payload) && self.ample >= 5;
        let due = self.next == Some(first) && held.timestamp <= self.next_timestamp;
        if due && i64::from(held.samples) <= TICK && (quiet || self.ample >= SHRINK_AFTER) {
            self.ample = 0;
            self.leave_out();
        }
    }

    /// Plays, misses or bridges one packet.
    fn turn(&mut self, now: Instant, target: i64, out: &mut Vec<Playout>) {
        let level = self.level();
        let Some(entry) = self.held.first_entry() else {
            self.wait(out);
            return;
        };
        let first = *entry.key();
        let next = self.next.unwrap_or(first);
        let gap = entry.get().timestamp - self.next_timestamp;
        if first > next {
            if gap <= 0 {
                // No time went by for what is missing.
                self.miss_up_to(first);
                return;
            }
            if level < target && self.waits_in_row == 0 {
                // It may only be late; the delay is too short anyway.
                self.wait(out);
                return;
            }
            let fec = (first == next + 1)
                .then(|| entry.get().payload.clone())
                .filter(|payload| OpusPacket::parse(payload).is_ok_and(|opus| opus.has_fec()));
            let samples = gap.min(i64::from(self.last_samples));
            self.stats.lost += 1;
            self.remember_missed(next);
            self.next = Some(next + 1);
            self.next_timestamp += samples;
            self.owed -= samples;
            self.waits_in_row = 0;
            out.push(Playout::Lost {
                sequence: next,
                samples: u32::try_from(samples).unwrap_or(0),
                fec,
            });
            return;
        }
        if gap > 0 && level - gap <= target {
            // The sender paused: the delay is built up anew.
            let due = entry.get().arrival + time_of(target.unsigned_abs());
            if now < due {
                self.wait(out);
                return;
            }
        }
        let held = entry.remove();
        let samples = i64::from(held.samples);
        self.stats.played += 1;
        self.next = Some(first + 1);
        self.next_timestamp = held.timestamp + samples;
        self.last_samples = held.samples;
        self.silence = is_silence(&held.payload);
        self.owed -= samples;
        self.waits_in_row = 0;
        out.push(Playout::Frame {
            ssrc: self.ssrc.unwrap_or(0),
            sequence: first,
            timestamp: held.timestamp as u32,
            samples: held.samples,
            payload: held.payload,
        });
    }

    /// Nothing is played this turn, so the delay grows by it.
    fn wait(&mut self, out: &mut Vec<Playout>) {
        let samples = self.owed;
        self.owed = 0;
        self.waits_in_row += 1;
        let over = self.waits_in_row > MAX_WAITS || self.silence;
        if over && self.held.is_empty() {
            self.state = State::Idle;
        }
        if !over {
            self.stats.waits += 1;
            out.push(Playout::Wait {
                samples: u32::try_from(samples).unwrap_or(0),
            });
        }
    }
}

fn is_silence(payload: &[u8]) -> bool {
    payload == OpusFrame::SILENCE.data
}

#[cfg(test)]
#[path = "jitter_tests.rs"]
mod tests;
