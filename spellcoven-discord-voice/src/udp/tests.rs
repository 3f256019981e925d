//! IP discovery and ping, byte by byte and second by second.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rtp::tests::start;

fn response(ssrc: u32, address: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![0, 2, 0, 70];
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(address.as_bytes());
    bytes.resize(72, 0);
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

#[test]
fn the_request_is_the_documented_one() {
    let now = start();
    let mut discovery = Discovery::new(now, 0x0102_0304);
    let Some(DiscoveryStep::Send(request)) = discovery.handle_timeout(now) else {
        panic!("no request");
    };
    let mut expected = vec![0, 1, 0, 70, 1, 2, 3, 4];
    expected.resize(74, 0);
    assert_eq!(request.to_vec(), expected);
}

#[test]
fn it_asks_five_times_in_five_seconds_and_gives_up() {
    let mut now = start();
    let mut discovery = Discovery::new(now, 1);
    for _ in 0..5 {
        assert_eq!(discovery.poll_timeout(), Some(now));
        assert!(matches!(
            discovery.handle_timeout(now),
            Some(DiscoveryStep::Send(_))
        ));
        assert_eq!(discovery.handle_timeout(now), None);
        now += Duration::from_secs(1);
    }
    assert_eq!(discovery.handle_timeout(now), Some(DiscoveryStep::GiveUp));
    assert_eq!(discovery.poll_timeout(), None);
    assert_eq!(discovery.handle_datagram(&response(1, "1.2.3.4", 5)), None);
}

#[test]
fn both_kinds_of_address_are_read() {
    for address in ["203.0.113.7", "2001:db8::7", "::1"] {
        let mut discovery = Discovery::new(start(), 9);
        let found = discovery.handle_datagram(&response(9, address, 50_004));
        assert_eq!(
            found.map(|found| (found.ip().to_string(), found.port())),
            Some((address.to_owned(), 50_004))
        );
        assert_eq!(discovery.poll_timeout(), None);
    }
}

#[test]
fn what_is_not_our_answer_is_ignored() {
    let mut discovery = Discovery::new(start(), 9);
    let good = response(9, "203.0.113.7", 1);
    let mut request = good.clone();
    request[1] = 1;
    let mut other_length = good.clone();
    other_length[3] = 71;
    let mut not_text = good.clone();
    not_text[8] = 0xff;
    let long = [good.clone(), vec![0]].concat();
    for bytes in [
        &request[..],
        &other_length,
        &not_text,
        &long,
        &good[..73],
        &[],
        &response(8, "203.0.113.7", 1),
        &response(9, "", 1),
        &response(9, "voice.example", 1),
        &response(9, &"1".repeat(64), 1),
    ] {
        assert_eq!(discovery.handle_datagram(bytes), None, "{bytes:02x?}");
    }
    assert!(discovery.handle_datagram(&good).is_some());
}

#[test]
fn a_ping_every_five_seconds_and_the_round_trip() {
    let begin = start();
    let mut ping = Ping::new(begin);
    let first = ping.handle_timeout(begin).unwrap();
    assert_eq!(first, [0x13, 0x37, 0xca, 0xfe, 0, 0, 0, 1]);
    assert_eq!(ping.handle_timeout(begin), None);
    let reply = |sequence: u8| [0x13, 0x37, 0xf0, 0x0d, 0, 0, 0, sequence];
    let later = begin + Duration::from_millis(40);
    assert_eq!(ping.handle_datagram(later, &reply(2)), None);
    assert_eq!(ping.handle_datagram(later, &first), None);
    assert_eq!(
        ping.handle_datagram(later, &reply(1)),
        Some(Duration::from_millis(40))
    );
    assert_eq!(ping.handle_datagram(later, &reply(1)), None);

    // The second has no answer, the third a late one; neither ends anything.
    for second in [5, 10, 15] {
        let due = begin + Duration::from_secs(second);
        assert_eq!(ping.poll_timeout(), due);
        assert!(ping.handle_timeout(due).is_some());
    }
    let late = begin + Duration::from_secs(16);
    assert_eq!(ping.handle_datagram(late, &reply(3)), None);
    assert_eq!(
        ping.handle_datagram(late, &reply(4)),
        Some(Duration::from_secs(1))
    );
    let stats = ping.stats();
    assert_eq!((stats.sent, stats.answered, stats.missed), (4, 2, 2));
    assert_eq!(stats.round_trip, Some(Duration::from_secs(1)));

    // A long sleep does not make a burst.
    let woken = begin + Duration::from_secs(100);
    assert!(ping.handle_timeout(woken).is_some());
    assert_eq!(ping.poll_timeout(), woken + Duration::from_secs(5));
}

proptest! {
    #[test]
    fn no_datagram_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
        let now = start();
        let mut ping = Ping::new(now);
        ping.handle_timeout(now);
        for prefix in [&[][..], &[0, 2, 0, 70, 0, 0, 0, 9], &PING_REPLY] {
            for (to, from) in bytes.iter_mut().zip(prefix) {
                *to = *from;
            }
            Discovery::new(now, 9).handle_datagram(&bytes);
            ping.handle_datagram(now, &bytes);
        }
    }
}
