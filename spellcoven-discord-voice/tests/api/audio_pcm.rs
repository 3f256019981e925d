//! WAV files and PCM from the application.

use std::{
    future::Future,
    io::Cursor,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;
use spellcoven_discord_voice::{
    Channels, FRAME_SAMPLES, Input, InputError, PcmInput, Produced, Wav, WriterClosed,
};

use crate::dsp::{channel, goertzel, stereo_tone};

/// A WAV file by the crate `hound`: a tone of 440 Hz, from the second channel on 880 Hz.
fn wav(rate: u32, channels: u16, bits: u16, format: SampleFormat, seconds: f32) -> Vec<u8> {
    let spec = WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: bits,
        sample_format: format,
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for index in 0..(rate as f32 * seconds) as u32 {
        for channel in 0..channels {
            let frequency = if channel == 0 { 440.0 } else { 880.0 };
            let phase = f64::from(index) * frequency / f64::from(rate);
            let value = 0.5 * (phase.fract() * std::f64::consts::TAU).sin();
            match format {
                SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                SampleFormat::Int => {
                    let full = f64::from(2u32.pow(u32::from(bits) - 1) - 1);
                    writer.write_sample((value * full) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn all(input: &mut impl Input) -> Vec<f32> {
    let mut pcm = Vec::new();
    loop {
        let before = pcm.len();
        match input.read(&mut pcm).unwrap() {
            Produced::Pcm => assert!(pcm.len() > before && pcm.len() - before <= 2 * FRAME_SAMPLES),
            Produced::End => return pcm,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_kind_of_sample_has_the_right_pitch_and_strength() {
    let kinds = [
        (8, SampleFormat::Int),
        (16, SampleFormat::Int),
        (24, SampleFormat::Int),
        (32, SampleFormat::Int),
        (32, SampleFormat::Float),
    ];
    for (bits, format) in kinds {
        for channels in [1, 2] {
            let file = wav(48_000, channels, bits, format, 0.5);
            let mut wav = Wav::from_bytes(file).unwrap();
            assert_eq!(wav.duration(), Some(Duration::from_millis(500)));
            let pcm = all(&mut wav);
            assert_eq!(pcm.len(), 48_000);
            let right = if channels == 1 { 440.0 } else { 880.0 };
            for (side, frequency) in [(0, 440.0), (1, right)] {
                let strength = goertzel(&channel(&pcm, 2, side), frequency);
                assert!((strength - 0.5).abs() < 0.01, "{bits} bits: {strength}");
            }
        }
    }
}

#[test]
fn any_rate_keeps_pitch_length_and_alignment() {
    for rate in [
        8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 47_999, 96_000, 192_000,
    ] {
        let file = wav(rate, 2, 16, SampleFormat::Int, 1.0);
        let pcm = all(&mut Wav::from_bytes(file).unwrap());
        let length = pcm.len() / 2;
        assert!((47_999..=48_001).contains(&length), "{rate} Hz: {length}");
        let left = channel(&pcm, 2, 0);
        for (frequency, wanted) in [(440.0, 0.5), (440.0 * 48.0 / 44.1, 0.0), (880.0, 0.0)] {
            let strength = goertzel(&left, frequency);
            assert!(
                (strength - wanted).abs() < 0.01,
                "{rate} Hz: {strength} at {frequency} Hz"
            );
        }
        // Where it belongs, resampler or not.
        let ideal = stereo_tone(440.0, 880.0, 0.5, 0, length);
        let middle = 9_600..86_400;
        let worst = pcm[middle.clone()].iter().zip(&ideal[middle]);
        let worst = worst.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Below 0.6 of a sample, for the steeper tone.
        assert!(worst < 0.036, "{rate} Hz: off by {worst}");
    }
}

#[test]
fn seeking_is_exact_to_the_sample() {
    for rate in [48_000, 44_100] {
        let file = wav(rate, 2, 16, SampleFormat::Int, 3.0);
        let mut wav = Wav::from_bytes(file).unwrap();
        // At 44.1 kHz, 160 of our samples are 147 of the file's.
        for position in [96_000, 160, 48_000, 0, 64_000] {
            assert_eq!(wav.seek(position).unwrap(), position);
            let pcm = all(&mut wav);
            assert!(
                pcm.len().abs_diff(2 * (144_000 - position as usize)) <= 2,
                "{}",
                pcm.len()
            );
            let ideal = stereo_tone(440.0, 880.0, 0.5, position as usize, 4800);
            let pairs = pcm[400..9600].iter().zip(&ideal[400..]);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.036, "{rate} Hz at {position}: off by {worst}");
        }
        assert_eq!(wav.seek(u64::MAX).unwrap(), 144_000);
        assert!(all(&mut wav).is_empty());
    }
}

#[test]
fn more_channels_are_mixed_down_and_never_beyond_full_scale() {
    let pcm = all(&mut Wav::from_bytes(wav(48_000, 6, 16, SampleFormat::Int, 0.5)).unwrap());
    let left = channel(&pcm, 2, 0);
    assert!(goertzel(&left, 440.0) > 0.1);
    assert!(goertzel(&left, 880.0) > 0.3);
    assert!(pcm.iter().all(|sample| sample.abs() <= 0.51));
}

#[test]
fn odd_headers_are_read() {
    let plain = wav(48_000, 1, 16, SampleFormat::Int, 0.1);
    let data = plain.windows(4).position(|four| four == b"data").unwrap();
    // A chunk of odd length has a byte of padding behind it.
    let mut file = plain[..data].to_vec();
    file.extend(b"LIST\x03\0\0\0abc\0");
    file.extend(&plain[data..]);
    assert_eq!(all(&mut Wav::from_bytes(file).unwrap()).len(), 9600);
    // A stream whose writer did not know the length.
    for unknown in [[0; 4], [255; 4]] {
        let mut file = plain.clone();
        file[data + 4..data + 8].copy_from_slice(&unknown);
        let mut stream = Wav::new(&file[..]).unwrap();
        assert_eq!(stream.duration(), None);
        assert_eq!(all(&mut stream).len(), 9600);
        assert!(matches!(stream.seek(0), Err(InputError::Unseekable)));
    }
    // Cut off in the middle of a sample.
    let mut cut = Wav::from_bytes(plain[..plain.len() - 1001].to_vec()).unwrap();
    assert_eq!(all(&mut cut).len(), 2 * (4800 - 501));
    assert!(matches!(
        Wav::from_bytes(&b"RIFF"[..]),
        Err(InputError::Format { .. })
    ));
    assert!(matches!(
        Wav::from_bytes(vec![0; 100]),
        Err(InputError::Format { .. })
    ));
    let slow = wav(1_000, 1, 16, SampleFormat::Int, 0.1);
    assert!(matches!(
        Wav::from_bytes(slow),
        Err(InputError::Unsupported(_))
    ));
}

#[test]
fn a_writer_is_held_back_by_the_player_and_ends_the_track() {
    let (mut writer, mut input) = PcmInput::new(Channels::Stereo, Duration::from_millis(60));
    let tone = stereo_tone(440.0, 880.0, 0.5, 0, 4000);
    let mut pcm = Vec::new();
    assert_eq!(input.read(&mut pcm).unwrap(), Produced::Starved);
    assert_eq!(writer.try_write(&tone[..1000]), Ok(1000));
    assert_eq!(input.read(&mut pcm).unwrap(), Produced::Starved);
    // 60 ms are 5760 values, 1000 of them taken.
    assert_eq!(writer.try_write(&tone[1000..]), Ok(4760));
    assert_eq!(writer.try_write(&tone[5760..]), Ok(0));
    {
        let mut context = Context::from_waker(Waker::noop());
        let mut rest = pin!(writer.write(&tone[5760..]));
        assert!(rest.as_mut().poll(&mut context).is_pending());
        assert_eq!(input.read(&mut pcm).unwrap(), Produced::Pcm);
        assert_eq!(pcm.len(), 1920);
        assert!(rest.as_mut().poll(&mut context).is_pending());
        assert_eq!(input.read(&mut pcm).unwrap(), Produced::Pcm);
        assert_eq!(rest.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    }
    drop(writer);
    pcm.extend(all(&mut input));
    assert_eq!(pcm, tone);
    let (mut writer, input) = PcmInput::new(Channels::Mono, Duration::ZERO);
    assert_eq!(writer.try_write_i16(&[i16::MIN, 0, 16384]), Ok(3));
    drop(input);
    assert_eq!(writer.try_write(&[0.0]), Err(WriterClosed));
}

#[test]
fn mono_is_heard_on_both_sides_and_integers_keep_their_strength() {
    let (mut writer, mut input) = PcmInput::new(Channels::Mono, Duration::from_secs(1));
    writer.try_write_i16(&[i16::MIN, 0, 16384]).unwrap();
    drop(writer);
    assert_eq!(all(&mut input), [-1.0, -1.0, 0.0, 0.0, 0.5, 0.5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_bytes_never_do_more_than_fail(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        changes in proptest::collection::vec((0..60usize, any::<u8>()), 0..4),
        seek: u64,
    ) {
        let _ = Wav::from_bytes(bytes.clone()).map(|mut wav| wav.read(&mut Vec::new()));
        let mut file = wav(44_100, 2, 16, SampleFormat::Int, 0.0);
        file.extend(bytes);
        for (at, byte) in changes {
            if let Some(old) = file.get_mut(at) {
                *old = byte;
            }
        }
        if let Ok(mut wav) = Wav::from_bytes(file) {
            let _ = wav.seek(seek);
            let _ = wav.seek(seek % 1000);
            let mut pcm = Vec::new();
            let mut turns = 0;
            while let Ok(Produced::Pcm) = wav.read(&mut pcm) {
                turns += 1;
                prop_assert!(turns < 2000);
            }
            prop_assert!(pcm.iter().all(|sample| sample.is_finite()));
        }
    }
}
