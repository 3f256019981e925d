//! Vectors, davey as the other side, and the limits.

mod limits;

use std::time::Instant;

use super::*;
use crate::dave::ratchet::KeyRatchet;
use crate::dave::{
    keys::{KeyChange, Passthrough, SendKey},
    mls, testing,
};
use davey::{DaveSession, MediaType};

const A: u64 = 111_111_111_111;
const B: u64 = 222_222_222_222;

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary start; all that follows counts from it"
)]
fn start() -> Instant {
    Instant::now()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn ratchet(seed: u8) -> KeyRatchet {
    KeyRatchet::new(std::array::from_fn(|i| i as u8 + seed))
}

fn sealer(ratchet: &KeyRatchet) -> FrameSealer {
    let mut sealer = FrameSealer::new();
    sealer.apply(SendKey::Key(ratchet.clone()));
    sealer
}

fn openers(now: Instant, ratchet: &KeyRatchet) -> FrameOpeners {
    let mut openers = FrameOpeners::new();
    receive(&mut openers, now, ratchet);
    openers
}

fn receive(openers: &mut FrameOpeners, now: Instant, ratchet: &KeyRatchet) {
    openers.apply(
        now,
        KeyChange::Receive {
            user: A,
            ratchet: ratchet.clone(),
        },
    );
}

fn seal(sealer: &mut FrameSealer, codec: Codec, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(codec, frame, &mut out).unwrap();
    out
}

fn open(
    openers: &mut FrameOpeners,
    now: Instant,
    frame: &[u8],
) -> Result<(Opened, Vec<u8>), OpenFrameError> {
    let mut out = vec![0xEE; 3];
    let result = openers.open(A, MediaKind::Audio, now, frame, &mut out);
    assert!(
        result.is_ok() || out.is_empty(),
        "nothing is released on an error"
    );
    result.map(|opened| (opened, out))
}

#[test]
fn frames_are_those_of_the_vectors() {
    let mut sealer = sealer(&ratchet(0));
    let opus = seal(&mut sealer, Codec::Opus, &[1, 2, 3, 4]);
    assert_eq!(opus, hex("dadc00e7 805a9ddaeb81ffec 01 0c fafa"));
    sealer.set_counter(299);
    let vp8 = seal(&mut sealer, Codec::Vp8, &hex("1000009d012a4001f000 0102"));
    assert_eq!(
        vp8,
        hex("1000009d012a4001f000 724d 79a16dbd0fc626db ac02 000a 0f fafa")
    );

    let now = start();
    let mut openers = openers(now, &ratchet(0));
    assert_eq!(
        open(&mut openers, now, &opus),
        Ok((Opened::Encrypted, vec![1, 2, 3, 4]))
    );
    assert_eq!(
        open(&mut openers, now, &vp8),
        Ok((Opened::Encrypted, hex("1000009d012a4001f000 0102")))
    );
}

#[test]
fn a_frame_is_appended() {
    let mut out = vec![9, 9];
    sealer(&ratchet(0))
        .seal(Codec::Opus, &[1, 2, 3, 4], &mut out)
        .unwrap();
    assert_eq!(out, hex("0909 dadc00e7 805a9ddaeb81ffec 01 0c fafa"));
}

fn frames() -> Vec<(Codec, davey::Codec, MediaType, MediaKind, Vec<u8>)> {
    let mut frames = Vec::new();
    for size in [1_usize, 3, 4, 40, 160, 1000] {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + size) as u8).collect();
        frames.push((
            Codec::Opus,
            davey::Codec::OPUS,
            MediaType::AUDIO,
            MediaKind::Audio,
            bytes.clone(),
        ));
        frames.push((
            Codec::Vp9,
            davey::Codec::VP9,
            MediaType::VIDEO,
            MediaKind::Video,
            bytes.clone(),
        ));
        for key_frame in [false, true] {
            let mut bytes = bytes.clone();
            bytes[0] = u8::from(!key_frame);
            if !key_frame || bytes.len() >= 10 {
                frames.push((
                    Codec::Vp8,
                    davey::Codec::VP8,
                    MediaType::VIDEO,
                    MediaKind::Video,
                    bytes,
                ));
            }
        }
    }
    // A key frame of its header alone.
    let header = vec![0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0];
    frames.push((
        Codec::Vp8,
        davey::Codec::VP8,
        MediaType::VIDEO,
        MediaKind::Video,
        header,
    ));
    frames
}

fn ratchet_of(session: &DaveSession, user: u64) -> KeyRatchet {
    let state = mls::read_group(session).unwrap();
    let member = state.members.into_iter().find(|member| member.user == user);
    member.unwrap().ratchet
}

#[test]
fn davey_opens_what_we_seal() {
    let (a, mut b) = testing::davey_pair(A, B);
    let mut sealer = sealer(&ratchet_of(&a, A));
    for (codec, _, media, _, frame) in frames() {
        let sealed = seal(&mut sealer, codec, &frame);
        assert_eq!(
            b.decrypt(A, media, &sealed).unwrap(),
            frame,
            "{codec:?} {}",
            frame.len()
        );
    }
    let silence = seal(&mut sealer, Codec::Opus, &OPUS_SILENCE);
    assert_ne!(silence, OPUS_SILENCE);
    assert_eq!(
        b.decrypt(A, MediaType::AUDIO, &silence).unwrap(),
        OPUS_SILENCE
    );
}

#[test]
fn we_open_what_davey_seals() {
    let (mut a, b) = testing::davey_pair(A, B);
    let now = start();
    let mut openers = openers(now, &ratchet_of(&b, A));
    for (_, codec, media, kind, frame) in frames() {
        let sealed = a.encrypt(media, codec, &frame).unwrap();
        let mut out = Vec::new();
        assert_eq!(
            openers.open(A, kind, now, &sealed, &mut out),
            Ok(Opened::Encrypted),
            "{codec:?} {}",
            frame.len()
        );
        assert_eq!(out, frame);
    }
}

/// The receiver knows no codecs: davey leaves start codes, headers and more in the clear, in many ranges.
#[test]
fn we_open_frames_with_many_clear_ranges() {
    let (mut a, b) = testing::davey_pair(A, B);
    let now = start();
    let mut openers = openers(now, &ratchet_of(&b, A));
    let mut frame = Vec::new();
    for slice in 0..5 {
        frame.extend_from_slice(&[0, 0, 0, 1, 0x67, 1, 2, 3, slice]);
        frame.extend_from_slice(&[0, 0, 0, 1, 0x65, 0x88, 0x84]);
        frame.extend((0..50).map(|i| 0x80 | i | slice));
    }
    let sealed = a
        .encrypt(MediaType::VIDEO, davey::Codec::H264, &frame)
        .unwrap();
    assert!(
        trailer::Sealed::parse(&sealed)
            .unwrap()
            .clear_ranges()
            .count()
            > 4
    );
    let mut out = Vec::new();
    openers
        .open(A, MediaKind::Video, now, &sealed, &mut out)
        .unwrap();
    assert_eq!(out, frame);
}

#[test]
fn short_vp8_frames_are_refused() {
    let mut sealer = sealer(&ratchet(0));
    let mut out = vec![1];
    for frame in [&[][..], &[0], &[0; 9]] {
        assert_eq!(
            sealer.seal(Codec::Vp8, frame, &mut out),
            Err(SealFrameError::Malformed)
        );
        assert_eq!(out, [1]);
    }
    sealer.seal(Codec::Vp8, &[1], &mut out).unwrap();
}
