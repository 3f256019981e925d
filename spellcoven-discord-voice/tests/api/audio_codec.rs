//! libopus, judged by the signal.

use proptest::prelude::*;
use spellcoven_discord_voice::{
    Application, Channels, EncoderConfig, FRAME_SAMPLES, OpusDecoder, OpusEncoder, OpusPacket,
};

use crate::{
    audio_support::{decode, encode, tone_frames},
    dsp::{channel, goertzel, stereo_tone},
};

#[test]
fn tones_arrive_on_their_sides() {
    let pcm = decode(&tone_frames(440.0, 880.0, 50));
    let (left, right) = (channel(&pcm, 2, 0), channel(&pcm, 2, 1));
    // Without the first 100 ms, in which the codec settles.
    let (left, right) = (&left[4800..], &right[4800..]);
    for (side, wanted, other) in [(left, 440.0, 880.0), (right, 880.0, 440.0)] {
        assert!(
            (goertzel(side, wanted) - 0.4).abs() < 0.05,
            "{}",
            goertzel(side, wanted)
        );
        assert!(goertzel(side, other) < 0.04, "{}", goertzel(side, other));
    }
}

#[test]
fn settings_change_what_comes_out() {
    let pcm = stereo_tone(440.0, 880.0, 0.4, 0, 50 * FRAME_SAMPLES);
    let bytes = |config| -> usize { encode(config, &pcm).iter().map(|f| f.data.len()).sum() };
    let low = bytes(EncoderConfig::default().bitrate(24_000));
    let high = bytes(EncoderConfig::default().bitrate(192_000));
    assert!(low * 4 < high, "{low} {high}");
    // While it runs, too.
    let mut encoder = OpusEncoder::new(EncoderConfig::default().bitrate(192_000)).unwrap();
    let frame = &pcm[..2 * FRAME_SAMPLES];
    let before = encoder.encode(frame).unwrap().data.len();
    encoder
        .configure(EncoderConfig::default().bitrate(16_000))
        .unwrap();
    for _ in 0..5 {
        encoder.encode(frame).unwrap();
    }
    let after = encoder.encode(frame).unwrap().data.len();
    assert!(after * 3 < before, "{before} {after}");
    encoder.configure(EncoderConfig::speech()).unwrap();
    let mono = encoder.encode(&frame[..FRAME_SAMPLES]).unwrap();
    assert!(!OpusPacket::parse(&mono.data).unwrap().is_stereo());
    // Out of range is brought into range.
    let odd = EncoderConfig::default()
        .bitrate(u32::MAX)
        .complexity(99)
        .expected_loss(255);
    encoder.configure(odd).unwrap();
    encoder.encode(frame).unwrap();
}

#[test]
fn silence_costs_next_to_nothing_with_dtx() {
    let config = EncoderConfig::speech().fec(false);
    let mut pcm = vec![0.0; 100 * FRAME_SAMPLES];
    let mut rng = fastrand::Rng::with_seed(5);
    for sample in pcm.iter_mut().take(20 * FRAME_SAMPLES) {
        *sample = rng.f32() * 0.2 - 0.1;
    }
    let silence = |config: EncoderConfig| -> Vec<OpusPacket> {
        let mut encoder = OpusEncoder::new(config).unwrap();
        let mut frames = Vec::new();
        for frame in pcm.chunks_exact(FRAME_SAMPLES) {
            frames.push(encoder.encode(frame).unwrap());
        }
        let silence = frames.iter().skip(50);
        silence
            .map(|frame| OpusPacket::parse(&frame.data).unwrap())
            .collect()
    };
    let empty = |packets: &[OpusPacket]| packets.iter().filter(|p| p.is_dtx()).count();
    // All but one packet in 400 ms, which keeps the background noise up to date.
    assert!(empty(&silence(config.clone().dtx(true))) >= 45);
    assert_eq!(empty(&silence(config)), 0);
}

#[test]
fn every_packet_made_is_one_that_is_understood() {
    for application in [Application::Voip, Application::Audio, Application::LowDelay] {
        for samples in [120, 240, 480, 960, 1920, 2880] {
            let config = EncoderConfig::default().application(application);
            let mut encoder = OpusEncoder::new(config).unwrap();
            let pcm = stereo_tone(300.0, 500.0, 0.3, 0, samples);
            let frame = encoder.encode(&pcm).unwrap();
            let packet = OpusPacket::parse(&frame.data).unwrap();
            assert_eq!(
                (packet.samples(), frame.samples),
                (samples as u32, samples as u32)
            );
        }
    }
    let mut encoder = OpusEncoder::new(EncoderConfig::default()).unwrap();
    assert!(encoder.encode(&[0.0; 100]).is_err());
    assert!(encoder.encode(&[]).is_err());
    encoder.encode(&[f32::NAN; 1920]).unwrap();
    encoder.encode(&[1e30; 1920]).unwrap();
}

#[test]
fn the_flag_for_redundancy_is_where_we_look_for_it() {
    let with = EncoderConfig::speech().expected_loss(20);
    let pcm = stereo_tone(200.0, 200.0, 0.4, 0, 50 * FRAME_SAMPLES);
    for (config, wanted) in [(with.clone(), true), (with.fec(false), false)] {
        for channels in [Channels::Mono, Channels::Stereo] {
            let mut encoder = OpusEncoder::new(config.clone().channels(channels)).unwrap();
            let size = FRAME_SAMPLES * channels.count();
            let frames = pcm.chunks_exact(size).skip(10).take(10);
            let found = frames
                .filter(|frame| {
                    let frame = encoder.encode(frame).unwrap();
                    OpusPacket::parse(&frame.data).unwrap().has_fec()
                })
                .count();
            assert_eq!(found > 5, wanted, "{found} of 10");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever sent them: no bytes bring the decoder down, and it agrees with the header.
    #[test]
    fn random_packets_never_do_more_than_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = OpusDecoder::new(Channels::Stereo).unwrap();
        let mut pcm = Vec::new();
        let decoded = decoder.decode(&bytes, &mut pcm);
        match OpusPacket::parse(&bytes) {
            Ok(packet) => {
                if let Ok(samples) = decoded {
                    prop_assert_eq!(samples, packet.samples() as usize);
                    prop_assert_eq!(pcm.len(), 2 * samples);
                }
            }
            Err(_) => prop_assert!(decoded.is_err(), "{:02x?}", bytes),
        }
        let _ = decoder.decode_fec(&bytes, 960, &mut pcm);
        let _ = decoder.conceal(960, &mut pcm);
    }
}
