use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    audio::{EncoderConfig, OpusEncoder},
    media::OpusFrame,
};

#[path = "../../../tests/api/dsp.rs"]
mod dsp;

use dsp::{channel, goertzel, stereo_tone};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has to come from somewhere; only differences to it matter"
)]
fn origin() -> Instant {
    Instant::now()
}

fn packet(start: Instant, index: u64, payload: Bytes) -> JitterPacket {
    JitterPacket {
        ssrc: 1,
        sequence: index,
        timestamp: index as u32 * 960,
        payload,
        arrival: start + Duration::from_millis(20 * index),
    }
}

/// Something like speech: a tone that glides and swells, mono.
fn speech(frames: usize) -> Vec<f32> {
    let mut phase = 0.0f32;
    (0..frames * FRAME_SAMPLES)
        .map(|index| {
            let time = index as f32 / dsp::RATE;
            let pitch = 180.0 + 60.0 * (time * 9.0).sin();
            phase = (phase + pitch / dsp::RATE).fract();
            let swell = 0.5 + 0.5 * (time * 13.0).sin();
            // A few harmonics, as a voice has.
            let voice =
                (1..=6).map(|n| (phase * n as f32 * std::f32::consts::TAU).sin() / n as f32);
            0.25 * swell * voice.sum::<f32>()
        })
        .collect()
}

fn encode(config: EncoderConfig, pcm: &[f32]) -> Vec<OpusFrame> {
    let channels = config.channels.count();
    let mut encoder = OpusEncoder::new(config).unwrap();
    pcm.chunks_exact(channels * FRAME_SAMPLES)
        .map(|frame| encoder.encode(frame).unwrap())
        .collect()
}

/// How alike two signals are, from -1 to 1.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm == 0.0 {
        0.0
    } else {
        (dot(a, b) / norm) as f32
    }
}

/// Plays frames with some of them lost. Gives what is heard, from the first packet on.
fn hear(
    frames: &[OpusFrame],
    channels: Channels,
    lost: impl Fn(usize) -> bool,
) -> (Vec<f32>, PlayoutStats) {
    let start = origin();
    let mut user = UserPlayout::new(JitterConfig::default(), channels).unwrap();
    let mut pcm = Vec::new();
    for tick in 0..frames.len() + 10 {
        if let Some(frame) = frames.get(tick).filter(|_| !lost(tick)) {
            user.push(packet(start, tick as u64, frame.data.clone()));
        }
        let now = start + Duration::from_millis(20 * tick as u64 + 5);
        let before = pcm.len();
        let heard = user.tick(now, &mut pcm);
        let expected = if heard {
            FRAME_SAMPLES * channels.count()
        } else {
            0
        };
        assert_eq!(pcm.len() - before, expected);
    }
    assert!(user.is_idle());
    (pcm, user.stats())
}

#[test]
fn tones_come_out_of_packets_on_their_sides() {
    let tone = stereo_tone(440.0, 880.0, 0.4, 0, 50 * FRAME_SAMPLES);
    let frames = encode(EncoderConfig::default(), &tone);
    let (pcm, stats) = hear(&frames, Channels::Stereo, |_| false);
    for (side, wanted, other) in [(0, 440.0, 880.0), (1, 880.0, 440.0)] {
        let side = channel(&pcm, 2, side);
        let side = &side[4_800..45_000];
        assert!((goertzel(side, wanted) - 0.4).abs() < 0.05);
        assert!(goertzel(side, other) < 0.04);
    }
    assert_eq!(stats.jitter.played, 50);
    assert_eq!(stats.fec_recovered, 0);
    // Mono on demand.
    let (pcm, _) = hear(&frames, Channels::Mono, |_| false);
    assert!((goertzel(&pcm[4_800..45_000], 440.0) - 0.2).abs() < 0.04);
}

#[test]
fn at_20_percent_loss_fec_sounds_more_like_the_original_than_guessing() {
    let original = speech(500);
    let config = EncoderConfig::speech().expected_loss(20);
    let mut rng = fastrand::Rng::with_seed(20);
    // Single losses: the packet after each one is there.
    let mut lost = vec![false; 500];
    for index in 10..490 {
        lost[index] = !lost[index - 1] && rng.u32(0..4) == 0;
    }
    let count = lost.iter().filter(|lost| **lost).count() as u64;
    assert!((80..120).contains(&count), "{count}");
    let alike = |config: EncoderConfig| {
        let frames = encode(config, &original);
        let (heard, stats) = hear(&frames, Channels::Mono, |index| lost[index]);
        assert_eq!(stats.jitter.lost, count);
        // Only where packets were lost, and the codec's own delay taken out.
        let delay = 312;
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for index in (0..500).filter(|&index| lost[index]) {
            let at = index * FRAME_SAMPLES;
            a.extend(&original[at..at + FRAME_SAMPLES]);
            b.extend(&heard[at + delay..at + delay + FRAME_SAMPLES]);
        }
        (correlation(&a, &b), stats)
    };
    let (with, stats) = alike(config.clone());
    // The encoder adds no copy of what is nearly silent.
    assert!(stats.fec_recovered > count * 8 / 10, "{stats:?}");
    let (without, stats) = alike(config.fec(false));
    assert_eq!(stats.fec_recovered, 0);
    assert!(stats.concealed >= count);
    assert!(
        with > without + 0.1 && with > 0.7,
        "with FEC {with}, without {without}"
    );
}

#[test]
fn guessing_ends_in_silence() {
    let tone = stereo_tone(440.0, 440.0, 0.4, 0, 60 * FRAME_SAMPLES);
    let frames = encode(EncoderConfig::default(), &tone);
    let start = origin();
    // So much is held that the packet after the gap is there when the gap comes.
    let config = JitterConfig::new(Duration::from_millis(400), Duration::from_secs(1));
    let mut user = UserPlayout::new(config, Channels::Stereo).unwrap();
    let mut pcm = Vec::new();
    let mut loud = Vec::new();
    for tick in 0..60u64 {
        // Nine packets in a row are lost.
        if !(20..29).contains(&tick) {
            user.push(packet(start, tick, frames[tick as usize].data.clone()));
        }
        pcm.clear();
        user.tick(start + Duration::from_millis(20 * tick + 5), &mut pcm);
        loud.push(pcm.iter().fold(0.0f32, |most, s| most.max(s.abs())));
    }
    // 20 ticks later: nine lost, of which five are guessed.
    assert!(loud[39] > 0.3 && loud[40] > 0.1, "{loud:?}");
    assert!(loud[45..49].iter().all(|&most| most == 0.0), "{loud:?}");
    assert!(loud[51] > 0.3, "{loud:?}");
    let stats = user.stats();
    assert_eq!(
        (stats.jitter.lost, stats.concealed, stats.silenced),
        (9, 5, 4)
    );
}

#[test]
fn another_stream_is_decoded_from_a_fresh_start() {
    let low = encode(
        EncoderConfig::default(),
        &stereo_tone(300.0, 300.0, 0.4, 0, 20 * FRAME_SAMPLES),
    );
    let high = encode(
        EncoderConfig::default(),
        &stereo_tone(900.0, 900.0, 0.4, 0, 20 * FRAME_SAMPLES),
    );
    let (alone, _) = hear(&high, Channels::Stereo, |_| false);
    let start = origin();
    let mut user = UserPlayout::new(JitterConfig::default(), Channels::Stereo).unwrap();
    let mut pcm = Vec::new();
    for (index, frame) in low.iter().chain(&high).enumerate() {
        let mut packet = packet(start, index as u64, frame.data.clone());
        if index == 20 {
            pcm.clear();
        }
        packet.ssrc = if index < 20 { 1 } else { 2 };
        user.push(packet);
        user.tick(
            start + Duration::from_millis(20 * index as u64 + 5),
            &mut pcm,
        );
    }
    assert!(pcm.len() > 30_000);
    assert_eq!(pcm[..], alone[..pcm.len()]);
}

#[test]
fn packets_that_cannot_be_decoded_are_counted_and_bridged() {
    let start = origin();
    let mut user = UserPlayout::new(JitterConfig::default(), Channels::Mono).unwrap();
    let mut pcm = Vec::new();
    for tick in 0..20u64 {
        // Well-formed outside, noise inside: libopus takes it or not, we go on.
        let noise = Bytes::from(vec![0x0B, 0x81 + (tick % 3) as u8, 0xFF, 0xFF, tick as u8]);
        user.push(packet(start, tick, noise));
        user.tick(start + Duration::from_millis(20 * tick), &mut pcm);
    }
    assert!(pcm.iter().all(|sample| sample.is_finite()));
}

#[test]
fn all_who_talk_are_heard_alone_and_together() {
    let tones = [440.0, 880.0, 1_500.0];
    let frames = tones.map(|tone| {
        let pcm = stereo_tone(tone, tone, 0.25, 0, 50 * FRAME_SAMPLES);
        encode(EncoderConfig::default(), &pcm)
    });
    let start = origin();
    let mut mixdown = Mixdown::new(JitterConfig::default(), Channels::Stereo);
    let mut alone: BTreeMap<u64, Vec<f32>> = BTreeMap::new();
    let mut together = Vec::new();
    for tick in 0..50 {
        for (user, frames) in frames.iter().enumerate() {
            let payload = frames[tick].data.clone();
            mixdown.push(user as u64 + 100, packet(start, tick as u64, payload));
        }
        let now = start + Duration::from_millis(20 * tick as u64 + 5);
        let mix = mixdown.tick(now, |user, pcm| {
            alone.entry(user).or_default().extend(pcm.samples);
        });
        together.extend(mix.map(|pcm| pcm.samples).unwrap_or_default());
    }
    let strength = |pcm: &[f32], tone| goertzel(&channel(pcm, 2, 0)[9_600..], tone);
    for (user, tone) in tones.iter().enumerate() {
        assert!((strength(&together, *tone) - 0.25).abs() < 0.05);
        assert!((strength(&alone[&(user as u64 + 100)], *tone) - 0.25).abs() < 0.05);
        let other = tones[(user + 1) % 3];
        assert!(strength(&alone[&(user as u64 + 100)], other) < 0.02);
    }
    assert_eq!(mixdown.stats().count(), 3);
    assert!(!mixdown.is_idle());
}

#[test]
fn there_is_room_for_64_who_talk() {
    let start = origin();
    let mut mixdown = Mixdown::new(JitterConfig::default(), Channels::Mono);
    for user in 0..70 {
        mixdown.push(user, packet(start, 0, OpusFrame::SILENCE.data));
    }
    assert_eq!(mixdown.stats().count(), MAX_USERS);
    assert!(mixdown.stats().all(|(user, _)| user < 64));
    // When they fall silent, there is room again.
    for tick in 0..20 {
        mixdown.tick(start + Duration::from_millis(20 * tick), |_, _| {});
    }
    assert!(mixdown.is_idle());
    mixdown.push(99, packet(start, 0, OpusFrame::SILENCE.data));
    assert_eq!(mixdown.stats().count(), MAX_USERS);
    assert!(mixdown.stats().any(|(user, _)| user == 99));
}
