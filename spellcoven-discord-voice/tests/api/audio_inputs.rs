//! Ogg Opus and lists of frames: every packet, in order, where it belongs; and nothing
//! worse than an error from bytes that are not what they should be.

use std::{
    io::{Cursor, Read},
    time::Duration,
};

use proptest::prelude::*;
use spellcoven_discord_voice::{
    AudioSource, Input, InputError, NextFrame, OggOpus, OpusFrame, OpusFrames, Produced,
};

use crate::audio_support::{Ogg, frames, number, numbered, packets};

/// 20 ms.
const FRAME: u64 = 960;

fn numbers<'a>(frames: impl IntoIterator<Item = &'a OpusFrame>) -> Vec<u32> {
    frames.into_iter().map(number).collect()
}

#[test]
fn a_list_gives_its_frames_and_can_be_sought_in() {
    let mut list = OpusFrames::new(numbered(10));
    assert_eq!(list.duration(), Some(Duration::from_millis(200)));
    assert_eq!(numbers(&frames(&mut list, 3)), [0, 1, 2]);
    assert_eq!(list.seek(8 * FRAME + 5).unwrap(), 8 * FRAME);
    assert_eq!(numbers(&frames(&mut list, 9)), [8, 9]);
    assert_eq!(list.next_frame(), NextFrame::End);
    assert_eq!(list.seek(u64::MAX).unwrap(), 10 * FRAME);
    assert_eq!(list.next_frame(), NextFrame::End);
    let mut once = OpusFrames::iter(numbered(3));
    assert!(matches!(once.seek(0), Err(InputError::Unseekable)));
    assert_eq!(frames(&mut once, 9).len(), 3);
}

#[test]
fn all_packets_of_an_ogg_file_come_out_in_order() {
    let sent = numbered(137);
    for packets_per_page in [1, 10, 400] {
        let file = Ogg {
            packets_per_page,
            ..Ogg::default()
        }
        .write(&sent);
        let mut ogg = OggOpus::from_bytes(file.clone()).unwrap();
        assert_eq!(ogg.duration(), Some(Duration::from_millis(137 * 20)));
        assert_eq!(frames(&mut ogg, 200), sent);
        assert_eq!(ogg.next_frame(), NextFrame::End);
        assert_eq!(ogg.damaged(), 0);
        // From a reader that gives a few bytes at a time and cannot seek.
        let mut stream = OggOpus::new(Cursor::new(file).take(u64::MAX).chain(&[][..])).unwrap();
        assert_eq!(stream.duration(), None);
        assert_eq!(frames(&mut stream, 200), sent);
        assert!(matches!(stream.seek(0), Err(InputError::Unseekable)));
    }
}

#[test]
fn packets_that_span_pages_and_long_ones_keep_their_samples() {
    // 3 × 20 ms of 1200 bytes each: three such packets fill more than ten lacing values
    // each, and 120 of them more than a page.
    let long = |seed: u8| {
        let mut packet = vec![0xFB, 3];
        packet.resize(2 + 3600, seed);
        OpusFrame::from_packet(packet).unwrap()
    };
    let sent: Vec<OpusFrame> = (0..120).map(long).collect();
    let file = Ogg {
        packets_per_page: 1000,
        ..Ogg::default()
    }
    .write(&sent);
    let mut ogg = OggOpus::from_bytes(file).unwrap();
    let got = packets(&mut ogg);
    assert_eq!(got.len(), 120);
    assert!(got.iter().zip(&sent).all(|(got, sent)| got.frame == *sent));
    assert_eq!(got[0].frame.samples, 2880);
    assert_eq!(ogg.damaged(), 0);
    for target in [0, 30, 59, 60, 118] {
        assert_eq!(ogg.seek(target * 2880 + 100).unwrap(), target * 2880 + 100);
        let heard = packets(&mut ogg)
            .into_iter()
            .find(|chunk| chunk.skip < chunk.frame.samples)
            .unwrap();
        assert_eq!(u64::from(heard.frame.data[2]), target);
        assert_eq!(heard.skip, 100);
    }
}

#[test]
fn pre_skip_gain_and_the_cut_at_the_end_are_told() {
    let ogg = Ogg {
        pre_skip: 1272,
        gain: -6 * 256,
        trim: 500,
        start: 96_000,
        ..Ogg::default()
    };
    let mut ogg = OggOpus::from_bytes(ogg.write(&numbered(50))).unwrap();
    assert_eq!(
        ogg.duration().unwrap().as_nanos() * 48 / 1_000_000,
        50 * 960 - 1272 - 500
    );
    let got = packets(&mut ogg);
    let skips: Vec<u32> = got.iter().take(3).map(|chunk| chunk.skip).collect();
    assert_eq!(skips, [960, 312, 0]);
    assert_eq!((got[48].trim, got[49].trim), (0, 500));
    assert!((got[0].gain - 0.501).abs() < 0.001);
    // As a source: what only prepares a decoder is left out.
    ogg.seek(0).unwrap();
    assert_eq!(numbers(&frames(&mut ogg, 99)).first(), Some(&1));
}

#[test]
fn seeking_finds_the_packet_of_any_position_and_prepares_the_decoder() {
    for packets_per_page in [1, 10, 250] {
        let file = Ogg {
            pre_skip: 312,
            packets_per_page,
            ..Ogg::default()
        };
        let mut ogg = OggOpus::from_bytes(file.write(&numbered(3000))).unwrap();
        for position in [0, 5_000, 59_900, 30_000, 1_000, 59_979, 10] {
            check_seek(&mut ogg, position);
        }
        let end = ogg.seek(u64::MAX / 2).unwrap();
        assert_eq!(end, 3000 * 960 - 312);
        assert_eq!(ogg.next_frame(), NextFrame::End);
        ogg.seek(0).unwrap();
        assert_eq!(frames(&mut ogg, 9999).len(), 3000);
    }
}

fn check_seek(ogg: &mut OggOpus<Cursor<bytes::Bytes>>, position: u64) {
    let samples = position * 48;
    assert_eq!(ogg.seek(samples).unwrap(), samples);
    let mut prepared = 0;
    let heard = loop {
        match ogg.read(&mut Vec::new()).unwrap() {
            Produced::Opus(chunk) if chunk.skip == chunk.frame.samples => prepared += 960,
            Produced::Opus(chunk) => break chunk,
            other => panic!("{other:?}"),
        }
    };
    let granule = samples + 312;
    assert_eq!(
        u64::from(number(&heard.frame)),
        granule / 960,
        "at {position} ms"
    );
    assert_eq!(u64::from(heard.skip), granule % 960, "at {position} ms");
    // RFC 7845, 4.6: 80 ms before it, and not much more.
    let prepared = prepared + u64::from(heard.skip);
    assert!(prepared < 3840 + 960, "at {position} ms: {prepared}");
    if position >= 1_000 {
        assert!(prepared >= 3840, "at {position} ms: {prepared}");
    }
}

#[test]
fn chained_streams_follow_one_another() {
    let first = Ogg {
        serial: 1,
        pre_skip: 312,
        ..Ogg::default()
    }
    .write(&numbered(100));
    let second = Ogg {
        serial: 2,
        pre_skip: 960,
        start: 5000,
        ..Ogg::default()
    };
    let file = [first, second.write(&numbered(60))].concat();
    let mut ogg = OggOpus::from_bytes(file).unwrap();
    assert_eq!(ogg.duration(), None);
    assert_eq!(packets(&mut ogg).len(), 160);
    // 10 packets into the second: its pre-skip is one packet.
    let position = 100 * 960 - 312 + 10 * 960;
    assert_eq!(ogg.seek(position).unwrap(), position);
    let heard = packets(&mut ogg)
        .into_iter()
        .find(|chunk| chunk.skip < chunk.frame.samples)
        .unwrap();
    assert_eq!((number(&heard.frame), heard.skip), (11, 0));
}

#[test]
fn a_damaged_page_costs_only_its_packets() {
    let file = Ogg::default().write(&numbered(100));
    // The fifth page of audio.
    let pages: Vec<usize> = file
        .windows(4)
        .enumerate()
        .filter(|(_, four)| four == b"OggS")
        .map(|(at, _)| at)
        .collect();
    let fifth = pages[pages.len() - 6];
    let mut broken = file.clone();
    broken[fifth + 60] ^= 1;
    let mut ogg = OggOpus::from_bytes(broken).unwrap();
    let got = numbers(&frames(&mut ogg, 200));
    assert_eq!(got.len(), 90);
    assert!(ogg.damaged() >= 1);
    assert!(!got.contains(&45) && got.contains(&39) && got.contains(&50));
    // Cut off in the middle of a page.
    let mut ogg = OggOpus::from_bytes(file[..fifth + 40].to_vec()).unwrap();
    assert_eq!(frames(&mut ogg, 200).len(), 40);
    // Something else before it.
    let mut ogg = OggOpus::from_bytes([&[0u8; 5000][..], &file].concat()).unwrap();
    assert_eq!(frames(&mut ogg, 200).len(), 100);
}

#[test]
fn a_reader_that_has_nothing_yet_is_asked_again() {
    struct Drip(Cursor<Vec<u8>>, bool);
    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let headers = self.0.position() < 80_000;
            self.1 = !self.1;
            if !headers && self.1 {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            let most = buffer.len().min(if headers { 8192 } else { 11 });
            self.0.read(&mut buffer[..most])
        }
    }
    let file = Ogg::default().write(&numbered(3000));
    let mut ogg = OggOpus::new(Drip(Cursor::new(file), false)).unwrap();
    let (mut idle, mut got) = (0, Vec::new());
    loop {
        match ogg.next_frame() {
            NextFrame::Frame(frame) => got.push(frame),
            NextFrame::Idle => idle += 1,
            NextFrame::End => break,
        }
    }
    assert_eq!(got, numbered(3000));
    assert!(idle > 100, "{idle}");
}

#[test]
fn what_is_not_ogg_opus_is_refused() {
    let file = Ogg::default().write(&numbered(3));
    let other = |at: usize, byte: u8| {
        // Rewrites a byte of OpusHead without its checksum being wrong: by writing anew.
        let mut ogg = Ogg::default();
        if at == 9 {
            ogg.channels = byte;
        }
        OggOpus::from_bytes(ogg.write(&numbered(3)))
    };
    assert!(matches!(
        OggOpus::from_bytes(&b""[..]),
        Err(InputError::Format { .. })
    ));
    assert!(matches!(
        OggOpus::from_bytes(vec![1; 1 << 20]),
        Err(InputError::Format { .. })
    ));
    assert!(matches!(other(9, 6), Err(InputError::Unsupported(_))));
    assert!(matches!(other(9, 0), Err(InputError::Unsupported(_))));
    assert!(OggOpus::from_bytes(file).is_ok());
}

#[test]
fn a_file_of_nothing_but_headers_ends() {
    // Each link of the chain is a header without audio: no recursion, no endless loop.
    let mut file = Vec::new();
    for serial in 0..3000 {
        let whole = Ogg {
            serial,
            ..Ogg::default()
        }
        .write(&[]);
        let head: Vec<u8> = whole[..47].to_vec();
        file.extend(head);
    }
    let result = OggOpus::from_bytes(file).map(|mut ogg| frames(&mut ogg, 9).len());
    assert!(matches!(result, Ok(0) | Err(_)), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_bytes_never_do_more_than_fail(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let _ = OggOpus::from_bytes(bytes.clone()).map(|mut ogg| frames(&mut ogg, 10_000));
        let mut with_mark = b"OggS\0\x02".to_vec();
        with_mark.extend(bytes);
        let _ = OggOpus::from_bytes(with_mark).map(|mut ogg| frames(&mut ogg, 10_000));
    }

    /// A valid file with bytes changed, removed or doubled: no panic, no loop without end,
    /// and what comes out was in the file.
    #[test]
    fn damaged_files_give_only_packets_that_were_in_them(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..20),
        seek in any::<prop::sample::Index>(),
    ) {
        let sent = numbered(300);
        let mut file = Ogg { pre_skip: 312, ..Ogg::default() }.write(&sent);
        for (index, byte, kind) in changes {
            let at = index.index(file.len());
            match kind {
                0 => file[at] = byte,
                1 => {
                    file.remove(at);
                }
                _ => file.insert(at, byte),
            }
        }
        if let Ok(mut ogg) = OggOpus::from_bytes(file) {
            let got = frames(&mut ogg, 10_000);
            prop_assert!(got.iter().all(|frame| sent.contains(frame)));
            let _ = ogg.seek(seek.index(400 * 960) as u64);
            let got = frames(&mut ogg, 10_000);
            prop_assert!(got.iter().all(|frame| sent.contains(frame)));
        }
    }
}
