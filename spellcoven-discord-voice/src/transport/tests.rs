//! The modes: vectors, layouts made by other means, nonces, replays.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{replay::ReplayWindows, *};
use crate::rtp::{
    RtpHeader,
    tests::{Composed, hex},
};

const AES: EncryptionMode = EncryptionMode::AeadAes256GcmRtpSize;
const XCHACHA: EncryptionMode = EncryptionMode::AeadXChaCha20Poly1305RtpSize;

fn key(byte: u8) -> TransportKey {
    TransportKey::new([byte; 32])
}

fn pair(mode: EncryptionMode, first: u32) -> (Sealer, Opener) {
    (
        Sealer::new(mode, &key(7), first),
        Opener::new(mode, &key(7)),
    )
}

/// Clear header, plaintext, mode, counter, sealed body: key 32 × 07, checked by
/// two crypto libraries each.
const VECTORS: [(EncryptionMode, &str); 2] = [
    (
        AES,
        "637539b9a2653a15d2c0b297 9a4bc9fa149ab1c670a6710f283452fe 00000005",
    ),
    (
        XCHACHA,
        "dc17095244d70edf1c1d689e a179eacd71f62d5745fa9510a6a9c535 00000005",
    ),
];
const CLEAR: &str = "b1780001 00000002 00001005 00000009 bede0001";
const PLAIN: &str = "109e0000 01020304 00000004";

#[test]
fn rtp_vectors_both_ways() {
    for (mode, body) in VECTORS {
        let (mut sealer, mut opener) = pair(mode, 5);
        let mut packet = [hex(CLEAR), hex(PLAIN)].concat();
        sealer.seal_rtp(&mut packet).unwrap();
        assert_eq!(packet, [hex(CLEAR), hex(body)].concat(), "{mode}");
        assert_eq!(packet.len(), 52);

        let opened = opener.open_rtp(&mut packet).unwrap();
        assert_eq!(
            opened.header,
            RtpHeader {
                marker: false,
                payload_type: 120,
                sequence: 1,
                timestamp: 2,
                ssrc: 0x1005
            }
        );
        let extension = opened.extension.unwrap();
        assert_eq!(extension.profile, 0xbede);
        assert_eq!(extension.data, hex("109e0000"));
        assert_eq!(opened.audio_level(), Some(0x1e));
        assert_eq!(opened.payload, hex("01020304"));
    }
}

#[test]
fn rtcp_vectors_both_ways() {
    for (counter, plain, sealed) in [
        (
            6,
            "80c9000100001005",
            "80c9000100001005 1a135a6c5821efa98962da883a7fc537 00000006",
        ),
        (
            7,
            "81ce000200001005 0000106a",
            "81ce000200001005 b91b53d1 e0ea7a4428e00fb8075a3e3d639ded20 00000007",
        ),
    ] {
        let (mut sealer, mut opener) = pair(AES, counter);
        let mut packet = hex(plain);
        sealer.seal_rtcp(&mut packet).unwrap();
        assert_eq!(packet, hex(sealed));
        assert_eq!(opener.open_rtcp(&mut packet).unwrap(), hex(plain));
    }
}

#[test]
fn what_was_changed_on_the_way_is_not_authentic() {
    for (mode, body) in VECTORS {
        let whole = [hex(CLEAR), hex(body)].concat();
        for at in 0..whole.len() {
            let mut packet = whole.clone();
            packet[at] ^= 1;
            let (_, mut opener) = pair(mode, 0);
            let error = opener.open_rtp(&mut packet).unwrap_err();
            // A changed first byte moves the end of the clear part.
            assert_eq!(error, OpenError::NotAuthentic, "{mode} {at}");
        }
        for length in 0..whole.len() {
            let (_, mut opener) = pair(mode, 0);
            assert!(opener.open_rtp(&mut whole[..length].to_vec()).is_err());
        }
    }
}

#[test]
fn modes_are_chosen_by_preference_and_legacy_names_are_passed_over() {
    let choose = |offered: &[&str]| EncryptionMode::choose(offered).map(EncryptionMode::name);
    let aes = "aead_aes256_gcm_rtpsize";
    let xchacha = "aead_xchacha20_poly1305_rtpsize";
    let unspoken = [
        "xsalsa20_poly1305_lite_rtpsize",
        "aead_aes256_gcm",
        "xsalsa20_poly1305_suffix",
        "xsalsa20_poly1305_lite",
        "aead_aes512_rtpsize",
        "",
    ];
    assert_eq!(choose(&[xchacha, aes]), Some(aes));
    assert_eq!(choose(&[xchacha, "xsalsa20_poly1305"]), Some(xchacha));
    assert_eq!(choose(&[&unspoken[..], &[xchacha]].concat()), Some(xchacha));
    assert_eq!(choose(&unspoken), None);
    let last = choose(&["xsalsa20_poly1305"]);
    assert_eq!(last.is_some(), cfg!(feature = "xsalsa20"));
    for mode in EncryptionMode::PREFERENCE {
        assert_eq!(EncryptionMode::from_name(mode.name()), Some(*mode));
    }
    assert_eq!(EncryptionMode::from_name("aead_aes256_gcm"), None);
}

#[test]
fn no_key_is_shown() {
    let (sealer, opener) = pair(AES, 0);
    let shown = format!("{:?} {:?} {sealer:?} {opener:?}", key(7), key(0xab));
    assert_eq!(
        shown,
        "TransportKey(redacted) TransportKey(redacted) Sealer { remaining: 4294967296, .. } Opener { .. }"
    );
}

fn audio(sequence: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    RtpHeader {
        marker: false,
        payload_type: 120,
        sequence,
        timestamp: u32::from(sequence) * 960,
        ssrc: 1,
    }
    .write(&mut packet);
    packet.extend_from_slice(&[0xf8, 0xff, 0xfe]);
    packet
}

#[test]
fn after_the_last_nonce_nothing_is_sealed() {
    for mode in [AES, XCHACHA] {
        let sealer = Sealer::new(mode, &key(7), u32::MAX);
        let mut sealer = sealer.with_remaining(2);
        let mut first = audio(1);
        sealer.seal_rtp(&mut first).unwrap();
        assert!(first.ends_with(&[0xff; 4]));
        let mut second = hex("80c9000100001005");
        sealer.seal_rtcp(&mut second).unwrap();
        assert!(second.ends_with(&[0; 4]), "the counter wraps once");
        assert_eq!(sealer.remaining(), 0);
        assert_eq!(sealer.seal_rtp(&mut audio(2)), Err(SealError::Exhausted));
        let mut report = hex("80c9000100001005");
        assert_eq!(sealer.seal_rtcp(&mut report), Err(SealError::Exhausted));
        // Another key does not bring used numbers back.
        sealer.rekey(mode, &key(8));
        assert_eq!(sealer.seal_rtp(&mut audio(2)), Err(SealError::Exhausted));
    }
}

#[test]
fn malformed_packets_are_not_sealed() {
    let (mut sealer, _) = pair(AES, 0);
    for packet in [vec![], vec![0x80; 11], vec![0x40; 30], vec![0x8f; 30]] {
        assert_eq!(
            sealer.seal_rtp(&mut packet.clone()),
            Err(SealError::Malformed),
            "{packet:?}"
        );
    }
    assert_eq!(
        sealer.seal_rtcp(&mut vec![0x80; 7]),
        Err(SealError::Malformed)
    );
}

#[test]
fn padding_and_extension_errors_come_after_authentication() {
    let (mut sealer, mut opener) = pair(AES, 0);
    let mut packet = audio(1);
    packet[0] |= 0x20;
    *packet.last_mut().unwrap() = 4;
    sealer.seal_rtp(&mut packet).unwrap();
    let mut again = packet.clone();
    assert_eq!(opener.open_rtp(&mut packet), Err(OpenError::Padding));
    // It was authentic, so it counts as seen.
    assert_eq!(
        opener.open_rtp(&mut again),
        Err(OpenError::Replayed { ssrc: 1 })
    );
}

#[test]
fn a_packet_comes_once_and_forgeries_do_not_move_the_window() {
    for mode in EncryptionMode::PREFERENCE {
        let (mut sealer, mut opener) = pair(*mode, 0);
        let mut seal = |sequence| {
            let mut packet = audio(sequence);
            sealer.seal_rtp(&mut packet).unwrap();
            packet
        };
        let first = seal(100);
        let last = seal(101);
        let far = seal(5_000);
        assert!(opener.open_rtp(&mut first.clone()).is_ok());
        assert_eq!(
            opener.open_rtp(&mut first.clone()),
            Err(OpenError::Replayed { ssrc: 1 })
        );
        let mut forged = far.clone();
        *forged.get_mut(20).unwrap() ^= 1;
        assert_eq!(opener.open_rtp(&mut forged), Err(OpenError::NotAuthentic));
        assert!(opener.open_rtp(&mut last.clone()).is_ok());
        assert!(opener.open_rtp(&mut far.clone()).is_ok());
        assert_eq!(
            opener.open_rtp(&mut last.clone()),
            Err(OpenError::TooOld { ssrc: 1 })
        );
        // A new key keeps what is known; a sender who left is forgotten.
        opener.rekey(*mode, &key(7));
        assert!(opener.open_rtp(&mut far.clone()).is_err());
        opener.forget(1);
        assert!(opener.open_rtp(&mut last.clone()).is_ok());
    }
}

#[test]
fn the_window_has_1024_numbers_and_its_ring_is_cleared() {
    let mut windows = ReplayWindows::default();
    let mut accept = |sequence| match windows.check(1, sequence) {
        replay::Verdict::Fresh(place) => {
            windows.accept(1, place);
            replay::Verdict::Fresh(place)
        }
        verdict => verdict,
    };
    for sequence in 0..1024 {
        accept(sequence);
    }
    assert_eq!(accept(0), replay::Verdict::Replayed);
    // 1024 and 1025 take the places of 0 and 1, which were seen.
    accept(1026);
    for sequence in [1024, 1025] {
        assert!(matches!(accept(sequence), replay::Verdict::Fresh(_)));
        assert_eq!(accept(sequence), replay::Verdict::Replayed);
    }
    assert_eq!(accept(2), replay::Verdict::TooOld);
    assert_eq!(accept(3), replay::Verdict::Replayed);
}

#[test]
fn the_number_of_windows_is_bounded_and_the_idlest_goes() {
    let mut windows = ReplayWindows::default();
    let accept = |windows: &mut ReplayWindows, ssrc| {
        let replay::Verdict::Fresh(place) = windows.check(ssrc, 1) else {
            return false;
        };
        windows.accept(ssrc, place);
        true
    };
    for ssrc in 0..1024 {
        assert!(accept(&mut windows, ssrc));
    }
    assert!(!accept(&mut windows, 0));
    let replay::Verdict::Fresh(place) = windows.check(0, 2) else {
        panic!("0 has a window");
    };
    windows.accept(0, place);
    assert!(accept(&mut windows, 5_000));
    assert_eq!(windows.len(), 1024);
    assert!(!accept(&mut windows, 0), "0 was used last");
    assert!(accept(&mut windows, 1), "1 made room");
}

proptest! {
    #[test]
    fn every_packet_goes_through_every_mode(composed in Composed::any(), first: u32) {
        for mode in EncryptionMode::PREFERENCE {
            let (mut sealer, mut opener) = pair(*mode, first);
            let mut packet = composed.bytes();
            sealer.seal_rtp(&mut packet).unwrap();
            composed.check(&opener.open_rtp(&mut packet).unwrap())?;
        }
    }

    /// The crate chacha20poly1305 does it in another way.
    #[test]
    fn xchacha_agrees_with_another_implementation(
        composed in Composed::any(),
        first: u32,
        key in any::<[u8; 32]>(),
    ) {
        use chacha20poly1305::{AeadInPlace, KeyInit, XChaCha20Poly1305, XNonce};

        let mut packet = composed.bytes();
        let clear_len = 12 + 4 * composed.csrcs.len() + 4 * usize::from(composed.extension.is_some());
        let (clear, body) = packet.split_at(clear_len);
        let mut expected = body.to_vec();
        let mut nonce = XNonce::default();
        nonce[..4].copy_from_slice(&first.to_be_bytes());
        let tag = XChaCha20Poly1305::new(&key.into())
            .encrypt_in_place_detached(&nonce, clear, &mut expected)
            .unwrap();
        let expected = [clear, &expected, &tag, &first.to_be_bytes()].concat();
        Sealer::new(XCHACHA, &TransportKey::new(key), first)
            .seal_rtp(&mut packet)
            .unwrap();
        prop_assert_eq!(packet, expected);
    }

    #[test]
    fn no_datagram_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        for mode in EncryptionMode::PREFERENCE {
            let (mut sealer, mut opener) = pair(*mode, 0);
            for first in [0x80u8, 0xbf] {
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                prop_assert!(opener.open_rtp(&mut bytes.clone()).is_err());
                prop_assert!(opener.open_rtcp(&mut bytes.clone()).is_err());
                let _ = sealer.seal_rtp(&mut bytes.clone());
                let _ = sealer.seal_rtcp(&mut bytes.clone());
            }
        }
    }

    /// All that is sent with a key, RTP of several SSRCs and RTCP, has a nonce
    /// of its own, wherever the counter begins, over its wrap and over new keys.
    #[test]
    fn no_nonce_comes_twice(
        first: u32,
        steps in proptest::collection::vec((0u8..4, any::<u16>()), 1..300),
    ) {
        for first in [first, first | 0xffff_ff00] {
            let (mut sealer, _) = pair(AES, first);
            let mut nonces = BTreeSet::new();
            for &(step, sequence) in &steps {
                let mut packet = match step {
                    0 => hex("80c9000100001005"),
                    // Refused, whatever it does to the counter.
                    1 => vec![0x80; 4],
                    _ => audio(sequence),
                };
                let sealed = match step {
                    0 => sealer.seal_rtcp(&mut packet),
                    3 => {
                        sealer.rekey(AES, &key(sequence as u8 % 2));
                        sealer.seal_rtp(&mut packet)
                    }
                    _ => sealer.seal_rtp(&mut packet),
                };
                if sealed.is_ok() {
                    let nonce = *packet.last_chunk::<4>().unwrap();
                    prop_assert!(nonces.insert(nonce), "{nonce:?}");
                }
            }
        }
    }

    /// The windows agree with a model that remembers everything.
    #[test]
    fn the_window_agrees_with_a_model(
        begin: u16,
        steps in proptest::collection::vec((0u8..20, 0u64..1100), 1..400),
    ) {
        let mut windows = ReplayWindows::default();
        let mut seen = BTreeSet::new();
        let base = (1u64 << 20) + u64::from(begin);
        let mut highest = base;
        for (kind, distance) in steps {
            let place = match kind {
                0..=9 => highest + distance % 4,
                10..=17 => highest - distance.min(highest + 20 - base),
                _ => highest + distance * 20,
            };
            let expected = if seen.is_empty() {
                true
            } else {
                place > highest || (highest - place < 1024 && !seen.contains(&place))
            };
            let verdict = windows.check(4, place as u16);
            prop_assert_eq!(matches!(verdict, replay::Verdict::Fresh(_)), expected);
            if let replay::Verdict::Fresh(at) = verdict {
                windows.accept(4, at);
                highest = if seen.is_empty() { place } else { highest.max(place) };
                seen.insert(place);
            }
        }
    }
}

#[cfg(feature = "xsalsa20")]
mod legacy {
    use xsalsa20poly1305::{KeyInit, XSalsa20Poly1305, aead::Aead};

    use super::*;

    const LEGACY: EncryptionMode = EncryptionMode::XSalsa20Poly1305;

    /// The layout by other means: the crate's allocating interface, which is
    /// NaCl's secretbox, MAC first.
    fn independently(packet: &[u8]) -> Vec<u8> {
        let (header, body) = packet.split_at(12);
        let nonce = [header, &[0; 12]].concat();
        let cipher = XSalsa20Poly1305::new(&[7; 32].into());
        let boxed = cipher.encrypt(nonce.as_slice().into(), body).unwrap();
        [header, &boxed[..]].concat()
    }

    #[test]
    fn nacl_vector() {
        // The first bytes of the test `box.c` of NaCl, whose key and nonce are
        // given there: MAC, then ciphertext.
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let cipher = XSalsa20Poly1305::new(key.as_slice().into());
        let plain = hex(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
        );
        let boxed = cipher.encrypt(nonce.as_slice().into(), &plain[..]).unwrap();
        assert_eq!(
            boxed[..24],
            hex("f3ffc7703f9400e52a7dfb4b3d3305d9 8e993b9f48681273")
        );
    }

    #[test]
    fn the_layout_both_ways() {
        let (mut sealer, mut opener) = pair(LEGACY, 0);
        let clear = [hex(CLEAR), hex(PLAIN)].concat();
        let mut packet = clear.clone();
        sealer.seal_rtp(&mut packet).unwrap();
        assert_eq!(packet, independently(&clear));
        assert_eq!(packet.len(), clear.len() + 16);
        let opened = opener.open_rtp(&mut packet).unwrap();
        assert_eq!(opened.payload, hex("01020304"));
        assert_eq!(opened.audio_level(), Some(0x1e));
    }

    #[test]
    fn there_is_no_rtcp() {
        let (mut sealer, mut opener) = pair(LEGACY, 0);
        let mut report = hex("80c9000100001005");
        assert_eq!(sealer.seal_rtcp(&mut report), Err(SealError::NoRtcp));
        assert_eq!(opener.open_rtcp(&mut report), Err(OpenError::NoRtcp));
        assert!(!sealer.carries_rtcp());
    }

    #[test]
    fn no_header_is_sealed_twice() {
        let (mut sealer, _) = pair(LEGACY, 0);
        let mut seal = |ssrc: u32, timestamp: u32, sequence: u16| {
            let mut packet = Vec::new();
            RtpHeader {
                marker: false,
                payload_type: 120,
                sequence,
                timestamp,
                ssrc,
            }
            .write(&mut packet);
            sealer.seal_rtp(&mut packet)
        };
        assert_eq!(seal(1, 0, 0), Ok(()));
        assert_eq!(seal(1, 0, 0), Err(SealError::Exhausted));
        assert_eq!(seal(1, 0, 1), Ok(()));
        assert_eq!(seal(1, 0x8000_0000, 1), Ok(()));
        assert_eq!(seal(1, 0xffff_0000, 0), Ok(()));
        // Once around, or back.
        assert_eq!(seal(1, 0, 2), Err(SealError::Exhausted));
        assert_eq!(seal(1, 0xfffe_0000, 2), Err(SealError::Exhausted));
        assert_eq!(seal(1, 0xffff_0001, 2), Ok(()));
        for ssrc in 2..9 {
            assert_eq!(seal(ssrc, 0, 0), Ok(()));
        }
        assert_eq!(seal(9, 0, 0), Err(SealError::Exhausted));
    }
}
