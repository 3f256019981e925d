use proptest::prelude::*;

use super::*;

/// A stream of 20 ms packets, and a clock.
struct Bench {
    buffer: JitterBuffer,
    start: Instant,
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has to come from somewhere; only differences to it matter"
)]
fn origin() -> Instant {
    Instant::now()
}

impl Bench {
    fn new() -> Bench {
        Bench {
            buffer: JitterBuffer::new(JitterConfig::default()),
            start: origin(),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn push(&mut self, at_ms: u64, index: u64) {
        self.push_as(at_ms, 1, 1000 + index, index as u32 * 960, speech());
    }

    fn push_as(&mut self, at_ms: u64, ssrc: u32, sequence: u64, timestamp: u32, payload: Bytes) {
        let arrival = self.at(at_ms);
        self.buffer.push(JitterPacket {
            ssrc,
            sequence,
            // Wraps soon.
            timestamp: timestamp.wrapping_sub(5000),
            payload,
            arrival,
        });
    }

    fn tick(&mut self, at_ms: u64) -> Vec<Playout> {
        let mut out = Vec::new();
        self.buffer.tick(self.at(at_ms), &mut out);
        out
    }

    fn sequences(&mut self, at_ms: u64) -> Vec<i64> {
        sequences(&self.tick(at_ms))
    }
}

/// A CELT packet of 20 ms that is not the silence frame.
fn speech() -> Bytes {
    Bytes::from_static(&[0xF8, 1, 2, 3])
}

/// Index of each packet; lost ones below 0 (-1 - index); a wait as -1000.
fn sequences(out: &[Playout]) -> Vec<i64> {
    let index = |sequence: u64| i64::try_from(sequence).unwrap() - 1000;
    out.iter()
        .map(|playout| match playout {
            Playout::Frame { sequence, .. } => index(*sequence),
            Playout::Lost { sequence, .. } => -1 - index(*sequence),
            Playout::Wait { .. } => -1000,
        })
        .collect()
}

#[test]
fn packets_are_held_for_the_least_delay_and_then_played_one_a_tick() {
    let mut bench = Bench::new();
    for index in 0..50 {
        let ms = index * 20;
        bench.push(ms, index);
        let played = bench.sequences(ms + 5);
        // 40 ms: at 45 ms, and not at 25 ms.
        let expected = if ms < 40 {
            vec![]
        } else {
            vec![i64::try_from(index).unwrap() - 2]
        };
        assert_eq!(played, expected, "at {ms} ms");
    }
    assert_eq!(bench.buffer.stats().played, 48);
    assert_eq!(bench.buffer.stats().lost, 0);
}

#[test]
fn order_is_restored_and_duplicates_are_dropped() {
    let mut bench = Bench::new();
    for index in [1, 0, 2, 2, 0] {
        bench.push(0, index);
    }
    let played: Vec<i64> = (2..5).flat_map(|tick| bench.sequences(tick * 20)).collect();
    assert_eq!(played, [0, 1, 2]);
    bench.push(100, 1);
    assert_eq!(bench.buffer.stats().duplicates, 3);
    assert_eq!(bench.buffer.stats().late, 0);
}

#[test]
fn a_lost_packet_is_told_in_its_place_with_what_may_repair_it() {
    let mut bench = Bench::new();
    // SILK with redundancy, then without.
    let with_fec = Bytes::from_static(&[0x08, 0b0100_0000, 1]);
    bench.push(0, 0);
    bench.push_as(40, 1, 1002, 2 * 960, with_fec.clone());
    bench.push(80, 4);
    bench.push(100, 5);
    assert_eq!(bench.sequences(40), [0]);
    let lost = bench.tick(60);
    let [
        Playout::Lost {
            sequence: 1001,
            samples: 960,
            fec: Some(next),
        },
    ] = &lost[..]
    else {
        panic!("{lost:?}");
    };
    assert_eq!(*next, with_fec);
    assert_eq!(bench.sequences(80), [2]);
    let lost = bench.tick(100);
    assert!(
        matches!(
            lost[..],
            [Playout::Lost {
                sequence: 1003,
                fec: None,
                ..
            }]
        ),
        "{lost:?}"
    );
    assert_eq!(bench.sequences(120), [4]);
    // Too late, but it teaches the buffer to wait longer.
    let before = bench.buffer.delay.target();
    bench.push(121, 3);
    assert_eq!(bench.buffer.stats().late, 1);
    assert!(bench.buffer.delay.target() > before);
    // And it does so at once: 40 ms are held, and 60 ms late was the packet.
    bench.push(120, 6);
    assert_eq!(bench.sequences(140), [-1000]);
    assert_eq!(bench.sequences(160), [5]);
}

#[test]
fn after_a_gap_in_the_timestamps_the_delay_is_built_up_anew() {
    // Discontinuous transmission: 40 ms are left out, but no number.
    let mut bench = Bench::new();
    let mut played = Vec::new();
    for tick in 0..10u64 {
        let index = match tick {
            0..4 => Some(tick),
            4 | 5 => None,
            _ => Some(tick - 2),
        };
        if let Some(index) = index {
            bench.push_as(tick * 20, 1, 1000 + index, tick as u32 * 960, speech());
        }
        played.push(bench.sequences(tick * 20 + 1));
    }
    let expected: [&[i64]; 10] = [
        &[],
        &[],
        &[0],
        &[1],
        &[2],
        &[3],
        &[-1000],
        &[-1000],
        &[4],
        &[5],
    ];
    assert_eq!(played, expected);
    assert_eq!(bench.buffer.stats().lost, 0);
}

#[test]
fn timestamps_that_stand_still_in_a_pause_are_no_jitter() {
    let mut bench = Bench::new();
    let mut ms = 0;
    for index in 0..60 {
        let payload = if index % 10 == 9 {
            OpusFrame::SILENCE.data
        } else {
            speech()
        };
        bench.push_as(ms, 1, 1000 + index, index as u32 * 960, payload);
        // Half a second after each silence.
        for _ in 0..if index % 10 == 9 { 25 } else { 1 } {
            bench.tick(ms + 5);
            ms += 20;
        }
    }
    let stats = bench.buffer.stats();
    assert_eq!(stats.target_delay, Duration::from_millis(40));
    assert_eq!((stats.played, stats.lost, stats.dropped), (60, 0, 0));
}

#[test]
fn a_pause_of_the_sender_is_no_loss() {
    let mut bench = Bench::new();
    let silence = OpusFrame::SILENCE.data;
    bench.push(0, 0);
    for index in 1..6 {
        bench.push_as(
            index * 20,
            1,
            1000 + index,
            index as u32 * 960,
            silence.clone(),
        );
    }
    let mut played = Vec::new();
    for tick in 1..40 {
        played.extend(bench.sequences(tick * 20 + 1));
    }
    assert_eq!(played, [0, 1, 2, 3, 4, 5]);
    assert!(bench.buffer.is_idle());
    // A second later the sequence goes on, the timestamp has kept time.
    bench.push_as(1000, 1, 1006, 50 * 960, speech());
    assert_eq!(bench.sequences(1021), [0; 0]);
    assert_eq!(bench.sequences(1041), [6]);
    assert_eq!(bench.buffer.stats().lost, 0);
    assert_eq!(bench.buffer.stats().waits, 0);
}

#[test]
fn a_gap_in_the_network_is_bridged_and_then_caught_up() {
    let mut bench = Bench::new();
    let mut played = Vec::new();
    let mut delays = Vec::new();
    for tick in 0..400u64 {
        let ms = tick * 20;
        // From 1 s to 1.5 s nothing comes; then all of it at once.
        if ms == 1500 {
            for index in 50..75 {
                bench.push(ms, index);
            }
        }
        if !(1000..1500).contains(&ms) {
            bench.push(ms, tick);
        }
        played.extend(bench.sequences(ms + 5));
        delays.push(bench.buffer.stats().delay);
    }
    let waits = played.iter().filter(|&&p| p == -1000).count();
    assert_eq!(waits, MAX_WAITS as usize);
    assert!(delays[80] > Duration::from_millis(300), "{:?}", delays[80]);
    // Five drops for each second: 500 ms to 200 ms within 4 s.
    assert!(
        delays[250] <= Duration::from_millis(220),
        "{:?}",
        delays[250]
    );
    let stats = bench.buffer.stats();
    assert_eq!(stats.lost, 0);
    assert!(stats.dropped > 10, "{stats:?}");
}

#[test]
fn the_delay_follows_the_jitter_up_at_once_and_down_slowly() {
    let mut bench = Bench::new();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut arrivals: Vec<(u64, u64)> = (0..1500)
        .map(|index| {
            // 120 ms of jitter between 4 s and 10 s.
            let rough = (200..500).contains(&index);
            (index * 20 + if rough { rng.u64(0..120) } else { 0 }, index)
        })
        .collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut levels = Vec::new();
    let mut lost_late = 0;
    for tick in 0..1500 {
        let now = tick * 20 + 7;
        while let Some((ms, index)) = arrivals.next_if(|(ms, _)| *ms <= now) {
            bench.push(ms, index);
        }
        let before = bench.buffer.stats().lost;
        bench.tick(now);
        levels.push(bench.buffer.stats().delay);
        if (250..500).contains(&tick) {
            lost_late += bench.buffer.stats().lost - before;
        }
    }
    let most = |range: std::ops::Range<usize>| levels[range].iter().max().copied().unwrap();
    assert!(
        most(100..200) <= Duration::from_millis(60),
        "{:?}",
        most(100..200)
    );
    assert!(
        most(300..500) >= Duration::from_millis(100),
        "{:?}",
        most(300..500)
    );
    assert!(
        most(1450..1500) <= Duration::from_millis(100),
        "{:?}",
        most(1450..1500)
    );
    assert_eq!(bench.buffer.stats().target_delay, Duration::from_millis(40));
    // Once it knows the jitter, hardly anything is too late for its turn.
    assert!(lost_late <= 5, "{lost_late} lost");
}

#[test]
fn packets_of_other_lengths_keep_the_pace() {
    // 60 ms: one packet for three ticks. 10 ms: two for one.
    for (toc, samples, per_second) in [(0x18, 2880, 17), (0xF0, 480, 100)] {
        let mut bench = Bench::new();
        let payload = Bytes::from(vec![toc, 1, 2]);
        let mut next = 0u32;
        let mut played = 0;
        for tick in 0..50u64 {
            while u64::from(next) * samples <= tick * 960 {
                let timestamp = next * samples as u32;
                bench.push_as(
                    tick * 20,
                    1,
                    1000 + u64::from(next),
                    timestamp,
                    payload.clone(),
                );
                next += 1;
            }
            let out = bench.tick(tick * 20 + 1);
            played += out.len();
            assert!(
                out.iter().all(|p| matches!(p, Playout::Frame { .. })),
                "{out:?}"
            );
        }
        let held_back = 200_u64.div_ceil(samples / 48) as usize;
        assert!(
            (per_second - held_back..=per_second).contains(&played),
            "{toc:x}: {played}"
        );
    }
}

#[test]
fn another_ssrc_begins_anew() {
    let mut bench = Bench::new();
    bench.push(0, 0);
    bench.push(20, 1);
    assert_eq!(bench.sequences(40), [0]);
    bench.push_as(41, 2, 7, 123_456, speech());
    assert_eq!(bench.sequences(60), [0; 0]);
    let out = bench.tick(81);
    assert!(
        matches!(
            out[..],
            [Playout::Frame {
                ssrc: 2,
                sequence: 7,
                ..
            }]
        ),
        "{out:?}"
    );
    assert_eq!(bench.buffer.stats().dropped, 1);
    assert_eq!(bench.buffer.stats().lost, 0);
}

#[test]
fn what_is_no_opus_is_not_held() {
    let mut bench = Bench::new();
    bench.push_as(0, 1, 1000, 0, Bytes::new());
    bench.push_as(0, 1, 1001, 0, Bytes::from_static(&[0xFB, 0]));
    assert!(bench.buffer.is_idle());
    assert_eq!(bench.buffer.stats().invalid, 2);
}

#[test]
fn what_is_held_has_a_bound() {
    let mut bench = Bench::new();
    for index in 0..10_000 {
        bench.push(0, index);
        assert!(bench.buffer.held.len() <= MAX_PACKETS);
    }
    for index in 0..2_000 {
        bench.push(0, 10_000 + 2 * index);
    }
    bench.tick(50);
    assert!(bench.buffer.level() <= HARD_LIMIT);
    assert!(bench.buffer.missed.len() <= MAX_REMEMBERED);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is lost, late, doubled or out of order: each packet is played at most
    /// once, in order, and the counts add up.
    #[test]
    fn whatever_the_network_does_the_order_holds_and_the_counts_add_up(
        seed: u64,
        loss in 0.0..0.4f64,
        jitter_ms in 1u64..300,
        pauses: bool,
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::new();
        let mut arrivals = Vec::new();
        let mut ms = 0;
        for index in 0..400u64 {
            ms += 20;
            if pauses && rng.u32(0..50) == 0 {
                ms += rng.u64(20..2000);
            }
            let copies = if rng.f64() < loss { 0 } else { rng.usize(1..3) };
            for _ in 0..copies {
                arrivals.push((ms + rng.u64(0..jitter_ms), index, ms as u32 * 48));
            }
        }
        arrivals.sort_unstable();
        let mut arrivals = arrivals.into_iter().peekable();
        let mut told: Vec<u64> = Vec::new();
        let mut first = None;
        for tick in 0..ms / 20 + 100 {
            let now = tick * 20 + 3;
            while let Some((at, index, timestamp)) = arrivals.next_if(|(at, ..)| *at <= now) {
                bench.push_as(at, 1, 1000 + index, timestamp, speech());
            }
            let mut samples = 0;
            for playout in bench.tick(now) {
                match playout {
                    Playout::Frame { sequence, samples: length, .. } => {
                        first.get_or_insert(sequence);
                        told.push(sequence);
                        samples += length;
                    }
                    Playout::Lost { sequence, samples: length, .. } => {
                        told.push(sequence);
                        samples += length;
                    }
                    Playout::Wait { samples: length } => samples += length,
                }
            }
            prop_assert!(samples <= 960, "a tick of {samples}");
            prop_assert!(bench.buffer.level() <= HARD_LIMIT);
            prop_assert!(bench.buffer.held.len() <= MAX_PACKETS);
        }
        prop_assert!(told.is_sorted_by(|a, b| a < b), "out of order: {told:?}");
        prop_assert!(bench.buffer.is_idle());
        let stats = bench.buffer.stats();
        if let (Some(first), Some(next)) = (first, bench.buffer.next) {
            // What was dropped before the first one was played is counted, too.
            let span = next - first;
            let counted = stats.played + stats.lost + stats.dropped;
            prop_assert!(counted >= span && counted - span <= stats.dropped, "{stats:?} {span}");
        }
        prop_assert!(stats.late <= stats.lost);
    }
}
