//! The beat: when which frame goes out.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::{
    audio::{AudioSource, NextFrame},
    media::OpusFrame,
};

const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// Gives what is put in; when empty, it is idle or at its end.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<(std::collections::VecDeque<u8>, bool)>>);

impl Script {
    pub(super) fn say(&self, frames: impl IntoIterator<Item = u8>) -> &Self {
        self.0.lock().unwrap().0.extend(frames);
        self
    }

    pub(super) fn end(&self) -> &Self {
        self.0.lock().unwrap().1 = true;
        self
    }

    pub(super) fn source(&self) -> Option<Box<dyn AudioSource>> {
        Some(Box::new(self.clone()))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

impl AudioSource for Script {
    fn next_frame(&mut self) -> NextFrame {
        let mut script = self.0.lock().unwrap();
        match script.0.pop_front() {
            Some(byte) => NextFrame::Frame(OpusFrame {
                data: Bytes::from(vec![0xfc, byte]),
                samples: 960,
            }),
            None if script.1 => NextFrame::End,
            None => NextFrame::Idle,
        }
    }
}

fn bytes(heard: &[(Instant, u16, u32, Vec<u8>)]) -> Vec<u8> {
    heard
        .iter()
        .map(|(.., payload)| *payload.last().unwrap())
        .collect()
}

#[test]
fn op_5_comes_first_then_a_frame_every_20_ms_then_five_of_silence() {
    let mut rig = Rig::connected(config());
    let start = rig.now;
    let script = Script::default();
    script.say(1..=10).end();
    rig.session.set_source(rig.now, script.source());
    rig.session.timeout(rig.now);
    let actions: Vec<Action> = std::iter::from_fn(|| rig.session.poll()).collect();
    let mut order = Vec::new();
    for action in actions {
        match action {
            Action::SendText { .. } => order.push("text"),
            Action::Datagram { bytes, .. } => {
                let sent = rig.read(&bytes);
                if sent == Sent::Ping {
                    continue;
                }
                order.push("datagram");
                rig.datagrams.push((rig.now, sent));
            }
            _ => {}
        }
    }
    assert_eq!(order, ["text"], "op 5 a slot before the first packet");
    let first = start + Duration::from_millis(20);
    rig.pass_ms(1_000);
    let heard = rig.heard();
    let expected: Vec<u8> = (1..=10).chain([0xfe; 5]).collect();
    assert_eq!(bytes(&heard), expected);
    assert_eq!(heard[12].3, SILENCE);
    for (index, (at, sequence, timestamp, _)) in heard.iter().enumerate() {
        let index = index as u32;
        assert_eq!(*at, first + Duration::from_millis(20) * index);
        assert_eq!(*sequence, heard[0].1.wrapping_add(index as u16));
        assert_eq!(*timestamp, heard[0].2.wrapping_add(960 * index));
    }
    let speaking = rig.texts(5);
    assert_eq!(speaking, [json!({"speaking": 0, "delay": 0, "ssrc": SSRC})]);
    let events = rig.events();
    assert_eq!(events, [VoiceEvent::SourceEnded]);
    // Nothing beats without a source.
    rig.pass_ms(10_000);
    assert_eq!(rig.heard(), []);
}

#[test]
fn a_short_pause_is_silence_and_no_flood_of_op_5() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(1_000);
    assert_eq!(rig.heard(), []);
    let speaking: Vec<_> = rig.texts(5).iter().map(|d| d["speaking"].clone()).collect();
    assert_eq!(speaking, [1, 0], "only that it might speak");
    for round in 0..10 {
        script.say([round]);
        rig.pass_ms(200);
    }
    let heard = rig.heard();
    assert_eq!(heard.len(), 10 * 6);
    assert_eq!(rig.texts(5).len(), 1);
    // The timestamp keeps wall time over the pause, the sequence has no gap.
    assert_eq!(heard[6].2.wrapping_sub(heard[0].2), 9_600);
    assert_eq!(heard[6].1.wrapping_sub(heard[0].1), 6);
    rig.pass_ms(600);
    assert_eq!(rig.text_of(5)["speaking"], 0);
}

#[test]
fn a_late_task_catches_up_three_frames_and_counts_the_rest() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say(0..=255);
    rig.session.set_source(rig.now, script.source());
    rig.wake();
    rig.wake();
    let start = rig.now;
    assert_eq!(rig.heard().len(), 1);
    // 60 ms late: all that was missed at once.
    rig.now = start + Duration::from_millis(79);
    rig.session.timeout(rig.now);
    rig.listen();
    assert_eq!(bytes(&rig.heard()), [1, 2, 3]);
    // A second late: one frame, and the schedule keeps its phase.
    rig.now = start + Duration::from_millis(1_085);
    rig.session.timeout(rig.now);
    rig.listen();
    assert_eq!(bytes(&rig.heard()), [4]);
    assert_eq!(rig.session.stats().playback.missed, 50);
    rig.wake();
    assert_eq!(rig.now, start + Duration::from_millis(1_100));
    assert_eq!(bytes(&rig.heard()), [5]);
}

#[test]
fn no_drift_over_an_hour() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    rig.session.set_source(rig.now, script.source());
    let start = rig.now;
    let mut sent = 0;
    for minute in 0..60 {
        script.say(std::iter::repeat_n(7, 3_000));
        for _ in 0..60 {
            // A wake-up that is always some milliseconds late.
            rig.pass_ms(997);
            rig.now += Duration::from_millis(3);
            sent += rig.heard().len();
        }
        assert!(script.left() <= 1, "minute {minute}: {}", script.left());
    }
    rig.pass_ms(40);
    sent += rig.heard().len();
    assert!((180_000..=180_007).contains(&sent), "{sent}");
    assert_eq!(rig.now, start + Duration::from_millis(3_600_040));
    assert_eq!(rig.session.stats().playback.missed, 0);
}

#[test]
fn the_media_keep_their_place_over_a_resume() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say(0..200);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(199);
    rig.cut(None);
    rig.next_link();
    rig.open();
    rig.pass_ms(500);
    rig.text(HELLO);
    rig.text(RESUMED);
    rig.pass_ms(200);
    let heard = rig.heard();
    let expected: Vec<u8> = (0..heard.len() as u8).collect();
    assert!(heard.len() > 40);
    assert_eq!(
        bytes(&heard),
        expected,
        "nothing is lost while the link is away"
    );
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, Duration::from_millis(20));
        assert_eq!(pair[1].1, pair[0].1.wrapping_add(1));
        assert_eq!(pair[1].2, pair[0].2.wrapping_add(960));
    }
    // The server may not know that we speak: the first word may have been lost.
    let speaking = rig.texts(5);
    assert_eq!(
        speaking.len(),
        2,
        "at the start, and again after the resume"
    );
}

#[test]
fn what_is_said_while_the_link_is_away_is_sent_after_the_resume() {
    let mut rig = Rig::connected(config());
    rig.cut(None);
    let script = Script::default();
    script.say(0..100);
    rig.session.set_source(rig.now, script.source());
    rig.next_link();
    rig.open();
    rig.text(HELLO);
    assert_eq!(
        rig.texts(5),
        Vec::<Value>::new(),
        "not before the server knows us again"
    );
    rig.text(RESUMED);
    assert_eq!(rig.text_of(5)["speaking"], 1);
}

#[test]
fn after_a_fresh_session_the_source_goes_on_where_it_was() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say(0..200);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(219);
    rig.server(Some("b.test"), "token-b");
    let before = bytes(&rig.heard());
    assert_eq!(before.len(), 10);
    rig.pass_ms(5_000);
    assert_eq!(rig.heard(), []);
    rig.open();
    rig.text(HELLO);
    rig.ready();
    rig.open_udp();
    rig.discovered();
    rig.texts(5);
    rig.describe(2);
    rig.pass_ms(219);
    assert_eq!(bytes(&rig.heard()), (10..20).collect::<Vec<u8>>());
    assert_eq!(
        rig.text_of(5)["speaking"],
        1,
        "the new session has to hear of it"
    );
}

#[test]
fn who_only_receives_says_op_5_and_silence_once() {
    let mut config = config();
    config.receive = true;
    let mut rig = Rig::new(config);
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.serve();
    rig.pass_ms(2_000);
    let heard = rig.heard();
    assert_eq!(bytes(&heard), [0xfe; 5]);
    let speaking: Vec<_> = rig.texts(5).iter().map(|d| d["speaking"].clone()).collect();
    assert_eq!(speaking, [1, 0]);
    rig.pass_ms(60_000);
    assert_eq!(rig.heard(), []);
}

#[test]
fn a_source_after_another_does_not_wait() {
    let mut rig = Rig::connected(config());
    for pause in [5, 30, 150, 300, 700, 5_000] {
        let script = Script::default();
        script.say([1]).end();
        rig.session.set_source(rig.now, script.source());
        rig.pass_ms(40);
        let heard = rig.heard();
        let first = heard.iter().find(|(.., payload)| payload == &[0xfc, 1]);
        assert!(first.is_some(), "after {pause} ms: {heard:?}");
        rig.pass_ms(pause);
        rig.heard();
    }
}

#[test]
fn the_end_of_a_source_is_told_even_if_the_connection_goes_in_its_last_silence() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say([1]).end();
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(60);
    rig.server(Some("b.test"), "token-b");
    rig.pass_ms(1_000);
    rig.events();
    rig.serve();
    rig.pass_ms(20);
    assert!(rig.events().contains(&VoiceEvent::SourceEnded));
}

#[test]
fn frames_of_any_length_go_out_at_their_own_pace() {
    struct Long(u32);
    impl AudioSource for Long {
        fn next_frame(&mut self) -> NextFrame {
            NextFrame::Frame(OpusFrame {
                data: Bytes::from_static(&[0xfc, 1]),
                samples: self.0,
            })
        }
    }
    for samples in [120, 480, 960, 2_880, 5_760] {
        let mut rig = Rig::connected(config());
        rig.session
            .set_source(rig.now, Some(Box::new(Long(samples))));
        rig.pass_ms(6_020);
        let heard = rig.heard();
        let expected = 6 * 48_000 / samples as usize;
        assert!(
            heard.len().abs_diff(expected) <= 1,
            "{samples}: {}",
            heard.len()
        );
        for pair in heard.windows(2) {
            assert_eq!(pair[1].2.wrapping_sub(pair[0].2), samples);
        }
    }
}

#[test]
fn while_muted_the_source_goes_on_and_nothing_is_sent() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say(0..100);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(219);
    rig.session.set_self(rig.now, true, false);
    rig.pass_ms(400);
    assert_eq!(
        bytes(&rig.heard()),
        (0..10).chain([0xfe; 5]).collect::<Vec<u8>>()
    );
    assert_eq!(script.left(), 70);
    rig.session.set_self(rig.now, false, false);
    rig.pass_ms(20);
    assert_eq!(bytes(&rig.heard()), [30]);
    assert_eq!(rig.session.stats().playback.muted, 20);
}

#[test]
fn a_frame_that_is_none_does_not_stop_the_beat() {
    struct Odd(u32);
    impl AudioSource for Odd {
        fn next_frame(&mut self) -> NextFrame {
            self.0 += 1;
            let data = match self.0 {
                1 => Bytes::new(),
                2 => Bytes::from(vec![0; 5_000]),
                _ => Bytes::from_static(&[0xfc, 9]),
            };
            let samples = if self.0 == 3 { 0 } else { 960 };
            NextFrame::Frame(OpusFrame { data, samples })
        }
    }
    let mut rig = Rig::connected(config());
    rig.session.set_source(rig.now, Some(Box::new(Odd(0))));
    rig.pass_ms(100);
    assert_eq!(rig.session.stats().counts.bad_frames, 3);
    assert!(rig.heard().len() >= 2);
}

#[test]
fn new_keys_on_the_same_connection_are_taken() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say(0..100);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(100);
    let before = rig.heard().last().unwrap().1;
    rig.describe(9);
    rig.pass_ms(100);
    let heard = rig.heard();
    assert_eq!(heard[0].1, before.wrapping_add(1));
    assert_eq!(heard.len(), 5);
    assert_eq!(rig.opens(), 0);
}

#[test]
fn pings_and_reports_go_out_every_five_seconds() {
    let mut rig = Rig::connected(config());
    let script = Script::default();
    script.say(std::iter::repeat_n(1, 1_000));
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(15_000);
    let count = |which: Sent| {
        rig.datagrams
            .iter()
            .filter(|(_, sent)| *sent == which)
            .count()
    };
    assert!(
        (3..=4).contains(&count(Sent::Ping)),
        "{}",
        count(Sent::Ping)
    );
    assert_eq!(count(Sent::Rtcp), 3);
    assert!(rig.session.stats().ping.unwrap().sent >= 3);
}
