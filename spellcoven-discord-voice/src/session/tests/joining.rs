//! Joining and leaving.

use super::*;
use crate::session::{CallError, EndReason};

#[test]
fn a_join_says_what_the_documents_say() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.session.poll_timeout(), None);
    rig.session.connect(rig.now, channel(LOBBY));
    rig.listen();
    assert_eq!(rig.session.state(), ConnectionState::Joining);
    let requests = rig.requests();
    let expected = VoiceStateRequest::new(Id::new(GUILD), Some(channel(LOBBY)));
    assert_eq!(requests, [expected]);

    rig.state(Some(LOBBY), "first");
    assert_eq!(rig.link, None);
    rig.server(Some("a.test:2048"), "token-a");
    assert_eq!(rig.url, "wss://a.test:2048/?v=8");
    assert_eq!(rig.session.state(), ConnectionState::Connecting);
    rig.open();
    assert_eq!(
        rig.text_of(0),
        json!({
            "server_id": "900", "channel_id": "901", "user_id": "700", "session_id": "first",
            "token": "token-a", "video": false, "max_dave_protocol_version": 1,
        })
    );
    rig.text(HELLO);
    rig.ready();
    assert!(rig.said.iter().any(|action| matches!(action,
        Action::OpenUdp { remote, .. } if remote.to_string() == "203.0.113.7:50004")));
    rig.open_udp();
    assert_eq!(rig.datagrams.pop().unwrap().1, Sent::Discovery);
    assert_eq!(rig.texts(1), Vec::<Value>::new());
    rig.discovered();
    assert_eq!(
        rig.text_of(1),
        json!({
            "protocol": "udp",
            "data": {"address": "198.51.100.4", "port": 41337, "mode": "aead_aes256_gcm_rtpsize"},
            "codecs": [{"name": "opus", "type": "audio", "priority": 1000, "payload_type": 120}],
        })
    );
    assert_eq!(rig.connects(), []);
    rig.describe(1);
    assert_eq!(rig.connects(), [Ok(())]);
    let events = rig.events();
    assert_eq!(
        events.last(),
        Some(&VoiceEvent::State(ConnectionState::Connected))
    );
    assert!(events.contains(&VoiceEvent::Channel {
        channel_id: channel(LOBBY)
    }));
}

#[test]
fn the_two_events_may_come_in_either_order() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.listen();
    rig.server(Some("a.test:80"), "token-a");
    assert_eq!(rig.link, None);
    rig.state(Some(LOBBY), "first");
    // Nothing speaks TLS on port 80.
    assert_eq!(rig.url, "wss://a.test/?v=8");
    rig.serve();
    assert_eq!(rig.connects(), [Ok(())]);
}

#[test]
fn ready_may_overtake_hello_and_people_may_come_before_the_keys() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.listen();
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.open();
    rig.ready();
    rig.json(json!({"op": 11, "seq": 1, "d": {"user_ids": ["777", 778]}}));
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 1}}));
    rig.text(HELLO);
    rig.open_udp();
    rig.discovered();
    rig.describe(1);
    assert_eq!(rig.connects(), [Ok(())]);
    let people = rig.session.participants();
    let people: Vec<_> = people.iter().map(|p| (p.user_id.get(), p.ssrc)).collect();
    assert_eq!(people, [(777, Some(9)), (778, None)]);
}

#[test]
fn a_full_channel_is_told_after_ten_seconds() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.pass_ms(9_999);
    assert_eq!(rig.connects(), []);
    rig.pass_ms(1);
    assert_eq!(rig.connects(), [Err(ConnectError::NoAnswer)]);
    assert!(ConnectError::NoAnswer.to_string().contains("full"));
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    // Should a place become free, it is not wanted any more.
    assert_eq!(rig.signals(), [Some(LOBBY), None]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn a_join_without_a_server_ends_after_thirty_seconds() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(None, "token-a");
    rig.pass_ms(29_999);
    assert_eq!(rig.connects(), []);
    rig.pass_ms(1);
    assert_eq!(rig.connects(), [Err(ConnectError::NoServer)]);
    assert_eq!(rig.signals(), [Some(LOBBY), None]);
    // The answer to that is nothing new.
    rig.state(None, "first");
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    assert!(
        !rig.events()
            .iter()
            .any(|event| matches!(event, VoiceEvent::Ended(_)))
    );
}

#[test]
fn each_connect_has_one_answer() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.session.connect(rig.now, channel(LOUNGE));
    rig.listen();
    assert_eq!(rig.connects(), [Err(ConnectError::Superseded)]);
    rig.session.disconnect(rig.now);
    rig.session.disconnect(rig.now);
    rig.listen();
    assert_eq!(rig.connects(), [Err(ConnectError::Cancelled)]);
    assert_eq!(rig.session.state(), ConnectionState::Leaving);
    assert_eq!(rig.disconnects(), 0);
    rig.state(None, "first");
    assert_eq!(rig.disconnects(), 2);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    rig.session.disconnect(rig.now);
    rig.listen();
    assert_eq!(rig.disconnects(), 1);
    assert_eq!(rig.signals(), [Some(LOBBY), Some(LOUNGE), None]);
}

#[test]
fn leaving_closes_everything_at_once_and_waits_five_seconds() {
    let mut rig = Rig::connected(config());
    rig.session.disconnect(rig.now);
    rig.listen();
    assert_eq!(rig.closes(), [1000]);
    assert_eq!((rig.link, rig.udp), (None, None));
    assert_eq!(rig.signals(), [None]);
    rig.pass_ms(4_999);
    assert_eq!(rig.disconnects(), 0);
    rig.pass_ms(1);
    assert_eq!(rig.disconnects(), 1);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn leaving_and_joining_again_at_once_takes_no_harm_from_the_late_answer() {
    let mut rig = Rig::connected(config());
    rig.session.disconnect(rig.now);
    rig.session.connect(rig.now, channel(LOBBY));
    rig.listen();
    assert_eq!(rig.disconnects(), 1);
    rig.state(None, "first");
    assert_eq!(rig.session.state(), ConnectionState::Joining);
    rig.state(Some(LOBBY), "second");
    rig.server(Some("b.test"), "token-b");
    rig.serve();
    assert_eq!(rig.connects(), [Ok(())]);
}

#[test]
fn being_removed_while_joining_is_an_answer() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.state(None, "first");
    assert_eq!(rig.connects(), [Err(ConnectError::Removed)]);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
}

#[test]
fn mute_and_deaf_are_op_4_and_nothing_else() {
    let mut rig = Rig::connected(config());
    rig.session.set_self(rig.now, true, true);
    rig.session.set_self(rig.now, true, true);
    rig.listen();
    let [request] = rig.requests()[..] else {
        panic!("one request");
    };
    assert!(request.self_mute && request.self_deaf);
    assert_eq!(request.channel_id, Some(channel(LOBBY)));
    rig.state(Some(LOBBY), "first");
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert_eq!(rig.opens(), 0);
    assert!(rig.said.is_empty(), "{:?}", rig.said);
}

#[test]
fn op_4_that_could_not_be_sent_is_sent_again() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.session.signal_failed(rig.now);
    rig.listen();
    assert_eq!(rig.signals(), [Some(LOBBY)]);
    assert_eq!(rig.troubles(), [VoiceTrouble::Signalling]);
    rig.pass_ms(1_000);
    assert_eq!(rig.signals(), [Some(LOBBY)]);
    rig.pass_ms(5_000);
    assert_eq!(rig.signals(), []);
}

#[test]
fn without_the_main_gateway_a_call_goes_on_and_none_begins() {
    let mut rig = Rig::connected(config());
    rig.session.signalling_closed(rig.now);
    rig.pass_ms(60_000);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    rig.session.connect(rig.now, channel(LOUNGE));
    rig.listen();
    assert_eq!(rig.connects(), [Err(ConnectError::SignallingLost)]);
    rig.session.disconnect(rig.now);
    rig.listen();
    assert_eq!(rig.disconnects(), 1);
    assert_eq!(rig.signals(), []);
}

#[test]
fn no_common_mode_ends_the_call_and_says_so() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.open();
    rig.json(
        json!({"op": 2, "d": {"ssrc": 1, "ip": "203.0.113.7", "port": 5, "modes": ["rot13"]}}),
    );
    let offered = vec!["rot13".to_owned()];
    let error = CallError::NoCommonMode { offered };
    assert_eq!(rig.connects(), [Err(ConnectError::Failed(error))]);
    assert_eq!(rig.signals(), [Some(LOBBY), None]);
    assert_eq!(rig.closes(), [1000]);
}

#[test]
fn a_mode_that_is_refused_gives_way_to_another_that_was_offered() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4016));
    rig.next_link();
    rig.open();
    rig.ready();
    rig.open_udp();
    rig.discovered();
    assert_eq!(
        rig.text_of(1)["data"]["mode"],
        "aead_xchacha20_poly1305_rtpsize"
    );
    rig.cut(Some(4016));
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    assert!(matches!(
        rig.events()[..],
        [
            ..,
            VoiceEvent::Ended(EndReason::Failed(CallError::NoCommonMode { .. })),
            VoiceEvent::State(_)
        ]
    ));
}

#[test]
fn a_socket_that_breaks_in_a_call_is_replaced_with_a_fresh_session() {
    let mut rig = Rig::connected(config());
    let udp = rig.udp.unwrap();
    rig.session.udp_failed(rig.now, udp);
    rig.listen();
    assert_eq!(rig.closes(), [1000]);
    assert_eq!(rig.udp, None);
    assert_eq!(rig.session.state(), ConnectionState::Connecting);
    rig.next_link();
    rig.serve();
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert_ne!(rig.udp, Some(udp));
    rig.pass_ms(60_000);
}

#[test]
fn udp_that_does_not_get_through_is_tried_three_times() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    for round in 1..=3 {
        rig.next_link();
        rig.open();
        rig.text(HELLO);
        rig.ready();
        rig.datagrams.clear();
        rig.open_udp();
        rig.pass_ms(4_999);
        // Five requests in five seconds.
        let sent = rig
            .datagrams
            .iter()
            .filter(|(_, sent)| *sent == Sent::Discovery);
        assert_eq!(sent.count(), 5, "round {round}");
        rig.pass_ms(1);
        assert_eq!(rig.udp, None);
    }
    assert_eq!(
        rig.connects(),
        [Err(ConnectError::Failed(CallError::UdpUnreachable))]
    );
    assert_eq!(
        rig.troubles()
            .iter()
            .filter(|t| **t == VoiceTrouble::Udp)
            .count(),
        3
    );
}
