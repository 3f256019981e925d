//! When which frame goes out: the 20 ms beat, silence at the end of talk, op 5, and holding.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    audio::{AudioSource, NextFrame},
    media::OpusFrame,
};

/// The beat where no frame says otherwise.
const TICK: Duration = Duration::from_millis(20);
/// Where the caller comes later than this, the slots between are given up: a burst would only fill the receivers'
/// buffers.
const CATCH_UP: Duration = Duration::from_millis(60);
/// Frames of silence at the end of talk (Discord documentation, "Voice Connections", Voice Data Interpolation).
const SILENCE_FRAMES: u8 = 5;
/// Op 5 says "not speaking" when nothing was sent for so long, so that a source with short pauses does not flood the
/// voice gateway.
const LINGER: Duration = Duration::from_millis(500);
/// Audio that waits for a key is at most this old: what is older is dropped, so that speech is not late.
const HELD: Duration = Duration::from_millis(500);
/// The same, in frames: none is shorter than 2.5 ms.
const HELD_FRAMES: usize = 200;

/// Counters of what was played. All only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaybackStats {
    /// Frames of the source that were sent. Frames of silence are not counted.
    pub sent: u64,
    /// Slots of 20 ms in which nothing was sent because the task came late by more than 60 ms.
    pub missed: u64,
    /// Frames that waited for an encryption key for more than 500 ms and were dropped, or were given up with their
    /// connection.
    pub held_dropped: u64,
    /// Frames of the source that were dropped because the client had muted itself.
    pub muted: u64,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Tell the server by op 5 whether this client speaks.
    Speak(bool),
    /// Send this frame.
    Frame(OpusFrame),
    /// Send a frame of silence.
    Silence,
    /// The source ended and all that it gave has been sent or dropped.
    Ended,
}

/// Whether frames may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    /// Throw the source's frames away. Silence is sent all the same.
    pub(super) muted: bool,
    /// No key: keep frames and silence for a while.
    pub(super) holds: bool,
}

#[derive(Default)]
pub(super) struct Pacer {
    source: Option<Box<dyn AudioSource>>,
    /// The source has said its end; `Step::Ended` is still to come.
    ending: bool,
    /// The next slot, on an absolute schedule: what is late does not move what follows. `None` while nothing is due.
    next: Option<Instant>,
    running: bool,
    steps: VecDeque<Step>,
    silence_left: u8,
    /// Whether anything was said on this connection.
    announced: bool,
    /// The next slot stays empty.
    lead_in: bool,
    /// What op 5 said last on this connection.
    speaking: bool,
    last_sent: Option<Instant>,
    held: VecDeque<(Instant, OpusFrame)>,
    stats: PlaybackStats,
}

impl Pacer {
    /// Takes the place of the source that was there. Frames of the old one that are held are dropped.
    pub(super) fn set_source(&mut self, source: Option<Box<dyn AudioSource>>, now: Instant) {
        self.drop_held();
        self.ending = false;
        self.source = source;
        if self.running && self.source.is_some() && !self.announced {
            self.announce(now);
        } else if self.running && (self.source.is_some() || self.silence_left > 0) {
            self.beat_soon(now);
        }
    }

    /// The next slot may be far off, where there was only op 5 left to say.
    fn beat_soon(&mut self, now: Instant) {
        self.next = Some(self.next.filter(|next| *next <= now + TICK).unwrap_or(now));
    }

    /// A connection is there, on which nothing was said yet. `announce`: say op 5 and send silence even without a
    /// source, because a server may else not forward the audio of others (observed).
    pub(super) fn start(&mut self, announce: bool, now: Instant) {
        self.stop();
        self.running = true;
        if announce {
            self.silence_left = SILENCE_FRAMES;
        }
        if announce || self.source.is_some() {
            self.announce(now);
        } else if self.ending {
            // The end is still to be told.
            self.next = Some(now);
        }
    }

    /// Says op 5 for the first time on a connection, a slot before the first frame: the two take different ways, and
    /// audio that is there before op 5 is dropped.
    fn announce(&mut self, now: Instant) {
        self.announced = true;
        self.lead_in = true;
        self.last_sent = Some(now);
        self.speak(true);
        self.next = Some(now);
    }

    /// The connection is gone. The source stays where it is.
    pub(super) fn stop(&mut self) {
        self.running = false;
        self.next = None;
        self.announced = false;
        self.lead_in = false;
        self.speaking = false;
        self.silence_left = 0;
        self.last_sent = None;
        self.steps.clear();
        self.drop_held();
    }

    /// There may be a key now: silence that was still to be sent is sent.
    pub(super) fn unhold(&mut self, now: Instant) {
        if self.running && self.silence_left > 0 {
            self.beat_soon(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// How many frames wait for a key.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn stats(&self) -> PlaybackStats {
        self.stats
    }

    /// The next step that is due; `None` when there is none until [`poll_timeout`](Self::poll_timeout).
    pub(super) fn step(&mut self, gate: Gate, now: Instant) -> Option<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            let due = self.next.filter(|next| *next <= now)?;
            let due = self.skip_missed(due, gate, now);
            let length = self.slot(gate, due);
            self.next = self.has_more(gate).then_some(due + length).or_else(|| {
                let quiet_at = self.last_sent.filter(|_| self.speaking)? + LINGER;
                Some(quiet_at.max(due + length))
            });
        }
    }

    /// Gives up the slots that nobody came for, keeping the schedule's phase.
    fn skip_missed(&mut self, due: Instant, gate: Gate, now: Instant) -> Instant {
        let late = now.saturating_duration_since(due);
        if late <= CATCH_UP || !self.has_more(gate) {
            return due;
        }
        let slots = u32::try_from(late.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX);
        self.stats.missed += u64::from(slots);
        due + TICK * slots
    }

    /// One slot; gives its length.
    fn slot(&mut self, gate: Gate, due: Instant) -> Duration {
        if std::mem::take(&mut self.lead_in) {
            return TICK;
        }
        let fresh = self.pull();
        let mut length = fresh.as_ref().map_or(TICK, duration);
        if gate.muted {
            self.stats.muted += u64::from(fresh.is_some());
            self.drop_held();
        } else if gate.holds {
            self.held.extend(fresh.map(|frame| (due, frame)));
            self.drop_old(due);
        } else if self.held.is_empty() {
            if let Some(frame) = fresh {
                self.send(frame, due);
                return length;
            }
        } else {
            self.held.extend(fresh.map(|frame| (due, frame)));
            if let Some((_, frame)) = self.held.pop_front() {
                length = duration(&frame);
                self.send(frame, due);
                return length;
            }
        }
        self.pause(gate, due);
        length
    }

    fn pull(&mut self) -> Option<OpusFrame> {
        match self.source.as_mut()?.next_frame() {
            NextFrame::Frame(frame) => Some(frame),
            NextFrame::Idle => None,
            NextFrame::End => {
                self.source = None;
                self.ending = true;
                None
            }
        }
    }

    fn send(&mut self, frame: OpusFrame, due: Instant) {
        if !self.speaking {
            self.speak(true);
        }
        self.stats.sent += 1;
        self.silence_left = SILENCE_FRAMES;
        self.last_sent = Some(due);
        self.steps.push_back(Step::Frame(frame));
    }

    /// A slot in which no frame goes out.
    fn pause(&mut self, gate: Gate, due: Instant) {
        if self.silence_left > 0 && !gate.holds {
            self.silence_left -= 1;
            self.last_sent = Some(due);
            self.steps.push_back(Step::Silence);
        } else if self.speaking && self.last_sent.is_none_or(|last| due >= last + LINGER) {
            self.speak(false);
        }
        if self.ending && self.held.is_empty() && (gate.holds || self.silence_left == 0) {
            self.ending = false;
            self.steps.push_back(Step::Ended);
        }
    }

    /// Whether there is something to do at each beat. Silence alone waits for its key without one.
    fn has_more(&self, gate: Gate) -> bool {
        self.source.is_some()
            || self.ending
            || !self.held.is_empty()
            || (self.silence_left > 0 && !gate.holds)
    }

    fn speak(&mut self, speaking: bool) {
        self.speaking = speaking;
        self.steps.push_back(Step::Speak(speaking));
    }

    fn drop_old(&mut self, now: Instant) {
        while let Some((since, _)) = self.held.front()
            && (self.held.len() > HELD_FRAMES || now.saturating_duration_since(*since) >= HELD)
        {
            self.held.pop_front();
            self.stats.held_dropped += 1;
        }
    }

    fn drop_held(&mut self) {
        self.stats.held_dropped += self.held.len() as u64;
        self.held.clear();
    }
}

/// A frame of no length would be a busy loop.
fn duration(frame: &OpusFrame) -> Duration {
    let samples = frame.samples.clamp(120, 5760);
    Duration::from_nanos(u64::from(samples) * 1_000_000_000 / 48_000)
}
