//! What a person heard, by whom it was said.

use std::collections::{BTreeMap, VecDeque};
use std::f64::consts::TAU;
use std::time::Duration;

use audiopus::coder::Decoder;
use audiopus::packet::Packet;
use audiopus::{Channels, MutSignals, SampleRate};
use bytes::Bytes;

use super::speech::SpeechError;
use crate::ids::UserId;

/// Others that are listened to at once; those beyond are not recorded.
const MAX_SPEAKERS: usize = 256;

/// A frame that arrived and was decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeardFrame {
    /// Time since the simulator's start.
    pub arrived: Duration,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// Who sent it, in RTP's terms.
    pub ssrc: u32,
    /// Whether it was end-to-end encrypted; silence never is.
    pub encrypted: bool,
    /// The Opus packet.
    pub opus: Bytes,
}

/// Counts of what a person heard of one other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeardSummary {
    /// RTP packets with media that arrived.
    pub packets: u64,
    /// Packets that were nothing but padding.
    pub padding: u64,
    /// Frames that could be heard, silence among them.
    pub frames: u64,
    /// Of those, frames that were end-to-end encrypted.
    pub encrypted: u64,
    /// Of those, silence.
    pub silence: u64,
    /// Frames that could not be decrypted.
    pub failed: u64,
    /// Frames in clear where they must be encrypted.
    pub clear: u64,
    /// Frames whose sender or key did not become known in time.
    pub keyless: u64,
    /// Sequence numbers that never arrived, between those that did.
    pub missing: u64,
    /// When the first and the last frame that could be heard arrived, since the simulator's start.
    pub first: Option<Duration>,
    /// See [`first`](Self::first).
    pub last: Option<Duration>,
}

/// Two ears of samples at 48 kHz.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stereo {
    /// The left ear, -1 to 1.
    pub left: Vec<f32>,
    /// The right ear.
    pub right: Vec<f32>,
}

/// What became of a packet.
pub(super) enum Fate {
    Heard(HeardFrame),
    Padding,
    Failed,
    Clear,
    Keyless,
}

/// A person's records.
#[derive(Debug, Default)]
pub(super) struct Ears {
    of: BTreeMap<u64, Record>,
}

#[derive(Debug, Default)]
struct Record {
    summary: HeardSummary,
    frames: VecDeque<HeardFrame>,
    highest: Option<u16>,
}

impl Ears {
    /// Records a packet of a user, and forgets what is older than `keep`.
    pub(super) fn record(&mut self, now: Duration, from: u64, fate: Fate, keep: Duration) {
        if !self.of.contains_key(&from) && self.of.len() >= MAX_SPEAKERS {
            return;
        }
        let record = self.of.entry(from).or_default();
        let summary = &mut record.summary;
        match fate {
            Fate::Padding => summary.padding += 1,
            Fate::Failed => summary.failed += 1,
            Fate::Clear => summary.clear += 1,
            Fate::Keyless => summary.keyless += 1,
            Fate::Heard(frame) => {
                summary.frames += 1;
                summary.encrypted += u64::from(frame.encrypted);
                summary.silence += u64::from(frame.opus[..] == super::e2ee::SILENCE);
                summary.first.get_or_insert(frame.arrived);
                summary.last = Some(frame.arrived);
                record.frames.push_back(frame);
            }
        }
        // 20 ms is the shortest frame that anyone sends for long.
        let most = usize::try_from(keep.as_millis() / 20).unwrap_or(usize::MAX);
        let old = |frame: &HeardFrame| frame.arrived.saturating_add(keep) < now;
        while record.frames.len() > most || record.frames.front().is_some_and(old) {
            record.frames.pop_front();
        }
    }

    /// Counts a packet's arrival, and the gap before it.
    pub(super) fn arrival(&mut self, from: u64, sequence: u16) {
        if !self.of.contains_key(&from) && self.of.len() >= MAX_SPEAKERS {
            return;
        }
        let record = self.of.entry(from).or_default();
        record.summary.packets += 1;
        let Some(highest) = record.highest else {
            record.highest = Some(sequence);
            return;
        };
        let ahead = sequence.wrapping_sub(highest);
        match ahead {
            0 => {}
            1..0x8000 => {
                record.summary.missing += u64::from(ahead - 1);
                record.highest = Some(sequence);
            }
            // A late one fills a gap.
            _ => record.summary.missing = record.summary.missing.saturating_sub(1),
        }
    }

    /// One who comes back counts sequence numbers from elsewhere.
    pub(super) fn new_stream(&mut self, from: u64) {
        if let Some(record) = self.of.get_mut(&from) {
            record.highest = None;
        }
    }

    pub(super) fn heard(&self, from: u64) -> Vec<HeardFrame> {
        let record = self.of.get(&from);
        record
            .map(|record| record.frames.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn summaries(&self) -> BTreeMap<UserId, HeardSummary> {
        let records = self.of.iter();
        records
            .map(|(user, record)| (UserId(*user), record.summary.clone()))
            .collect()
    }

    pub(super) fn clear(&mut self) {
        self.of.clear();
    }
}

/// Decodes frames in the order of their sequence numbers, with libopus's concealment where one or more, up to a second
/// of them, are missing. Frames of one sender and one connection.
///
/// # Errors
/// [`SpeechError::Opus`] if libopus refuses a frame.
pub fn decode(frames: &[HeardFrame]) -> Result<Stereo, SpeechError> {
    const LONGEST: usize = 5760;
    const MOST_CONCEALED: u16 = 50;
    let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Stereo)?;
    let mut sorted: Vec<&HeardFrame> = frames.iter().collect();
    if let Some(first) = frames.first().map(|frame| frame.sequence) {
        // By distance from the first to arrive; what came before it, late, goes to the front.
        sorted.sort_by_key(|frame| frame.sequence.wrapping_sub(first).cast_signed());
    }
    sorted.dedup_by_key(|frame| frame.sequence);
    let mut heard = Stereo::default();
    let mut pcm = vec![0.0_f32; LONGEST * 2];
    let mut last: Option<(u16, usize)> = None;
    for frame in sorted {
        if let Some((sequence, samples)) = last {
            let gap = frame.sequence.wrapping_sub(sequence).saturating_sub(1);
            for _ in 0..gap.min(MOST_CONCEALED) {
                let room = pcm.get_mut(..samples * 2).unwrap_or_default();
                let made = decoder.decode_float(None, MutSignals::try_from(room)?, false)?;
                heard.push(&pcm, made);
            }
        }
        let packet = Packet::try_from(&frame.opus[..])?;
        let signals = MutSignals::try_from(&mut pcm)?;
        let samples = decoder.decode_float(Some(packet), signals, false)?;
        heard.push(&pcm, samples);
        last = Some((frame.sequence, samples));
    }
    Ok(heard)
}

impl Stereo {
    fn push(&mut self, interleaved: &[f32], samples: usize) {
        for pair in interleaved.chunks_exact(2).take(samples) {
            if let [left, right] = pair {
                self.left.push(*left);
                self.right.push(*right);
            }
        }
    }
}

/// Which share of a sound's power is at a frequency, 0 to 1; 0 for no sound at all. Samples at 48 kHz; at least a tenth
/// of a second, or neighbouring frequencies mix.
#[must_use]
pub fn tone_share(samples: &[f32], hz: u32) -> f64 {
    // Goertzel's algorithm.
    let coefficient = 2.0 * (TAU * f64::from(hz) / 48_000.0).cos();
    let (mut before, mut last, mut power) = (0.0, 0.0, 0.0);
    for sample in samples {
        let sample = f64::from(*sample);
        power += sample * sample;
        (before, last) = (last, sample + coefficient * last - before);
    }
    // Less than the last bit of 16 is silence.
    if power <= samples.len() as f64 * 1e-9 {
        return 0.0;
    }
    let at = last * last + before * before - coefficient * last * before;
    (2.0 * at / (samples.len() as f64 * power)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::Speech;
    use super::*;

    fn said(speech: &Speech, count: u16) -> Vec<HeardFrame> {
        let frame = |index: u16| HeardFrame {
            arrived: Duration::ZERO,
            sequence: index.wrapping_sub(10),
            timestamp: 0,
            ssrc: 1,
            encrypted: true,
            opus: speech.frame(usize::from(index)).unwrap().opus.clone(),
        };
        (0..count).map(frame).collect()
    }

    #[test]
    fn a_tone_is_found_in_its_ear_and_nowhere_else() {
        let mut frames = said(&Speech::tone(440, 880).unwrap(), 100);
        // Out of order, twice, and with a gap.
        frames.swap(20, 22);
        frames.push(frames[30].clone());
        frames.remove(50);
        let heard = decode(&frames).unwrap();
        assert_eq!(heard.left.len(), 100 * 960);
        let left = &heard.left[4800..];
        let right = &heard.right[4800..];
        assert!(tone_share(left, 440) > 0.9, "{}", tone_share(left, 440));
        assert!(tone_share(right, 880) > 0.9, "{}", tone_share(right, 880));
        assert!(tone_share(left, 880) < 0.05, "{}", tone_share(left, 880));
        assert!(tone_share(right, 440) < 0.05, "{}", tone_share(right, 440));
        assert_eq!(tone_share(&[0.0; 4800], 440), 0.0);
    }

    #[test]
    fn gaps_are_counted_over_the_wrap_and_filled_by_late_packets() {
        let mut ears = Ears::default();
        for sequence in [65_534, 65_535, 2, 1] {
            ears.arrival(5, sequence);
        }
        let summary = &ears.summaries()[&UserId(5)];
        assert_eq!((summary.packets, summary.missing), (4, 1));
    }

    #[test]
    fn only_the_last_frames_are_kept() {
        let mut ears = Ears::default();
        let frame = said(&Speech::tone(440, 0).unwrap(), 1).remove(0);
        let keep = Duration::from_secs(1);
        for ms in 0..100 {
            let now = Duration::from_millis(ms * 10);
            let frame = HeardFrame {
                arrived: now,
                ..frame.clone()
            };
            ears.record(now, 5, Fate::Heard(frame), keep);
        }
        assert_eq!(ears.heard(5).len(), 50);
        assert_eq!(ears.summaries()[&UserId(5)].frames, 100);
        ears.record(Duration::from_secs(9), 5, Fate::Failed, keep);
        assert!(ears.heard(5).is_empty());
    }
}
