//! RTP and RTCP: vectors, rules, and round trips.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    ntp::ShortNtp,
    packet::{Extension, ONE_BYTE_PROFILE},
    *,
};

/// A packet as other clients make them, by hand.
#[derive(Debug, Clone)]
pub(crate) struct Composed {
    pub(crate) header: RtpHeader,
    pub(crate) csrcs: Vec<u32>,
    pub(crate) extension: Option<(u16, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
    pub(crate) padding: u8,
}

impl Composed {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.header.write(&mut out);
        out[0] |= u8::from(self.padding > 0) << 5
            | u8::from(self.extension.is_some()) << 4
            | self.csrcs.len() as u8;
        for csrc in &self.csrcs {
            out.extend_from_slice(&csrc.to_be_bytes());
        }
        if let Some((profile, data)) = &self.extension {
            out.extend_from_slice(&profile.to_be_bytes());
            out.extend_from_slice(&((data.len() / 4) as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out.extend_from_slice(&self.payload);
        if self.padding > 0 {
            out.resize(out.len() + usize::from(self.padding) - 1, 0);
            out.push(self.padding);
        }
        out
    }

    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let header = (
            any::<bool>(),
            0u8..64,
            any::<u16>(),
            any::<u32>(),
            any::<u32>(),
        );
        let words = proptest::collection::vec(any::<[u8; 4]>(), 0..6);
        let extension = proptest::option::of((any::<u16>(), words));
        (
            header,
            proptest::collection::vec(any::<u32>(), 0..=15),
            extension,
            proptest::collection::vec(any::<u8>(), 0..200),
            any::<u8>(),
        )
            .prop_map(|(header, csrcs, extension, payload, padding)| {
                let (marker, payload_type, sequence, timestamp, ssrc) = header;
                Self {
                    header: RtpHeader {
                        marker,
                        payload_type,
                        sequence,
                        timestamp,
                        ssrc,
                    },
                    csrcs,
                    extension: extension.map(|(profile, words)| (profile, words.concat())),
                    payload,
                    padding,
                }
            })
    }

    pub(crate) fn check(&self, packet: &RtpPacket<'_>) -> Result<(), TestCaseError> {
        prop_assert_eq!(packet.header, self.header);
        prop_assert_eq!(packet.payload, &self.payload[..]);
        let extension = packet.extension.map(|e| (e.profile, e.data.to_vec()));
        prop_assert_eq!(&extension, &self.extension);
        Ok(())
    }
}

fn plain(payload: &[u8]) -> Composed {
    Composed {
        header: RtpHeader {
            marker: false,
            payload_type: OPUS_PAYLOAD_TYPE,
            sequence: 1,
            timestamp: 2,
            ssrc: 0x1005,
        },
        csrcs: Vec::new(),
        extension: None,
        payload: payload.to_vec(),
        padding: 0,
    }
}

#[test]
fn the_header_is_the_documented_one() {
    let bytes = plain(&[0xaa]).bytes();
    assert_eq!(
        bytes,
        [0x80, 0x78, 0, 1, 0, 0, 0, 2, 0, 0, 0x10, 5, 0xaa],
        "Discord documentation, Voice Connections, Encrypting and Sending Voice"
    );
}

#[test]
fn padding_is_taken_off_and_wrong_counts_are_refused() {
    let mut composed = plain(&[1, 2, 3]);
    composed.padding = 4;
    let mut bytes = composed.bytes();
    assert_eq!(RtpPacket::parse(&bytes).unwrap().payload, [1, 2, 3]);
    // All of it padding, the count included.
    *bytes.last_mut().unwrap() = 7;
    assert_eq!(RtpPacket::parse(&bytes).unwrap().payload, [0u8; 0]);
    for count in [0, 8, 255] {
        *bytes.last_mut().unwrap() = count;
        assert_eq!(RtpPacket::parse(&bytes), Err(RtpError::Padding), "{count}");
    }
    // The P bit and nothing that could hold a count.
    assert_eq!(RtpPacket::parse(&bytes[..12]), Err(RtpError::Padding));
}

#[test]
fn extensions_of_any_profile_are_skipped_and_both_forms_are_read() {
    // id 1 with one byte, a padding byte, id 9 with one byte, the end.
    let one_byte = vec![0x10, 0x9e, 0x00, 0x90, 0x02, 0xf0, 0x11, 0x22];
    let two_byte = vec![0x01, 0x01, 0x9e, 0x00, 0x20, 0x00, 0x07, 0x01];
    let elements = |profile: u16, data: &[u8]| {
        Extension { profile, data }
            .elements()
            .map(|(id, data)| (id, data.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        elements(ONE_BYTE_PROFILE, &one_byte),
        [(1, vec![0x9e]), (9, vec![0x02])]
    );
    // The last element says one byte and has none.
    assert_eq!(
        elements(0x1003, &two_byte),
        [(1, vec![0x9e]), (0x20, vec![])]
    );
    assert_eq!(elements(0x1234, &one_byte), []);

    for (profile, level) in [(ONE_BYTE_PROFILE, Some(30)), (0x4242, None)] {
        let mut composed = plain(&[7, 7]);
        composed.extension = Some((profile, one_byte.clone()));
        let bytes = composed.bytes();
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(packet.payload, [7, 7]);
        assert_eq!(packet.audio_level(), level);
    }
}

#[test]
fn an_extension_longer_than_the_packet_is_refused() {
    let mut composed = plain(&[1, 2, 3]);
    composed.extension = Some((ONE_BYTE_PROFILE, vec![0; 8]));
    let mut bytes = composed.bytes();
    bytes[15] = 3;
    assert_eq!(RtpPacket::parse(&bytes), Err(RtpError::Extension));
}

#[test]
fn datagrams_are_told_apart() {
    let kind = DatagramKind::of;
    assert_eq!(kind(&[0x80, 120, 0]), DatagramKind::Rtp);
    assert_eq!(kind(&[0xb0, 0xf8, 0]), DatagramKind::Rtp);
    for second in [192, 200, 206, 223] {
        assert_eq!(kind(&[0x81, second]), DatagramKind::Rtcp, "{second}");
    }
    assert_eq!(kind(&[0x80, 191]), DatagramKind::Rtp);
    assert_eq!(kind(&[0x80, 224]), DatagramKind::Rtp);
    assert_eq!(kind(&[0, 2, 0, 70]), DatagramKind::Discovery);
    assert_eq!(
        kind(&[0x13, 0x37, 0xf0, 0x0d, 0, 0, 0, 1]),
        DatagramKind::Ping
    );
    for other in [
        &[][..],
        &[0x80],
        &[0, 1, 0, 70],
        &[0x13, 0x37, 0xca, 0xfe],
        &[0x40, 120],
        &[0xc0, 200],
    ] {
        assert_eq!(kind(other), DatagramKind::Unknown, "{other:02x?}");
    }
}

#[test]
fn rtcp_vectors() {
    let bytes = hex("80c90001 00001005 81ca0002 00001005 01016100 81ce0002 00001005 0000106a");
    let packets: Vec<_> = Compound::new(&bytes).collect();
    let [
        RtcpPacket::ReceiverReport { ssrc, mut blocks },
        RtcpPacket::SourceDescription(chunks),
        RtcpPacket::Other {
            packet_type,
            count,
            body,
        },
    ] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!((ssrc, blocks.next()), (0x1005, None));
    assert_eq!(chunks.collect::<Vec<_>>(), [(0x1005, Some(&b"a"[..]))]);
    assert_eq!((packet_type, count, body.len()), (206, 1, 8));

    let bye = hex("82cb0003 00001005 00001006 00000000");
    let Some(RtcpPacket::Bye(sources)) = Compound::new(&bye).next() else {
        panic!("no BYE");
    };
    assert_eq!(sources.collect::<Vec<_>>(), [0x1005, 0x1006]);

    // Four bytes of padding behind the SSRC, and counts that do not fit.
    let mut padded = hex("a1ce0003 00001005 0000106a 00000004");
    let body = |bytes: &[u8]| match Compound::new(bytes).next() {
        Some(RtcpPacket::Other { body, .. }) => Some(body.len()),
        _ => None,
    };
    assert_eq!(body(&padded), Some(8));
    *padded.last_mut().unwrap() = 13;
    assert_eq!(body(&padded), None);

    let mut empty = Vec::new();
    write_receiver_report(&mut empty, 0x1005, &[]);
    assert_eq!(empty, hex("80c90001 00001005"));
}

#[test]
fn a_negative_loss_survives_its_24_bits() {
    let block = ReportBlock {
        ssrc: 1,
        fraction_lost: 255,
        cumulative_lost: -3,
        highest_sequence: 2,
        jitter: 3,
        last_sr: ShortNtp(4),
        delay_since_last_sr: ShortNtp(5),
    };
    for (lost, read) in [
        (-3, -3),
        (7, 7),
        (i32::MAX, 0x7f_ffff),
        (i32::MIN, -0x80_0000),
    ] {
        let mut bytes = Vec::new();
        let block = ReportBlock {
            cumulative_lost: lost,
            ..block
        };
        write_receiver_report(&mut bytes, 9, &[block]);
        let Some(RtcpPacket::ReceiverReport { mut blocks, .. }) = Compound::new(&bytes).next()
        else {
            panic!("no report");
        };
        let block = ReportBlock {
            cumulative_lost: read,
            ..block
        };
        assert_eq!(blocks.next(), Some(block));
    }
}

#[test]
fn loss_is_counted_over_the_wrap_and_reordering_is_none() {
    let now = start();
    let mut reception = Reception::new(now, 65_533);
    let order = [65_533u16, 65_535, 65_534, 1, 3, 2];
    let extended: Vec<u64> = order
        .iter()
        .map(|&sequence| reception.packet(now, sequence, 0))
        .collect();
    let base = extended[0];
    assert_eq!(
        extended.iter().map(|e| e - base).collect::<Vec<_>>(),
        [0, 2, 1, 4, 6, 5]
    );
    // 0 has not come.
    assert_eq!(reception.lost(), 1);
    assert_eq!(reception.late(), 2);
    let block = reception.report(now, 5);
    assert_eq!(block.cumulative_lost, 1);
    assert_eq!(block.fraction_lost, (256 / 7) as u8);
    assert_eq!(block.highest_sequence & 0xffff, 3);
    assert!(!reception.has_news());
    // What overtook the first packet belongs to the stream, too.
    let mut reception = Reception::new(now, 10);
    reception.packet(now, 10, 0);
    reception.packet(now, 8, 0);
    assert_eq!(reception.lost(), 1);
}

#[test]
fn a_far_jump_is_a_restart_and_no_loss() {
    let now = start();
    let mut reception = Reception::new(now, 10);
    reception.packet(now, 10, 0);
    reception.packet(now, 20_000, 0);
    reception.packet(now, 20_002, 0);
    assert_eq!(reception.lost(), 1);
}

#[test]
fn jitter_is_that_of_rfc_3550() {
    let start = start();
    let mut reception = Reception::new(start, 0);
    let mut expected = 0f64;
    let mut last_transit = None;
    for n in 0..500u32 {
        // Every other packet 4 ms late.
        let at = Duration::from_millis(u64::from(n * 20 + (n % 2) * 4));
        let timestamp = n.wrapping_mul(960).wrapping_add(u32::MAX - 5_000);
        reception.packet(start + at, n as u16, timestamp);
        let transit = at.as_secs_f64() * 48_000.0 - f64::from(n * 960);
        if let Some(last) = last_transit.replace(transit) {
            let change: f64 = transit - last;
            expected += (change.abs() - expected) / 16.0;
        }
    }
    let jitter = reception.jitter().as_secs_f64() * 48_000.0;
    assert!((jitter - expected).abs() < 1.5, "{jitter} {expected}");
    assert!((jitter - 192.0).abs() < 3.0, "{jitter}");
}

#[test]
fn the_round_trip_leaves_the_delay_out() {
    let sent = NtpTime::from_elapsed(Duration::from_secs(70_000));
    let block = ReportBlock {
        ssrc: 1,
        fraction_lost: 0,
        cumulative_lost: 0,
        highest_sequence: 0,
        jitter: 0,
        last_sr: sent.short(),
        delay_since_last_sr: ShortNtp::from_duration(Duration::from_secs(2)),
    };
    let at = |after| NtpTime::from_elapsed(Duration::from_secs(70_000) + after);
    assert_eq!(
        round_trip(at(Duration::from_millis(2_250)), &block),
        Some(Duration::from_millis(250))
    );
    assert_eq!(round_trip(at(Duration::from_millis(1_900)), &block), None);
    let none = ReportBlock {
        last_sr: ShortNtp(0),
        ..block
    };
    assert_eq!(round_trip(at(Duration::from_secs(3)), &none), None);
}

proptest! {
    #[test]
    fn rtp_round_trip(composed in Composed::any()) {
        let bytes = composed.bytes();
        composed.check(&RtpPacket::parse(&bytes).unwrap())?;
    }

    #[test]
    fn no_parser_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (DatagramKind::of(&bytes), RtpPacket::parse(&bytes).map(|p| p.audio_level()));
        read_all(&bytes);
        // The same as something that goes further than the version.
        for (first, second) in [(0xbf, 0x78), (0xa2, 200), (0xa1, 201), (0xa3, 202), (0xa1, 203)] {
            if let [a, b, ..] = &mut bytes[..] {
                (*a, *b) = (first, second);
            }
            let _ = RtpPacket::parse(&bytes).map(|packet| packet.audio_level());
            read_all(&bytes);
        }
    }

    #[test]
    fn reports_round_trip(
        blocks in proptest::collection::vec(any::<[u32; 6]>(), 0..40),
        info in any::<(u64, u32, u32, u32)>(),
    ) {
        let blocks: Vec<_> = blocks.into_iter().map(block).collect();
        let (ntp, rtp_timestamp, packets, octets) = info;
        let info = SenderInfo { ntp: NtpTime(ntp), rtp_timestamp, packets, octets };
        let mut bytes = Vec::new();
        write_sender_report(&mut bytes, 7, &info, &blocks);
        write_receiver_report(&mut bytes, 8, &blocks);
        let kept = blocks.len().min(MAX_BLOCKS);
        let mut compound = Compound::new(&bytes);
        match compound.next() {
            Some(RtcpPacket::SenderReport { ssrc: 7, info: read, blocks: read_blocks }) => {
                prop_assert_eq!(read, info);
                prop_assert_eq!(read_blocks.collect::<Vec<_>>(), &blocks[..kept]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        match compound.next() {
            Some(RtcpPacket::ReceiverReport { ssrc: 8, blocks: read_blocks }) => {
                prop_assert_eq!(read_blocks.collect::<Vec<_>>(), &blocks[..kept]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert!(compound.next().is_none());
    }
}

fn block([ssrc, lost, highest_sequence, jitter, last_sr, delay]: [u32; 6]) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: lost as u8,
        cumulative_lost: (lost as i32) >> 9,
        highest_sequence,
        jitter,
        last_sr: ShortNtp(last_sr),
        delay_since_last_sr: ShortNtp(delay),
    }
}

fn read_all(bytes: &[u8]) {
    for packet in Compound::new(bytes) {
        match packet {
            RtcpPacket::SenderReport { blocks, .. } | RtcpPacket::ReceiverReport { blocks, .. } => {
                assert!(blocks.count() <= MAX_BLOCKS);
            }
            RtcpPacket::SourceDescription(chunks) => drop(chunks.count()),
            RtcpPacket::Bye(sources) => drop(sources.count()),
            RtcpPacket::Other { .. } => {}
        }
    }
}

/// Some moment. Nothing reads the clock after it.
pub(crate) fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Bytes from hexadecimal digits; spaces are skipped.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b' ')
        .map(|byte| char::from(byte).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
