//! A call of 24 hours, with every counter started shortly before its end.

use std::num::Wrapping;

use super::{
    encryption::{holding, key},
    *,
};
use crate::{
    audio::{AudioSource, NextFrame},
    dave::{DaveOutput, KeyChange, KeyRatchet},
    media::{OpusFrame, ReceivedFrame},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Talk and pause take turns.
const HALF: Duration = Duration::from_secs(1800);
/// 120 ms, the longest that there is: the day has fewer packets, and the timestamps go on as fast.
const SAMPLES: u32 = 5760;
const FRAMES: u32 = 1800 * 1000 / 120 - 10;
const TALKER: u64 = 8;
const TALKERS_SSRC: u32 = 7;

/// So many long frames, each with its number.
struct Lecture {
    next: u32,
    left: u32,
}

impl AudioSource for Lecture {
    fn next_frame(&mut self) -> NextFrame {
        let Some(left) = self.left.checked_sub(1) else {
            return NextFrame::End;
        };
        self.left = left;
        let number = self.next;
        self.next += 1;
        let mut data = vec![0xfc];
        data.extend(number.to_be_bytes());
        NextFrame::Frame(OpusFrame {
            data: data.into(),
            samples: SAMPLES,
        })
    }
}

/// A talker, a listener, and a server that forwards.
struct Hall {
    talker: Rig,
    listener: Rig,
    forwards: Sealer,
    seq: Wrapping<u16>,
    heard: Vec<ReceivedFrame>,
}

impl Hall {
    /// All that is due until then.
    fn pass(&mut self, end: Instant) {
        loop {
            let due = [&self.talker, &self.listener].map(|rig| rig.session.poll_timeout());
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            for rig in [&mut self.talker, &mut self.listener] {
                rig.now = rig.now.max(at);
                if rig.session.poll_timeout().is_some_and(|due| due <= at) {
                    rig.session.timeout(rig.now);
                    rig.listen();
                }
            }
            self.forward();
        }
        self.talker.now = end;
        self.listener.now = end;
    }

    fn forward(&mut self) {
        for (_, sent) in std::mem::take(&mut self.talker.datagrams) {
            if let Sent::Rtp(header, payload) = sent {
                let mut bytes = Vec::new();
                RtpHeader {
                    ssrc: TALKERS_SSRC,
                    ..header
                }
                .write(&mut bytes);
                bytes.extend(payload);
                self.forwards.seal_rtp(&mut bytes).unwrap();
                self.listener.datagram(&mut bytes);
            }
        }
        self.talker.said.clear();
        self.listener.datagrams.clear();
        for action in self.listener.said.drain(..) {
            if let Action::Audio(frame) = action {
                self.heard.push(frame);
            }
        }
    }

    /// Half an hour of talk; all of it is heard.
    fn lecture(&mut self, said: &mut u32, end: Instant) -> Vec<ReceivedFrame> {
        let lecture = Lecture {
            next: *said,
            left: FRAMES,
        };
        let now = self.talker.now;
        self.talker.session.set_source(now, Some(Box::new(lecture)));
        self.talker.listen();
        self.pass(end);
        let heard = std::mem::take(&mut self.heard);
        let numbers: Vec<u32> = heard
            .iter()
            .filter(|frame| !frame.is_silence())
            .map(|frame| u32::from_be_bytes(frame.payload[1..].try_into().unwrap()))
            .collect();
        let all = *said..*said + FRAMES;
        assert!(
            numbers.iter().copied().eq(all.clone()),
            "{} of {all:?}",
            numbers.len()
        );
        *said += FRAMES;
        heard
    }

    /// A new epoch: the talker sends with its key, the listener opens with it.
    fn epoch(&mut self, number: u8) {
        key(&mut self.talker, number);
        let change = KeyChange::Receive {
            user: TALKER,
            ratchet: KeyRatchet::new([number; 16]),
        };
        self.listener
            .session
            .dave_said(DaveOutput::Keys(change), self.listener.now);
        self.listener.listen();
        // A message with a number that wraps.
        let speaking = json!({"op": 5, "seq": self.seq.0, "d": {
            "user_id": TALKER.to_string(), "ssrc": TALKERS_SSRC, "speaking": 1,
        }});
        self.listener.json(speaking);
    }
}

#[test]
fn a_day_long_call_passes_every_wrap_around() {
    let (mut talker, listener) = (holding(false), holding(true));
    key(&mut talker, 0);
    let media = talker.session.connection.media.as_mut().unwrap();
    media.sender.start_near_ends();
    let start = talker.now.max(listener.now);
    let mode = EncryptionMode::AeadAes256GcmRtpSize;
    let mut hall = Hall {
        talker,
        listener,
        forwards: Sealer::new(mode, &TransportKey::new([1; 32]), u32::MAX - 1_000),
        seq: Wrapping(u16::MAX - 20),
        heard: Vec::new(),
    };
    hall.pass(start);
    let mut said = 0;
    let (mut sequence, mut wraps, mut timestamp_wraps, mut last_timestamp) = (None, 0, 0, 0);
    for half in 0..48u8 {
        let begin = start + HALF * u32::from(half);
        hall.epoch(half);
        let end = begin + HALF;
        if half % 2 == 1 {
            hall.pass(end);
            assert!(hall.heard.is_empty(), "{:?}", hall.heard);
        }
        let heard = if half % 2 == 0 {
            hall.lecture(&mut said, end)
        } else {
            Vec::new()
        };
        for frame in heard {
            let next = sequence.map_or(frame.sequence, |sequence| sequence + 1);
            assert_eq!(frame.sequence, next, "extended, it does not wrap");
            wraps += u32::from(frame.sequence.is_multiple_of(1 << 16));
            timestamp_wraps += u32::from(frame.timestamp < last_timestamp);
            last_timestamp = frame.timestamp;
            sequence = Some(next);
        }
        hall.seq += 1;
    }
    assert_eq!(hall.talker.now, start + DAY);
    assert!(wraps >= 5, "{wraps}");
    assert_eq!(timestamp_wraps, 1);
    // One epoch lives long enough for the next generation of its key: sooner nobody could have sent so many frames.
    hall.pass(start + DAY + Duration::from_secs(28 * 3600));
    let media = hall.talker.session.connection.media.as_mut().unwrap();
    media.sender.start_near_next_generation();
    let end = hall.talker.now + HALF;
    hall.lecture(&mut said, end);
    let (sent, received) = (hall.talker.session.stats(), hall.listener.session.stats());
    assert_eq!((sent.counts.identifies, received.counts.identifies), (1, 1));
    assert_eq!((sent.playback.missed, sent.playback.held_dropped), (0, 0));
    assert_eq!(sent.playback.sent, u64::from(said));
    let received = received.users[&TALKER];
    assert_eq!((received.lost, received.undecryptable.total()), (0, 0));
    // The number of the last message, which has wrapped, is what a resume names.
    hall.listener.said.clear();
    hall.listener.cut(None);
    hall.listener.next_link();
    hall.listener.open();
    let resume = hall.listener.text_of(7);
    assert_eq!(resume["seq_ack"], u64::from((hall.seq - Wrapping(1)).0));
    assert!((hall.seq - Wrapping(1)).0 < 100);
}
