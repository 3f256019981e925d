//! What is refused, and from when on.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn nothing_leaves_while_it_holds() {
    let mut sealer = FrameSealer::new();
    let mut out = Vec::new();
    assert!(sealer.holds());
    assert_eq!(
        sealer.seal(Codec::Opus, &OPUS_SILENCE, &mut out),
        Err(SealFrameError::Hold)
    );
    sealer.apply(SendKey::Plain);
    sealer.seal(Codec::Opus, &[5, 6], &mut out).unwrap();
    assert_eq!(out, [5, 6]);
    sealer.apply(SendKey::Key(ratchet(0)));
    sealer.apply(SendKey::Hold);
    assert_eq!(
        sealer.seal(Codec::Opus, &[5], &mut out),
        Err(SealFrameError::Hold)
    );
    assert_eq!(out, [5, 6]);
}

#[test]
fn a_domain_installed_again_goes_on_counting() {
    let now = start();
    let mut openers = openers(now, &ratchet(0));
    let mut sealer = sealer(&ratchet(0));
    let mut check = |sealer: &mut FrameSealer, counter| {
        let sealed = seal(sealer, Codec::Opus, b"frame");
        assert_eq!(trailer::Sealed::parse(&sealed).unwrap().counter, counter);
        open(&mut openers, now, &sealed).unwrap();
    };
    check(&mut sealer, 1);
    sealer.apply(SendKey::Key(ratchet(0)));
    check(&mut sealer, 2);
    sealer.apply(SendKey::Hold);
    sealer.apply(SendKey::Key(ratchet(0)));
    check(&mut sealer, 3);
    sealer.apply(SendKey::Key(ratchet(1)));
    seal(&mut sealer, Codec::Opus, b"other");
    sealer.apply(SendKey::Key(ratchet(0)));
    check(&mut sealer, 4);
}

#[test]
fn counters_end_before_they_repeat() {
    let mut sealer = sealer(&ratchet(0));
    sealer.set_counter(u32::MAX - 1);
    let mut out = Vec::new();
    sealer.seal(Codec::Opus, b"last", &mut out).unwrap();
    assert!(out.len() <= 4 + MAX_OVERHEAD);
    out.clear();
    for _ in 0..2 {
        assert_eq!(
            sealer.seal(Codec::Opus, b"more", &mut out),
            Err(SealFrameError::Exhausted)
        );
    }
    assert!(out.is_empty());
    sealer.apply(SendKey::Key(ratchet(1)));
    seal(&mut sealer, Codec::Opus, b"next epoch");
}

#[test]
fn a_frame_opens_once() {
    let now = start();
    let mut openers = openers(now, &ratchet(0));
    let mut sealer = sealer(&ratchet(0));
    let frames: Vec<_> = (0..4)
        .map(|i| seal(&mut sealer, Codec::Opus, &[i; 20]))
        .collect();
    for index in [0, 3, 1, 2] {
        open(&mut openers, now, &frames[index]).unwrap();
        assert_eq!(
            open(&mut openers, now, &frames[index]),
            Err(OpenFrameError::Replayed)
        );
    }
}

#[test]
fn keys_given_again_make_no_frame_new() {
    let now = start();
    let mut openers = openers(now, &ratchet(0));
    let frame = seal(&mut sealer(&ratchet(0)), Codec::Opus, b"once");
    open(&mut openers, now, &frame).unwrap();
    receive(&mut openers, now, &ratchet(0));
    assert_eq!(
        open(&mut openers, now, &frame),
        Err(OpenFrameError::Replayed)
    );
    // Nor when newer ones have come meanwhile.
    receive(&mut openers, now, &ratchet(1));
    receive(&mut openers, now, &ratchet(0));
    assert_eq!(
        open(&mut openers, now, &frame),
        Err(OpenFrameError::Replayed)
    );
}

#[test]
fn any_change_is_noticed() {
    let now = start();
    let mut openers = openers(now, &ratchet(0));
    let frame = hex("1000009d012a4001f000 724d 79a16dbd0fc626db ac02 000a 0f fafa");
    // The ranges and the size are not authenticated as such, but what they say changes the split, or the frame is none.
    for index in 0..frame.len() {
        let mut damaged = frame.clone();
        damaged[index] ^= 0x40;
        let result = open(&mut openers, now, &damaged);
        assert!(
            matches!(
                result,
                Err(OpenFrameError::WrongKey | OpenFrameError::Plaintext)
            ),
            "byte {index}: {result:?}"
        );
    }
    open(&mut openers, now, &frame).unwrap();
}

#[test]
fn a_missing_key_is_told_from_a_wrong_one() {
    let now = start();
    let mut sealer = sealer(&ratchet(0));
    let frame = seal(&mut sealer, Codec::Opus, b"early");
    let mut openers = FrameOpeners::new();
    assert_eq!(
        open(&mut openers, now, &frame),
        Err(OpenFrameError::UnknownKey)
    );
    receive(&mut openers, now, &ratchet(1));
    assert_eq!(
        open(&mut openers, now, &frame),
        Err(OpenFrameError::WrongKey)
    );
    assert!(OpenFrameError::UnknownKey.may_wait() && OpenFrameError::WrongKey.may_wait());
    receive(&mut openers, now, &ratchet(0));
    assert_eq!(open(&mut openers, now, &frame).unwrap().1, b"early");
    assert!(!OpenFrameError::Replayed.may_wait() && !OpenFrameError::Plaintext.may_wait());
    openers.apply(now, KeyChange::Forget { user: A });
    let frame = seal(&mut sealer, Codec::Opus, b"later");
    assert_eq!(
        open(&mut openers, now, &frame),
        Err(OpenFrameError::UnknownKey)
    );
}

#[test]
fn old_keys_are_good_for_ten_seconds() {
    let now = start();
    let mut openers = openers(now, &ratchet(0));
    let mut old = sealer(&ratchet(0));
    let mut new = sealer(&ratchet(1));
    let change = now + Duration::from_secs(100);
    receive(&mut openers, change, &ratchet(1));
    for seconds in [0, 5, 10] {
        let at = change + Duration::from_secs(seconds);
        // Given again, it makes nobody live longer.
        receive(&mut openers, at, &ratchet(1));
        open(&mut openers, at, &seal(&mut old, Codec::Opus, b"old")).unwrap();
        open(&mut openers, at, &seal(&mut new, Codec::Opus, b"new")).unwrap();
    }
    let at = change + Duration::from_millis(10_001);
    assert_eq!(
        open(&mut openers, at, &seal(&mut old, Codec::Opus, b"old")),
        Err(OpenFrameError::WrongKey)
    );
    open(&mut openers, at, &seal(&mut new, Codec::Opus, b"new")).unwrap();

    openers.apply(at, KeyChange::Retire);
    open(
        &mut openers,
        at + Duration::from_secs(10),
        &seal(&mut new, Codec::Opus, b"new"),
    )
    .unwrap();
    assert_eq!(
        open(
            &mut openers,
            at + Duration::from_secs(11),
            &seal(&mut new, Codec::Opus, b"new")
        ),
        Err(OpenFrameError::UnknownKey)
    );
}

#[test]
fn a_storm_of_epochs_is_bounded() {
    let now = start();
    let mut openers = FrameOpeners::new();
    for seed in 0..17 {
        receive(&mut openers, now, &ratchet(seed));
    }
    assert_eq!(
        open(
            &mut openers,
            now,
            &seal(&mut sealer(&ratchet(0)), Codec::Opus, b"x")
        ),
        Err(OpenFrameError::WrongKey)
    );
    open(
        &mut openers,
        now,
        &seal(&mut sealer(&ratchet(1)), Codec::Opus, b"x"),
    )
    .unwrap();
}

/// Seconds after which a sender can have come to this generation.
fn reachable(generation: u64) -> Duration {
    Duration::from_secs((generation << 24).div_ceil(170))
}

#[test]
fn generations_turn_with_the_counter_and_the_old_one_lives_ten_seconds() {
    let born = start();
    let mut openers = openers(born, &ratchet(0));
    let mut sealer = sealer(&ratchet(0));
    sealer.set_counter((1 << 24) - 3);
    let before = seal(&mut sealer, Codec::Opus, b"before");
    let late = seal(&mut sealer, Codec::Opus, b"late");
    let after = seal(&mut sealer, Codec::Opus, b"after");
    assert_eq!(trailer::Sealed::parse(&after).unwrap().counter, 1 << 24);

    let now = born + reachable(1);
    open(&mut openers, now, &before).unwrap();
    assert_eq!(open(&mut openers, now, &after).unwrap().1, b"after");
    open(&mut openers, now + Duration::from_secs(10), &late).unwrap();
    sealer.set_counter((1 << 24) - 10);
    let too_late = seal_generation_zero(b"too late");
    assert_eq!(
        open(&mut openers, now + Duration::from_millis(10_001), &too_late),
        Err(OpenFrameError::WrongKey)
    );
}

fn seal_generation_zero(frame: &[u8]) -> Vec<u8> {
    let mut sealer = sealer(&ratchet(0));
    sealer.set_counter((1 << 24) - 10);
    seal(&mut sealer, Codec::Opus, frame)
}

#[test]
fn nobody_is_in_a_generation_too_early() {
    let born = start();
    let mut openers = openers(born, &ratchet(0));
    let mut sealer = sealer(&ratchet(0));
    sealer.set_counter((1 << 24) - 1);
    let frame = seal(&mut sealer, Codec::Opus, b"fast");
    let early = born + reachable(1) - Duration::from_secs(1);
    assert_eq!(
        open(&mut openers, early, &frame),
        Err(OpenFrameError::WrongKey)
    );
    open(&mut openers, born + reachable(1), &frame).unwrap();
}

#[test]
fn a_gap_of_250_generations_passes_and_251_do_not() {
    let born = start();
    let now = born + reachable(300);
    for (generation, opens) in [(250_u32, true), (251, false)] {
        let mut openers = openers(born, &ratchet(0));
        let mut sealer = sealer(&ratchet(0));
        sealer.set_counter((generation << 24) - 1);
        let frame = seal(&mut sealer, Codec::Opus, b"far");
        assert_eq!(
            open(&mut openers, now, &frame).is_ok(),
            opens,
            "{generation}"
        );
    }
}

#[test]
fn a_forged_generation_costs_nobody_a_key() {
    let born = start();
    let now = born + reachable(300);
    let mut openers = openers(born, &ratchet(0));
    let mut forger = sealer(&ratchet(1));
    let mut sealer = sealer(&ratchet(0));
    for generation in [200_u32, 3] {
        forger.set_counter(generation << 24);
        let forged = seal(&mut forger, Codec::Opus, b"forged");
        assert_eq!(
            open(&mut openers, now, &forged),
            Err(OpenFrameError::WrongKey)
        );
    }
    for generation in [0_u32, 1, 2, 3, 4, 200] {
        sealer.set_counter(generation << 24);
        let frame = seal(&mut sealer, Codec::Opus, b"true");
        assert_eq!(open(&mut openers, now, &frame).unwrap().1, b"true");
    }
}

#[test]
fn clear_frames_pass_only_when_they_may() {
    let now = start();
    let mut openers = openers(now, &ratchet(0));
    let clear = [1, 2, 3];
    let other = A + 1;
    let mut out = Vec::new();
    for user in [A, other] {
        assert_eq!(
            openers.open(user, MediaKind::Audio, now, &clear, &mut out),
            Err(OpenFrameError::Plaintext)
        );
        assert_eq!(
            openers.open(user, MediaKind::Audio, now, &OPUS_SILENCE, &mut out),
            Ok(Opened::Plain)
        );
        assert_eq!(out, OPUS_SILENCE);
        assert_eq!(
            openers.open(user, MediaKind::Video, now, &OPUS_SILENCE, &mut out),
            Err(OpenFrameError::Plaintext)
        );
    }
    let end = now + Duration::from_secs(10);
    for passthrough in [Passthrough::On, Passthrough::Until(end)] {
        openers.apply(now, KeyChange::Passthrough(passthrough));
        for user in [A, other] {
            assert_eq!(
                openers.open(user, MediaKind::Audio, now, &clear, &mut out),
                Ok(Opened::Plain)
            );
            assert_eq!(out, clear);
        }
    }
    assert_eq!(
        open(&mut openers, end, &clear),
        Err(OpenFrameError::Plaintext)
    );
}

#[test]
fn several_failing_senders_raise_the_alarm_and_one_does_not() {
    let now = start();
    let mut openers = FrameOpeners::new();
    for user in [A, B] {
        openers.apply(
            now,
            KeyChange::Receive {
                user,
                ratchet: ratchet(0),
            },
        );
    }
    let mut wrong = sealer(&ratchet(1));
    let mut fail = |openers: &mut FrameOpeners, user| {
        let frame = seal(&mut wrong, Codec::Opus, b"x");
        let mut out = Vec::new();
        assert_eq!(
            openers.open(user, MediaKind::Audio, now, &frame, &mut out),
            Err(OpenFrameError::WrongKey)
        );
    };
    for _ in 0..1000 {
        fail(&mut openers, A);
    }
    for _ in 0..36 {
        fail(&mut openers, B);
    }
    assert!(!openers.failing());
    fail(&mut openers, B);
    assert!(openers.failing());

    let mut good = sealer(&ratchet(0));
    open(&mut openers, now, &seal(&mut good, Codec::Opus, b"good")).unwrap();
    assert!(!openers.failing());
    for user in [A, B].into_iter().cycle().take(72) {
        fail(&mut openers, user);
    }
    assert!(!openers.failing());
    for user in [A, B] {
        fail(&mut openers, user);
    }
    assert!(openers.failing());
    openers.clear_failures();
    for user in [A, B].into_iter().cycle().take(72) {
        fail(&mut openers, user);
    }
    assert!(!openers.failing());
    // New keys are a new chance.
    openers.apply(
        now,
        KeyChange::Receive {
            user: B,
            ratchet: ratchet(2),
        },
    );
    for user in [A, B].into_iter().cycle().take(72) {
        fail(&mut openers, user);
    }
    assert!(!openers.failing());
}

#[test]
fn the_only_other_sender_of_a_group_raises_the_alarm_alone() {
    let now = start();
    let mut openers = FrameOpeners::new();
    let ratchets = [(A, ratchet(0)), (B, ratchet(0))];
    for (user, ratchet) in ratchets {
        openers.apply(now, KeyChange::Receive { user, ratchet });
    }
    openers.apply(now, KeyChange::Forget { user: B });
    let mut wrong = sealer(&ratchet(1));
    for _ in 0..36 {
        let frame = seal(&mut wrong, Codec::Opus, b"x");
        open(&mut openers, now, &frame).unwrap_err();
        assert!(!openers.failing());
    }
    open(&mut openers, now, &seal(&mut wrong, Codec::Opus, b"x")).unwrap_err();
    assert!(openers.failing());
    openers.clear_failures();
    assert!(!openers.failing());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_sealed_opens(frame in proptest::collection::vec(any::<u8>(), 0..300), codec in 0usize..3, counter: u32) {
        let codec = [Codec::Opus, Codec::Vp8, Codec::Vp9][codec];
        let born = start();
        let mut sealer = sealer(&ratchet(0));
        sealer.set_counter(counter & 0x00FF_FFFF);
        let mut sealed = Vec::new();
        match sealer.seal(codec, &frame, &mut sealed) {
            Ok(()) => {}
            Err(SealFrameError::Malformed) => prop_assert_eq!(codec, Codec::Vp8),
            Err(error) => panic!("{error}"),
        }
        if !sealed.is_empty() {
            prop_assert!(sealed.len() <= frame.len() + MAX_OVERHEAD);
            let mut openers = openers(born, &ratchet(0));
            let mut out = Vec::new();
            let opened = openers.open(A, MediaKind::Video, born + reachable(1), &sealed, &mut out);
            prop_assert_eq!(opened, Ok(Opened::Encrypted));
            prop_assert_eq!(out, frame);
        }
    }

    #[test]
    fn opening_never_panics(mut frame in proptest::collection::vec(any::<u8>(), 0..100), size: u8) {
        let now = start();
        let mut openers = openers(now, &ratchet(0));
        frame.extend_from_slice(&[size, 0xFA, 0xFA]);
        let _ = open(&mut openers, now, &frame);
    }
}
