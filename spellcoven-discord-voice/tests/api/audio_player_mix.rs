//! Volume, mixing and encoding, judged by the signal.

use std::{f32::consts::FRAC_1_SQRT_2, time::Duration};

use spellcoven_discord_voice::{
    AudioSource, Channels, EncoderConfig, FRAME_SAMPLES, NextFrame, OggOpus, OpusFrames,
    OpusPacket, PcmInput, Player, Repeat, Track, TrackState, Wav,
};

use crate::{
    audio_support::{Ogg, decode, frames, tone_frames},
    dsp::{channel, goertzel, stereo_tone},
};

/// The left side's strength at a frequency, without the first 200 ms.
fn left(frames: &[spellcoven_discord_voice::OpusFrame], frequency: f32) -> f32 {
    side(frames, 0, frequency)
}

fn side(frames: &[spellcoven_discord_voice::OpusFrame], side: usize, frequency: f32) -> f32 {
    let pcm = channel(&decode(frames), 2, side);
    goertzel(&pcm[9600..], frequency)
}

fn tone(frequency: f32) -> Track {
    Track::new(OpusFrames::new(tone_frames(frequency, frequency, 200)))
}

#[test]
fn at_full_volume_the_packets_are_the_same_bytes() {
    let sent = tone_frames(440.0, 880.0, 50);
    let (mut player, handle) = Player::new(EncoderConfig::default());
    handle
        .play(Track::new(OpusFrames::new(sent.clone())))
        .unwrap();
    assert_eq!(frames(&mut player, 99), sent);
}

#[test]
fn half_the_volume_is_half_the_amplitude() {
    let (mut player, handle) = Player::new(EncoderConfig::default());
    let track = handle.play(tone(440.0).volume(0.5)).unwrap();
    let half = left(&frames(&mut player, 60), 440.0);
    assert!((half - 0.2).abs() < 0.02, "{half}");
    track.set_volume(1.0);
    // One frame of rising volume, and then the packets themselves again.
    let rising = frames(&mut player, 1);
    assert!(!tone_frames(440.0, 440.0, 200).contains(&rising[0]));
    let passed = frames(&mut player, 1);
    assert!(tone_frames(440.0, 440.0, 200).contains(&passed[0]));
    assert_eq!(track.position(), Duration::from_millis(62 * 20));
    track.set_volume(f32::NAN);
    assert_eq!(track.volume(), 1.0);
    track.set_volume(100.0);
    assert_eq!(track.volume(), 4.0);
    track.set_volume(0.0);
    frames(&mut player, 1);
    let silent = left(&frames(&mut player, 40), 440.0);
    assert!(silent < 0.005, "{silent}");
}

#[test]
fn volume_changes_over_20_ms() {
    let (mut player, handle) = Player::new(EncoderConfig::default().bitrate(192_000));
    let track = handle.play(tone(440.0).volume(0.99)).unwrap();
    let mut all = frames(&mut player, 50);
    track.set_volume(0.0);
    all.extend(frames(&mut player, 5));
    let pcm = channel(&decode(&all), 2, 0);
    // Our encoder delays by 6.5 ms.
    let half = |index: usize| goertzel(&pcm[index * 480 + 312..][..480], 440.0);
    let (before, first, second) = (half(99), half(100), half(101));
    assert!(
        first > 0.6 * before && first < 0.9 * before,
        "{before} {first} {second}"
    );
    assert!(
        second > 0.1 * before && second < 0.4 * before,
        "{before} {first} {second}"
    );
}

#[test]
fn the_change_from_passing_on_to_decoding_makes_no_hole() {
    let (mut player, handle) = Player::new(EncoderConfig::default());
    let track = handle.play(tone(440.0)).unwrap();
    let mut all = frames(&mut player, 50);
    track.set_volume(0.99);
    all.extend(frames(&mut player, 50));
    let pcm = channel(&decode(&all), 2, 0);
    // Every 10 ms around the change holds the tone.
    for (index, piece) in pcm[49 * FRAME_SAMPLES..54 * FRAME_SAMPLES]
        .chunks(480)
        .enumerate()
    {
        let loudness = piece.iter().map(|s| s * s).sum::<f32>() / 480.0;
        let loudness = loudness.sqrt() / FRAC_1_SQRT_2;
        assert!((0.2..0.6).contains(&loudness), "{index}: {loudness}");
    }
}

#[test]
fn two_tracks_are_both_heard() {
    let (mut player, handle) = Player::new(EncoderConfig::default());
    let first = handle.play(tone(440.0)).unwrap();
    handle.play(tone(1500.0).volume(0.5)).unwrap();
    let mixed = frames(&mut player, 60);
    assert!(
        (left(&mixed, 440.0) - 0.4).abs() < 0.04,
        "{}",
        left(&mixed, 440.0)
    );
    assert!(
        (left(&mixed, 1500.0) - 0.2).abs() < 0.03,
        "{}",
        left(&mixed, 1500.0)
    );
    first.pause();
    let one = frames(&mut player, 60);
    assert!(left(&one, 440.0) < 0.01);
    assert!(left(&one, 1500.0) > 0.15);
    assert_eq!(handle.tracks().len(), 2);
}

#[test]
fn what_is_too_loud_is_bent_not_torn() {
    let (mut player, handle) = Player::new(EncoderConfig::default().bitrate(256_000));
    for _ in 0..4 {
        handle.play(tone(440.0)).unwrap();
    }
    let pcm = channel(&decode(&frames(&mut player, 60)), 2, 0);
    let pcm = &pcm[9600..];
    // 1.6 in sum. Torn off at 1.0, every half wave would lie flat for long.
    assert!(pcm.iter().all(|s| s.abs() < 1.2));
    let flat = pcm
        .windows(2)
        .filter(|w| w[0].abs() > 0.99 && (w[0] - w[1]).abs() < 1e-4);
    assert!(flat.count() < pcm.len() / 50);
    assert!(goertzel(pcm, 440.0) > 0.85);
}

#[test]
fn a_repeat_of_decoded_audio_is_exact_to_the_sample() {
    let mut file = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 48_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut wav = hound::WavWriter::new(&mut file, spec).unwrap();
    // 102 ms: no multiple of 20 ms.
    for sample in stereo_tone(500.0, 500.0, 0.4, 0, 4_896) {
        wav.write_sample(sample).unwrap();
    }
    wav.finalize().unwrap();
    let (mut player, handle) = Player::new(EncoderConfig::default().bitrate(256_000));
    let wav = Wav::from_bytes(file.into_inner()).unwrap();
    let track = handle
        .play(Track::new(wav).repeat(Repeat::Times(9)))
        .unwrap();
    let mut all = frames(&mut player, 6);
    assert_eq!(track.position(), Duration::from_millis(18));
    all.extend(frames(&mut player, 999));
    assert_eq!(all.len(), 51, "10 times 4,896 samples are 51 frames");
    assert_eq!(track.state(), TrackState::Ended);
    // 500 Hz has 96 samples a cycle, 51 cycles: the tone goes on as if it were one.
    let strength = left(&all, 500.0);
    assert!((strength - 0.4).abs() < 0.02, "{strength}");
}

#[test]
fn an_output_gain_is_applied() {
    let tones = tone_frames(440.0, 440.0, 100);
    let plain = Ogg {
        pre_skip: 312,
        ..Ogg::default()
    };
    let quiet = Ogg {
        gain: -2560,
        ..plain.clone()
    };
    let (mut player, handle) = Player::new(EncoderConfig::default());
    let file = quiet.write(&tones);
    handle
        .play(Track::new(OggOpus::from_bytes(file).unwrap()))
        .unwrap();
    let all = frames(&mut player, 999);
    // -10 dB.
    let strength = left(&all, 440.0);
    assert!((strength - 0.1265).abs() < 0.015, "{strength}");
    assert_eq!(all.len(), 100);
    let (mut player, handle) = Player::new(EncoderConfig::default());
    handle
        .play(Track::new(
            OggOpus::from_bytes(plain.write(&tones)).unwrap(),
        ))
        .unwrap();
    assert_eq!(frames(&mut player, 999), tones);
}

#[test]
fn the_encoder_can_be_set_while_it_plays() {
    let (mut player, handle) = Player::new(EncoderConfig::default().bitrate(192_000));
    handle.play(tone(440.0).volume(0.5)).unwrap();
    let bytes = |frames: &[spellcoven_discord_voice::OpusFrame]| -> usize {
        frames.iter().map(|frame| frame.data.len()).sum()
    };
    let high = bytes(&frames(&mut player, 40));
    handle.set_encoder(EncoderConfig::default().bitrate(24_000));
    frames(&mut player, 5);
    let low = bytes(&frames(&mut player, 40));
    assert!(low * 3 < high, "{high} {low}");
    handle.set_encoder(EncoderConfig::speech());
    let mono = frames(&mut player, 40);
    assert!(!OpusPacket::parse(&mono[0].data).unwrap().is_stereo());
    assert!(
        (left(&mono, 440.0) - 0.2).abs() < 0.05,
        "{}",
        left(&mono, 440.0)
    );
}

#[test]
fn pcm_from_the_application_is_heard_and_waited_for() {
    let (mut writer, input) = PcmInput::new(Channels::Stereo, Duration::from_secs(2));
    let (mut player, handle) = Player::new(EncoderConfig::default());
    let track = handle.play(Track::new(input)).unwrap();
    assert_eq!(player.next_frame(), NextFrame::Idle);
    writer
        .try_write(&stereo_tone(440.0, 880.0, 0.4, 0, 48_000))
        .unwrap();
    let all = frames(&mut player, 999);
    assert_eq!(all.len(), 50);
    assert!((side(&all, 0, 440.0) - 0.4).abs() < 0.04);
    assert!((side(&all, 1, 880.0) - 0.4).abs() < 0.04);
    assert_eq!(track.state(), TrackState::Playing);
    assert_eq!(track.position(), Duration::from_secs(1));
    // Less than 20 ms is played when the writer has gone.
    writer.try_write(&[0.1; 100]).unwrap();
    assert_eq!(player.next_frame(), NextFrame::Idle);
    drop(writer);
    assert!(matches!(player.next_frame(), NextFrame::Frame(_)));
    assert_eq!(player.next_frame(), NextFrame::Idle);
    assert_eq!(track.state(), TrackState::Ended);
}

#[test]
fn decoded_seeks_are_exact_to_the_sample() {
    // The left side changes its tone at 2 s sharp.
    let mut pcm = stereo_tone(440.0, 440.0, 0.4, 0, 96_000);
    pcm.extend(stereo_tone(1500.0, 1500.0, 0.4, 0, 96_000));
    let sent = crate::audio_support::encode(EncoderConfig::default().bitrate(192_000), &pcm);
    let file = Ogg {
        pre_skip: 312,
        ..Ogg::default()
    }
    .write(&sent);
    let (mut player, handle) = Player::new(EncoderConfig::default().bitrate(192_000));
    let ogg = OggOpus::from_bytes(file).unwrap();
    let track = handle.play(Track::new(ogg).volume(0.8)).unwrap();
    frames(&mut player, 10);
    track.seek(Duration::from_millis(1_990));
    let all = frames(&mut player, 30);
    assert_eq!(track.position(), Duration::from_millis(1_990 + 600));
    let pcm = channel(&decode(&all), 2, 0);
    // 10 ms to the change, and 6.5 ms that our own encoder delays.
    let change = 480 + 312;
    let before = goertzel(&pcm[312..change - 100], 440.0);
    let after = goertzel(&pcm[change + 200..change + 680], 1500.0);
    assert!(before > 0.1 && after > 0.25, "{before} {after}");
    assert!(goertzel(&pcm[change + 480..change + 4_800], 440.0) < 0.02);
}
