//! What arrives: whose it is, what waits, what is dropped and why.

use super::*;
use crate::rtp::{RtpHeader, write_receiver_report};

const PATIENCE: Duration = Duration::from_millis(500);

/// Seals a packet that no sender of ours makes.
fn foreign(payload_type: u8, sequence: u16, ssrc: u32, payload: &[u8], padding: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    RtpHeader {
        marker: false,
        payload_type,
        sequence,
        timestamp: 0,
        ssrc,
    }
    .write(&mut packet);
    packet[0] |= u8::from(padding) << 5;
    packet.extend_from_slice(payload);
    let nonce = u32::from(sequence) | 0x8000_0000;
    Sealer::new(MODE, &transport_key(), nonce)
        .seal_rtp(&mut packet)
        .unwrap();
    packet
}

fn adds_up(receiver: &Receiver) {
    let stats = receiver.stats();
    let users = receiver.user_stats();
    let mut received = 0;
    for stats in users.values().chain([&stats.others]) {
        received += stats.received;
        let became = stats.delivered + stats.empty + stats.waiting + stats.undecryptable.total();
        assert_eq!(stats.received, became, "{stats:?}");
    }
    assert_eq!(stats.frames, received, "{stats:?} {users:?}");
}

#[test]
fn frames_of_a_known_user_come_through() {
    let now = start();
    let mut alice = sealed_sender(now, 1, 3);
    let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
    assert_eq!(map(&mut receiver, now, 1, ALICE), []);
    assert_eq!(give_key(&mut receiver, now, ALICE, 3), []);
    for n in 0..5 {
        let bytes = datagram(&mut alice, now, n);
        assert_eq!(hear(&mut receiver, now, bytes), [(ALICE, n)]);
    }
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!((stats.received, stats.delivered, stats.lost), (5, 5, 0));
    assert_eq!(receiver.poll_timeout(), None);
    adds_up(&receiver);
}

#[test]
fn frames_wait_for_the_message_that_says_whose_they_are() {
    let now = start();
    let mut receiver = plain_receiver(now);
    let mut alice = plain_sender(now, 1);
    for n in 0..3 {
        let bytes = datagram(&mut alice, now, n);
        assert_eq!(hear(&mut receiver, now, bytes), []);
    }
    assert_eq!(receiver.poll_timeout(), Some(now + PATIENCE));
    assert_eq!(receiver.stats().others.waiting, 3);
    adds_up(&receiver);
    let later = now + PATIENCE - MS_20;
    let mut at = Vec::new();
    receiver.map(later, 1, ALICE, &mut |received| {
        if let Received::Frame(frame) = received {
            at.push((frame.user_id, frame.received_at));
        }
    });
    assert_eq!(at, [(ALICE, now); 3]);
    assert_eq!(receiver.poll_timeout(), None);
    assert_eq!(receiver.user_stats()[&ALICE].delivered, 3);
    adds_up(&receiver);
}

#[test]
fn frames_wait_for_their_key_half_a_second_and_no_longer() {
    let now = start();
    let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
    map(&mut receiver, now, 1, ALICE);
    let mut alice = sealed_sender(now, 1, 3);
    for n in 0..3 {
        let bytes = datagram(&mut alice, now + MS_20 * u32::from(n), n);
        assert_eq!(hear(&mut receiver, now + MS_20 * u32::from(n), bytes), []);
    }
    // Another's key is of no use.
    assert_eq!(give_key(&mut receiver, now, BOB, 3), []);
    assert_eq!(receiver.poll_timeout(), Some(now + PATIENCE));
    receiver.handle_timeout(now + PATIENCE - Duration::from_millis(1));
    assert_eq!(receiver.user_stats()[&ALICE].waiting, 3);
    receiver.handle_timeout(now + PATIENCE);
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!((stats.waiting, stats.undecryptable.no_key), (2, 1));
    // The key comes between the deadlines of the other two, and nobody has
    // called in between.
    let late = now + MS_20 + PATIENCE;
    assert_eq!(give_key(&mut receiver, late, ALICE, 3), [(ALICE, 2)]);
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!((stats.waiting, stats.undecryptable.no_key), (0, 2));
    assert_eq!(receiver.poll_timeout(), None);
    adds_up(&receiver);
}

#[test]
fn frames_of_the_next_epoch_wait_for_its_key_in_order() {
    let now = start();
    let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
    map(&mut receiver, now, 1, ALICE);
    give_key(&mut receiver, now, ALICE, 3);
    let mut alice = sealed_sender(now, 1, 3);
    let old = datagram(&mut alice, now, 0);
    alice.apply(SendKey::Key(ratchet(4)));
    let next: Vec<_> = (1..4).map(|n| datagram(&mut alice, now, n)).collect();
    for bytes in next {
        assert_eq!(hear(&mut receiver, now, bytes), []);
    }
    // One that was overtaken has its key and does not wait.
    assert_eq!(hear(&mut receiver, now, old), [(ALICE, 0)]);
    assert_eq!(
        give_key(&mut receiver, now, ALICE, 4),
        [(ALICE, 1), (ALICE, 2), (ALICE, 3)]
    );
    // A key that never comes.
    alice.apply(SendKey::Key(ratchet(5)));
    let bytes = datagram(&mut alice, now, 9);
    assert_eq!(hear(&mut receiver, now, bytes), []);
    receiver.handle_timeout(now + PATIENCE);
    assert_eq!(receiver.user_stats()[&ALICE].undecryptable.wrong_key, 1);
    adds_up(&receiver);
}

#[test]
fn of_more_than_64_that_wait_the_oldest_go() {
    let now = start();
    let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
    map(&mut receiver, now, 1, ALICE);
    let mut alice = sealed_sender(now, 1, 3);
    for n in 0..70 {
        let bytes = datagram(&mut alice, now, n);
        hear(&mut receiver, now, bytes);
    }
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!((stats.waiting, stats.undecryptable.no_key), (64, 6));
    adds_up(&receiver);
    let heard = give_key(&mut receiver, now, ALICE, 3);
    let expected: Heard = (6..70).map(|n| (ALICE, n)).collect();
    assert_eq!(heard, expected);
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn at_most_32_unknown_senders_wait_and_they_are_given_up() {
    let now = start();
    let mut receiver = plain_receiver(now);
    for ssrc in 1..=40 {
        let bytes = datagram(&mut plain_sender(now, ssrc), now, 1);
        hear(&mut receiver, now, bytes);
    }
    let stats = receiver.stats();
    assert_eq!((stats.frames, stats.too_many_unknown), (32, 8));
    adds_up(&receiver);
    receiver.handle_timeout(now + PATIENCE);
    let stats = receiver.stats();
    assert_eq!(stats.others.undecryptable.unknown_sender, 32);
    assert_eq!(receiver.poll_timeout(), None);
    adds_up(&receiver);
    // There is room again.
    let bytes = datagram(&mut plain_sender(now, 50), now, 1);
    hear(&mut receiver, now, bytes);
    assert_eq!(receiver.stats().too_many_unknown, 8);

    // One that sends nothing but padding is given up as well.
    let mut receiver = plain_receiver(now);
    hear(&mut receiver, now, foreign(120, 1, 60, &[0, 2], true));
    assert_eq!(receiver.poll_timeout(), Some(now + PATIENCE));
    receiver.handle_timeout(now + PATIENCE);
    assert_eq!(receiver.poll_timeout(), None);
    adds_up(&receiver);
}

#[test]
fn clear_frames_need_leave_and_silence_does_not() {
    let now = start();
    let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
    map(&mut receiver, now, 1, ALICE);
    for key in [None, Some(3)] {
        if let Some(key) = key {
            give_key(&mut receiver, now, ALICE, key);
        }
        let n = u16::from(key.unwrap_or(0));
        let clear = foreign(120, 10 * n + 1, 1, &[1, 2, 3, 4], false);
        assert_eq!(hear(&mut receiver, now, clear), []);
        let mut silent = 0;
        let mut silence = foreign(120, 10 * n + 2, 1, &[0xf8, 0xff, 0xfe], false);
        receiver.datagram(now, &mut silence, &mut |received| {
            if let Received::Frame(frame) = received {
                silent += i32::from(frame.is_silence());
            }
        });
        assert_eq!(silent, 1);
    }
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!((stats.undecryptable.plaintext, stats.waiting), (2, 0));
    let change = KeyChange::Passthrough(Passthrough::On);
    receiver.apply(now, change, &mut |_| ());
    let clear = foreign(120, 50, 1, &[1, 2, 3, 4], false);
    assert_eq!(hear(&mut receiver, now, clear), [(ALICE, 0x0304)]);
    adds_up(&receiver);
}

#[test]
fn padding_alone_is_dropped_silently_and_padding_is_never_part_of_a_frame() {
    let now = start();
    let mut receiver = plain_receiver(now);
    map(&mut receiver, now, 1, ALICE);
    assert_eq!(
        hear(&mut receiver, now, foreign(120, 1, 1, &[0, 0, 3], true)),
        []
    );
    let padded = foreign(120, 2, 1, &[9, 9, 0, 0, 2], true);
    assert_eq!(hear(&mut receiver, now, padded), [(ALICE, 0x0900)]);
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!((stats.received, stats.empty, stats.lost), (2, 1, 0));
    // A wrong count: dropped, and counted as malformed.
    hear(&mut receiver, now, foreign(120, 3, 1, &[9, 9], true));
    assert_eq!(receiver.stats().malformed, 1);
    adds_up(&receiver);
}

#[test]
fn other_media_are_dropped_unread_and_so_is_all_when_nothing_is_wanted() {
    let now = start();
    let mut receiver = plain_receiver(now);
    hear(&mut receiver, now, foreign(101, 1, 2, &[1], false));
    // Unread: not even its tag is looked at.
    let mut forged = foreign(101, 1, 2, &[1], false);
    *forged.last_mut().unwrap() ^= 1;
    hear(&mut receiver, now, forged);
    assert_eq!(receiver.stats().other_media, 2);
    adds_up(&receiver);

    let mut receiver = Receiver::new(OWN_SSRC, opener(), false);
    map(&mut receiver, now, 1, ALICE);
    let mut alice = plain_sender(now, 1);
    for n in 0..10 {
        let bytes = datagram(&mut alice, now, n);
        let mut copy = bytes.clone();
        receiver.datagram(now, &mut copy, &mut |_| panic!("nothing is wanted"));
        assert_eq!(copy, bytes, "it was decrypted");
    }
    assert_eq!(receiver.stats().unwanted, 10);
    assert_eq!(receiver.poll_timeout(), None);
    adds_up(&receiver);
}

#[test]
fn loss_reordering_and_repetition_are_counted_apart() {
    let now = start();
    let mut receiver = plain_receiver(now);
    map(&mut receiver, now, 1, ALICE);
    let mut alice = plain_sender(now, 1);
    let sent: Vec<_> = (0..6).map(|n| datagram(&mut alice, now, n)).collect();
    let mut heard = Heard::new();
    for n in [0, 2, 1, 1, 5, 5, 5] {
        heard.extend(hear(&mut receiver, now, sent[n].clone()));
    }
    let order: Vec<u16> = heard.iter().map(|(_, n)| *n).collect();
    assert_eq!(order, [0, 2, 1, 5]);
    let stats = receiver.user_stats()[&ALICE];
    assert_eq!(
        (stats.received, stats.lost, stats.late, stats.duplicated),
        (4, 2, 1, 3)
    );
    let mut bad = sent[3].clone();
    *bad.last_mut().unwrap() ^= 1;
    hear(&mut receiver, now, bad);
    hear(&mut receiver, now, vec![0x80, 120, 1]);
    hear(&mut receiver, now, vec![0, 2]);
    hear(&mut receiver, now, vec![]);
    let stats = receiver.stats();
    assert_eq!(
        (stats.duplicated, stats.not_authentic, stats.malformed),
        (3, 1, 3)
    );
    assert_eq!(stats.total(), 11);
}

#[test]
fn a_jump_of_a_clock_that_stood_still_in_silence_is_no_jitter() {
    let begin = start();
    let mut receiver = plain_receiver(begin);
    map(&mut receiver, begin, 1, ALICE);
    // A client whose timestamps only count what it sends.
    let mut sequence = 0;
    let mut now = begin;
    for stretch in 0..3u32 {
        for n in 0..6u32 {
            let payload: &[u8] = if n == 5 { &[0xf8, 0xff, 0xfe] } else { &[1, 1] };
            let mut packet = Vec::new();
            RtpHeader {
                marker: false,
                payload_type: 120,
                sequence,
                timestamp: (stretch * 6 + n) * 960,
                ssrc: 1,
            }
            .write(&mut packet);
            packet.extend_from_slice(payload);
            Sealer::new(MODE, &transport_key(), u32::from(sequence))
                .seal_rtp(&mut packet)
                .unwrap();
            receiver.datagram(now, &mut packet, &mut |_| ());
            sequence += 1;
            now += MS_20;
        }
        now += Duration::from_secs(10);
    }
    assert_eq!(receiver.user_stats()[&ALICE].jitter, Duration::ZERO);
}

#[test]
fn who_leaves_is_forgotten_and_an_ssrc_can_change_hands() {
    let now = start();
    let mut receiver = plain_receiver(now);
    map(&mut receiver, now, 1, ALICE);
    let mut alice = plain_sender(now, 1);
    let first = datagram(&mut alice, now, 1);
    hear(&mut receiver, now, first.clone());
    receiver.user_left(ALICE);
    assert!(receiver.user_stats().is_empty());
    adds_up(&receiver);
    // What comes of the SSRC now has no user.
    let bytes = datagram(&mut alice, now, 2);
    assert_eq!(hear(&mut receiver, now, bytes), []);
    assert_eq!(map(&mut receiver, now, 1, BOB), [(BOB, 2)]);
    // Straight from one to the other: the figures begin anew.
    assert_eq!(map(&mut receiver, now, 1, ALICE), []);
    let users = receiver.user_stats();
    assert_eq!(users.keys().collect::<Vec<_>>(), [&ALICE]);
    assert_eq!(users[&ALICE].received, 0);
    adds_up(&receiver);
}

#[test]
fn a_user_has_at_most_four_ssrcs_and_all_together_1024() {
    let now = start();
    let mut receiver = plain_receiver(now);
    for ssrc in 1..=6 {
        map(&mut receiver, now, ssrc, ALICE);
        let bytes = datagram(&mut plain_sender(now, ssrc), now, 1);
        assert_eq!(hear(&mut receiver, now, bytes).len(), 1);
    }
    assert_eq!(receiver.user_stats()[&ALICE].received, 4);
    for user in 0..1_100 {
        map(&mut receiver, now, 1_000 + user, 5_000 + u64::from(user));
    }
    assert_eq!(receiver.user_stats().len(), 1_024);
    adds_up(&receiver);
}

#[test]
fn reports_are_read_even_when_nothing_is_wanted() {
    let now = start();
    for wanted in [true, false] {
        let mut receiver = Receiver::new(OWN_SSRC, opener(), wanted);
        let mut server = crate::rtp::Reception::new(now, 5);
        server.packet(now, 5, 0);
        let ours = server.report(now, OWN_SSRC);
        let others = server.report(now, 99);
        let mut bytes = Vec::new();
        write_receiver_report(&mut bytes, 0, &[others, ours]);
        Sealer::new(MODE, &transport_key(), 1)
            .seal_rtcp(&mut bytes)
            .unwrap();
        let mut blocks = Vec::new();
        receiver.datagram(now, &mut bytes, &mut |received| {
            if let Received::Report(block) = received {
                blocks.push(block);
            }
        });
        assert_eq!(blocks, [ours]);
        assert_eq!(receiver.stats().reports, 1);
    }
}

#[test]
fn reports_have_31_blocks_and_take_turns() {
    let now = start();
    let mut receiver = plain_receiver(now);
    let mut senders: Vec<_> = (1..=40).map(|ssrc| plain_sender(now, ssrc)).collect();
    let mut blocks = Vec::new();
    receiver.report_blocks(now, &mut blocks);
    assert!(blocks.is_empty());
    let mut round = |receiver: &mut Receiver| {
        for (sender, ssrc) in senders.iter_mut().zip(1..) {
            map(receiver, now, ssrc, u64::from(ssrc));
            let bytes = datagram(sender, now, 1);
            hear(receiver, now, bytes);
        }
    };
    round(&mut receiver);
    receiver.report_blocks(now, &mut blocks);
    let first: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
    assert_eq!(first, (1..=31).collect::<Vec<_>>());
    round(&mut receiver);
    receiver.report_blocks(now, &mut blocks);
    let second: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
    assert_eq!(second, (32..=40).chain(1..=22).collect::<Vec<_>>());
    // Those who said nothing since are left out.
    receiver.report_blocks(now, &mut blocks);
    let third: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
    assert_eq!(third, (23..=31).collect::<Vec<_>>());
    receiver.report_blocks(now, &mut blocks);
    assert!(blocks.is_empty());
}

#[test]
fn a_second_key_on_the_same_connection_is_taken() {
    let now = start();
    let mut receiver = plain_receiver(now);
    map(&mut receiver, now, 1, ALICE);
    let mut alice = plain_sender(now, 1);
    let bytes = datagram(&mut alice, now, 1);
    assert_eq!(hear(&mut receiver, now, bytes), [(ALICE, 1)]);
    let mode = EncryptionMode::AeadXChaCha20Poly1305RtpSize;
    let key = TransportKey::new([9; 32]);
    alice.rekey(mode, &key);
    let bytes = datagram(&mut alice, now, 2);
    assert_eq!(hear(&mut receiver, now, bytes.clone()), []);
    receiver.rekey(mode, &key);
    assert_eq!(hear(&mut receiver, now, bytes), [(ALICE, 2)]);
    assert_eq!(receiver.user_stats()[&ALICE].lost, 0);
}
