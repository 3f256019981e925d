//! What leaves: sequence, timestamps, silence, reports; and what does not.

use super::*;
use crate::rtp::{Compound, RtcpPacket, RtpPacket};

/// Sequence number and timestamp of a datagram.
fn place(opener: &mut Opener, mut datagram: Vec<u8>) -> (u16, u32) {
    let packet: RtpPacket<'_> = opener.open_rtp(&mut datagram).unwrap();
    (packet.header.sequence, packet.header.timestamp)
}

#[test]
fn without_a_key_nothing_leaves() {
    let now = start();
    let mut sender = held_sender(now, 1);
    let mut out = vec![1, 2, 3];
    assert!(sender.holds());
    assert_eq!(sender.frame(now, &frame(1), &mut out), Ok(Outcome::Held));
    assert!(out.is_empty());
    sender.announce();
    assert_eq!(sender.silence(now, &mut out), Ok(Outcome::Held));
    assert!(out.is_empty());
    assert_eq!(sender.report(now, &[], &mut out), Ok(Outcome::Quiet));
    assert_eq!((sender.stats().packets, sender.stats().held), (0, 2));

    // Nor once it has had one.
    sender.apply(SendKey::Key(ratchet(1)));
    datagram(&mut sender, now, 1);
    sender.apply(SendKey::Hold);
    assert_eq!(sender.frame(now, &frame(2), &mut out), Ok(Outcome::Held));
    assert!(out.is_empty());
}

#[test]
fn sealed_frames_are_not_in_the_datagram_in_clear() {
    let now = start();
    let mut sender = sealed_sender(now, 1, 3);
    let mut bytes = datagram(&mut sender, now, 5);
    let packet = opener().open_rtp(&mut bytes).unwrap().payload.to_vec();
    assert!(packet.ends_with(&[0xfa, 0xfa]));
    assert!(!packet.starts_with(&frame(5).data));
}

#[test]
fn in_speech_the_timestamps_follow_the_frames_whatever_the_ticks() {
    let begin = start();
    let mut sender = plain_sender(begin, 1);
    let mut opener = opener();
    let mut last: Option<(u16, u32)> = None;
    // Late ticks, two at once, a stall of 400 ms.
    for ms in [0, 20, 45, 60, 60, 119, 120, 520, 521, 522] {
        let now = begin + Duration::from_millis(ms);
        let (sequence, timestamp) = place(&mut opener, datagram(&mut sender, now, 1));
        if let Some((before, stamp)) = last {
            assert_eq!(sequence, before.wrapping_add(1));
            assert_eq!(timestamp, stamp.wrapping_add(960));
        }
        last = Some((sequence, timestamp));
    }
}

#[test]
fn over_a_pause_the_timestamps_keep_wall_time_and_the_sequence_has_no_gap() {
    let begin = start();
    let mut sender = plain_sender(begin, 1);
    let mut opener = opener();
    let mut out = Vec::new();
    let (sequence, timestamp) = place(&mut opener, datagram(&mut sender, begin, 1));
    let mut now = begin;
    for _ in 0..5 {
        now += MS_20;
        assert_eq!(sender.silence(now, &mut out), Ok(Outcome::Datagram));
    }
    assert_eq!(sender.silence(now, &mut out), Ok(Outcome::Quiet));
    assert!(out.is_empty());

    now = begin + Duration::from_millis(3_610);
    let (after, stamp) = place(&mut opener, datagram(&mut sender, now, 2));
    assert_eq!(after, sequence.wrapping_add(6));
    // 3,600 ms: the grid of 20 ms.
    assert_eq!(stamp.wrapping_sub(timestamp), 180 * 960);

    // A short pause, too.
    while sender.silence(now, &mut out) == Ok(Outcome::Datagram) {}
    now += Duration::from_millis(300);
    let (again, moved) = place(&mut opener, datagram(&mut sender, now, 2));
    assert_eq!(again, after.wrapping_add(6));
    // The five silence frames went out at once here and count themselves, and
    // 10 ms are left from the grid.
    assert_eq!(moved.wrapping_sub(stamp), 15 * 960);
    let (after, stamp) = (again, moved);

    // Frames that were held, not sent late, are a pause, too.
    sender.apply(SendKey::Hold);
    now += Duration::from_secs(1);
    assert_eq!(sender.frame(now, &frame(3), &mut out), Ok(Outcome::Held));
    sender.apply(SendKey::Plain);
    let (sequence, later) = place(&mut opener, datagram(&mut sender, now, 4));
    assert_eq!(sequence, after.wrapping_add(1));
    assert_eq!(later.wrapping_sub(stamp), 50 * 960);

    // And so is a process that stood still.
    now += Duration::from_secs(2);
    let (_, last) = place(&mut opener, datagram(&mut sender, now, 5));
    assert_eq!(last.wrapping_sub(later), 100 * 960);
}

#[test]
fn numbers_wrap() {
    let begin = start();
    let mut sender = plain_sender(begin, 1);
    let (first, stamp) = place(&mut opener(), datagram(&mut sender, begin, 0));
    let mut out = Vec::new();
    for n in 1..65_536 {
        sender
            .frame(begin + MS_20 * n, &frame(0), &mut out)
            .unwrap();
    }
    // More than a day later, after 2^32 samples and one frame.
    let samples = (1 << 32) / 960 * 960 + 960;
    let now = begin + Duration::from_micros(samples * 1_000 / 48 + 1);
    let (sequence, later) = place(&mut opener(), datagram(&mut sender, now, 0));
    assert_eq!(sequence, first);
    assert_eq!(later, stamp.wrapping_add(samples as u32));
}

#[test]
fn a_frame_that_no_encoder_makes_is_refused_and_takes_no_number() {
    let now = start();
    let mut sender = plain_sender(now, 1);
    let mut opener = opener();
    let (before, _) = place(&mut opener, datagram(&mut sender, now, 0));
    let mut out = Vec::new();
    for (bytes, samples) in [(0, 960), (1_411, 960), (10, 119), (10, 5_761)] {
        let frame = OpusFrame {
            data: Bytes::from(vec![1; bytes]),
            samples,
        };
        assert_eq!(
            sender.frame(now, &frame, &mut out),
            Err(SendError::BadFrame)
        );
        assert!(out.is_empty());
    }
    let largest = OpusFrame {
        data: Bytes::from(vec![1; 1_410]),
        samples: 5_760,
    };
    sender.apply(SendKey::Key(ratchet(1)));
    sender.frame(now, &largest, &mut out).unwrap();
    assert!(out.len() <= 1_460);
    assert_eq!(place(&mut opener, out).0, before.wrapping_add(1));
}

#[test]
fn exhaustion_is_an_error_and_leaves_nothing_to_send() {
    let now = start();
    let sealer = Sealer::new(MODE, &transport_key(), 0).with_remaining(1);
    let mut sender = Sender::new(now, 1, sealer, &mut fastrand::Rng::with_seed(1));
    sender.apply(SendKey::Plain);
    let mut out = Vec::new();
    sender.frame(now, &frame(1), &mut out).unwrap();
    assert_eq!(
        sender.frame(now, &frame(2), &mut out),
        Err(SendError::Exhausted)
    );
    assert!(out.is_empty());
    assert_eq!(sender.report(now, &[], &mut out), Err(SendError::Exhausted));
    assert!(out.is_empty());
}

#[test]
fn five_silence_frames_end_speech_and_speech_cuts_them_short() {
    let now = start();
    let mut sender = plain_sender(now, 1);
    let mut opener = opener();
    let mut out = Vec::new();
    let mut silences = |sender: &mut Sender| {
        let mut sent = 0;
        while sender.silence(now, &mut out) == Ok(Outcome::Datagram) {
            let payload = opener.open_rtp(&mut out).unwrap().payload.to_vec();
            assert_eq!(payload, [0xf8, 0xff, 0xfe]);
            sent += 1;
        }
        sent
    };
    assert_eq!(silences(&mut sender), 0);
    datagram(&mut sender, now, 1);
    assert_eq!(silences(&mut sender), 5);
    datagram(&mut sender, now, 1);
    sender.silence(now, &mut Vec::new()).unwrap();
    datagram(&mut sender, now, 1);
    assert_eq!(silences(&mut sender), 5);
    sender.announce();
    assert_eq!(silences(&mut sender), 5);
}

#[test]
fn reports_say_what_was_sent_and_the_round_trip_comes_back() {
    let begin = start();
    let mut sender = plain_sender(begin, OWN_SSRC);
    let mut opener = opener();
    let mut out = Vec::new();
    assert_eq!(sender.poll_timeout(), begin + Duration::from_secs(5));
    let (_, timestamp) = place(&mut opener, datagram(&mut sender, begin, 1));
    datagram(&mut sender, begin + MS_20, 2);

    let now = begin + Duration::from_secs(5);
    assert_eq!(sender.report(now, &[], &mut out), Ok(Outcome::Datagram));
    assert_eq!(sender.poll_timeout(), now + Duration::from_secs(5));
    let plain = opener.open_rtcp(&mut out).unwrap().to_vec();
    let Some(RtcpPacket::SenderReport { ssrc, info, .. }) = Compound::new(&plain).next() else {
        panic!("{plain:02x?}");
    };
    assert_eq!((ssrc, info.packets, info.octets), (OWN_SSRC, 2, 8));
    assert_eq!(info.rtp_timestamp.wrapping_sub(timestamp), 48_000 * 5);

    // The server answers 300 ms later, 100 ms of which it took.
    let mut server = crate::rtp::Reception::new(now, 1);
    server.packet(now, 1, 0);
    let arrived = now + Duration::from_millis(100);
    server.sender_report(arrived, info.ntp);
    let block = server.report(arrived + Duration::from_millis(100), OWN_SSRC);
    sender.remote_report(now + Duration::from_millis(300), &block);
    let remote = sender.stats().remote.unwrap();
    let round_trip = remote.round_trip.unwrap();
    assert!(round_trip.abs_diff(Duration::from_millis(200)) < Duration::from_millis(1));
    assert_eq!((remote.fraction_lost, remote.lost), (0.0, 0));

    // Nothing sent since: a receiver report if there is something to say.
    assert_eq!(sender.report(now, &[], &mut out), Ok(Outcome::Quiet));
    assert_eq!(
        sender.report(now, &[block], &mut out),
        Ok(Outcome::Datagram)
    );
    let plain = opener.open_rtcp(&mut out).unwrap().to_vec();
    let Some(RtcpPacket::ReceiverReport { ssrc, mut blocks }) = Compound::new(&plain).next() else {
        panic!("{plain:02x?}");
    };
    assert_eq!((ssrc, blocks.next()), (OWN_SSRC, Some(block)));
    assert_eq!(sender.stats().reports, 2);

    // A report of the very first moment has a time, too: 0 would mean none.
    let mut fresh = plain_sender(begin, OWN_SSRC);
    datagram(&mut fresh, begin, 1);
    fresh.report(begin, &[], &mut out).unwrap();
    let plain = opener.open_rtcp(&mut out).unwrap().to_vec();
    let Some(RtcpPacket::SenderReport { info, .. }) = Compound::new(&plain).next() else {
        panic!("{plain:02x?}");
    };
    assert_ne!(info.ntp.short().0, 0);

    // A report about someone else's stream is not ours.
    let mut fresh = plain_sender(begin, 9);
    fresh.remote_report(now, &block);
    assert_eq!(fresh.stats().remote, None);
}
