//! One source for many calls.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use spellcoven_discord_voice::{AudioSource, Broadcast, NextFrame, OpusFrame, OpusFrames};

use crate::audio_support::{number, numbered};

/// Counts how often it is asked.
struct Counted {
    frames: OpusFrames,
    asked: Arc<AtomicU32>,
}

impl AudioSource for Counted {
    fn next_frame(&mut self) -> NextFrame {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked == 5 {
            return NextFrame::Idle;
        }
        self.frames.next_frame()
    }
}

fn counted(count: u32) -> (Broadcast, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let frames = OpusFrames::new(numbered(count));
    let source = Counted {
        frames,
        asked: Arc::clone(&asked),
    };
    (Broadcast::new(source), asked)
}

fn frame(next: NextFrame) -> Option<OpusFrame> {
    match next {
        NextFrame::Frame(frame) => Some(frame),
        NextFrame::Idle => None,
        NextFrame::End => panic!("the end"),
    }
}

#[test]
fn each_frame_is_made_once_for_three_calls_whatever_their_phase() {
    let (broadcast, asked) = counted(200);
    let mut calls = [(); 3].map(|()| broadcast.subscribe());
    let mut rng = fastrand::Rng::with_seed(3);
    let mut heard: BTreeMap<usize, Vec<Option<OpusFrame>>> = BTreeMap::new();
    for _ in 0..100 {
        let mut order = [0, 1, 2];
        rng.shuffle(&mut order);
        for call in order {
            let next = frame(calls[call].next_frame());
            heard.entry(call).or_default().push(next);
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 100);
    assert_eq!(broadcast.frames(), 100);
    assert_eq!(heard[&0], heard[&1]);
    assert_eq!(heard[&0], heard[&2]);
    // The pause came to all of them at the same place.
    assert_eq!(heard[&0].iter().position(Option::is_none), Some(5));
    // The same bytes, not copies.
    let data = |call: usize| heard[&call][50].as_ref().unwrap().data.as_ptr();
    assert_eq!(data(0), data(1));
}

#[test]
fn who_is_late_skips_and_is_counted_and_who_comes_late_hears_the_present() {
    let (broadcast, _) = counted(500);
    let mut fast = broadcast.subscribe();
    let mut slow = broadcast.subscribe();
    slow.next_frame();
    for _ in 0..50 {
        fast.next_frame();
    }
    // 49 behind: nothing is lost yet.
    assert_eq!(frame(slow.next_frame()).map(|f| number(&f)), Some(1));
    for _ in 0..150 {
        fast.next_frame();
    }
    let newest = broadcast.frames() - 1;
    let got = frame(slow.next_frame()).map(|f| u64::from(number(&f)));
    // One frame was a pause, so the numbers are one behind.
    assert_eq!(got, Some(newest - 1));
    assert_eq!(slow.skipped(), newest - 2);
    assert_eq!(broadcast.skipped(), slow.skipped());
    assert_eq!(fast.skipped(), 0);
    let mut late = broadcast.subscribe();
    assert_eq!(
        frame(late.next_frame()).map(|f| u64::from(number(&f))),
        Some(newest - 1)
    );
}

#[test]
fn the_end_comes_to_all() {
    let broadcast = Broadcast::new(OpusFrames::new(numbered(3)));
    let mut a = broadcast.subscribe();
    let mut b = broadcast.subscribe();
    for _ in 0..3 {
        assert!(frame(a.next_frame()).is_some());
    }
    assert_eq!(a.next_frame(), NextFrame::End);
    for _ in 0..3 {
        assert!(frame(b.next_frame()).is_some());
    }
    assert_eq!(b.next_frame(), NextFrame::End);
    assert_eq!(
        broadcast.subscribe().next_frame(),
        NextFrame::Frame(numbered(3)[2].clone())
    );
}
