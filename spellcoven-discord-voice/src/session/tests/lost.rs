//! What comes late, and what is lost in a cut.

use super::{audio::Script, calls::serve_fresh, *};
use crate::session::EndReason;

/// Up to op 1, which is looked at.
fn selected() -> Rig {
    let mut rig = Rig::identified(config());
    rig.open_udp();
    rig.discovered();
    rig.text_of(1);
    rig
}

fn has_ended(rig: &mut Rig) -> bool {
    let mut events = rig.events().into_iter();
    events.any(|event| matches!(event, VoiceEvent::Ended(_)))
}

#[test]
fn a_rejoin_that_the_main_gateway_answers_minutes_later_goes_through() {
    let mut config = config();
    config.rejoin = true;
    for restarted in [false, true] {
        let mut rig = Rig::connected(config.clone());
        rig.cut(Some(4006));
        assert_eq!(rig.signals(), [None, Some(LOBBY)]);
        rig.pass_ms(120_000);
        assert_eq!(rig.session.state(), ConnectionState::AwaitingServer);
        if restarted {
            rig.session.gateway_restarted(rig.now);
            rig.listen();
            assert_eq!(rig.signals(), [Some(LOBBY)]);
        }
        // Both requests waited in its queue.
        rig.state(None, "first");
        rig.state(Some(LOBBY), "second");
        rig.server(Some("b.test"), "token-b");
        serve_fresh(&mut rig, "second", "token-b", LOBBY);
        assert_eq!(rig.signals(), []);
        assert!(!has_ended(&mut rig));
    }
}

#[test]
fn a_rejoin_that_is_let_in_late_is_not_left_without_a_limit() {
    let mut config = config();
    config.rejoin = true;
    let mut rig = Rig::connected(config);
    rig.cut(Some(4006));
    rig.pass_ms(60_000);
    rig.state(Some(LOBBY), "second");
    rig.said.clear();
    rig.pass_ms(29_999);
    assert_eq!(rig.signals(), []);
    rig.pass_ms(1);
    assert_eq!(rig.signals(), [None, Some(LOBBY)]);
}

#[test]
fn without_rejoin_an_unanswered_one_is_the_end() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4006));
    rig.pass_ms(10_000);
    assert!(rig.events().contains(&VoiceEvent::Ended(EndReason::NoWord)));
    assert_eq!(rig.signals(), [None, Some(LOBBY), None]);
}

#[test]
fn a_connect_while_a_rejoin_waits_is_a_join() {
    let mut config = config();
    config.rejoin = true;
    let mut rig = Rig::connected(config);
    rig.cut(Some(4006));
    rig.pass_ms(60_000);
    rig.said.clear();
    rig.session.connect(rig.now, channel(LOUNGE));
    rig.listen();
    assert_eq!(rig.signals(), [Some(LOUNGE)]);
    assert_eq!(rig.session.state(), ConnectionState::Joining);
    rig.pass_ms(10_000);
    assert_eq!(rig.connects(), [Err(ConnectError::NoAnswer)]);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
}

#[test]
fn a_rejoin_has_thirty_seconds_for_the_server_once_it_is_let_in() {
    for rejoin in [false, true] {
        let mut config = config();
        config.rejoin = rejoin;
        let mut rig = Rig::connected(config);
        rig.cut(Some(4006));
        rig.state(None, "first");
        rig.state(Some(LOBBY), "second");
        rig.said.clear();
        rig.pass_ms(29_000);
        assert_eq!(rig.signals(), []);
        assert!(!has_ended(&mut rig));
        rig.server(Some("b.test"), "token-b");
        serve_fresh(&mut rig, "second", "token-b", LOBBY);
    }
}

#[test]
fn a_rejoin_without_a_server_is_tried_again_and_ends() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4006));
    for _ in 0..2 {
        rig.state(None, "first");
        rig.state(Some(LOBBY), "second");
        assert_eq!(rig.signals(), [None, Some(LOBBY)]);
        rig.pass_ms(29_999);
        assert!(!has_ended(&mut rig));
        rig.pass_ms(1);
    }
    assert!(has_ended(&mut rig));
    assert_eq!(rig.signals(), [None]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn the_late_answer_to_our_own_leaving_is_no_kick() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4006));
    // The main gateway was reconnecting.
    rig.pass_ms(6_000);
    rig.state(None, "first");
    assert_eq!(rig.session.state(), ConnectionState::Joining);
    rig.state(Some(LOBBY), "second");
    rig.server(Some("b.test"), "token-b");
    serve_fresh(&mut rig, "second", "token-b", LOBBY);
    assert!(!has_ended(&mut rig));
}

#[test]
fn op_1_that_was_lost_in_a_cut_is_sent_again() {
    let mut rig = selected();
    rig.resume();
    assert_eq!(rig.text_of(1)["data"]["port"], 41337);
    rig.describe(1);
    assert_eq!(rig.connects(), [Ok(())]);
    // With the keys there, it is not said again.
    rig.resume();
    assert_eq!(rig.texts(1), Vec::<Value>::new());
}

#[test]
fn op_1_of_a_discovery_in_a_cut_is_sent_once() {
    let mut rig = Rig::identified(config());
    rig.open_udp();
    rig.cut(None);
    rig.discovered();
    assert_eq!(rig.texts(1), Vec::<Value>::new());
    rig.next_link();
    rig.open();
    rig.text(HELLO);
    rig.text(RESUMED);
    rig.text_of(1);
    rig.describe(1);
    assert_eq!(rig.connects(), [Ok(())]);
}

#[test]
fn keys_that_do_not_come_after_op_1_are_asked_for_by_a_fresh_session() {
    let mut rig = selected();
    rig.pass_ms(9_999);
    assert_eq!(rig.closes().len(), 0);
    rig.pass_ms(1);
    assert_eq!(rig.closes(), [1000]);
    assert_eq!(rig.udp, None);
    assert!(matches!(
        rig.troubles()[..],
        [VoiceTrouble::LinkFailed { .. }]
    ));
    rig.next_link();
    rig.serve();
    assert_eq!(rig.connects(), [Ok(())]);
    rig.pass_ms(60_000);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
}

#[test]
fn a_fresh_session_that_is_on_its_way_is_not_asked_for_twice() {
    let mut rig = selected();
    rig.pass_ms(9_990);
    rig.cut(Some(4009));
    rig.said.clear();
    // The limit of the old op 1 falls into the wait, or into the opening of the link.
    rig.next_link();
    rig.pass_ms(20);
    assert_eq!(rig.closes().len(), 0);
    assert_eq!(rig.troubles(), []);
    rig.serve();
    assert_eq!(rig.connects(), [Ok(())]);
}

#[test]
fn op_5_that_was_lost_in_a_cut_is_said_again() {
    let mut rig = Rig::connected(config());
    rig.resume();
    assert_eq!(rig.texts(5), Vec::<Value>::new(), "nothing was said");
    let script = Script::default();
    script.say(0..200);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(100);
    assert_eq!(rig.text_of(5)["speaking"], 1);
    rig.resume();
    assert_eq!(
        rig.text_of(5),
        json!({"speaking": 1, "delay": 0, "ssrc": SSRC})
    );
}

#[test]
fn a_code_that_blames_the_client_is_forgotten_after_thirty_seconds_of_health() {
    let mut rig = Rig::connected(config());
    for _ in 0..3 {
        rig.pass_ms(30_000);
        rig.cut(Some(4020));
        assert_eq!(rig.session.state(), ConnectionState::Connecting);
        rig.next_link();
        rig.serve();
        assert_eq!(rig.session.state(), ConnectionState::Connected);
    }
    // The second one in a row is the last, even if the first came after health.
    rig.pass_ms(30_000);
    rig.cut(Some(4020));
    rig.next_link();
    rig.serve();
    rig.cut(Some(4020));
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
}

fn answer_ping(rig: &mut Rig, sequence: u8) {
    rig.datagram(&mut [0x13, 0x37, 0xf0, 0x0d, 0, 0, 0, sequence]);
}

#[test]
fn a_path_that_was_open_and_is_silent_for_half_a_minute_is_replaced() {
    let mut rig = Rig::connected(config());
    rig.pass_ms(1);
    answer_ping(&mut rig, 1);
    // The pings from 5 s to 30 s have no answer.
    rig.pass_ms(34_998);
    assert!(rig.udp.is_some());
    rig.pass_ms(1);
    assert_eq!(rig.udp, None);
    assert_eq!(rig.closes(), [1000]);
    assert_eq!(rig.troubles(), [VoiceTrouble::Udp]);
    rig.next_link();
    rig.serve();
    assert_eq!(rig.session.state(), ConnectionState::Connected);
}

#[test]
fn a_path_is_not_dead_where_anything_comes_or_no_ping_was_ever_answered() {
    let mut rig = Rig::connected(config());
    let udp = rig.udp;
    rig.pass_ms(120_000);
    assert_eq!(rig.udp, udp, "this server does not answer pings");
    answer_ping(&mut rig, 25);
    for _ in 0..10 {
        rig.pass_ms(25_000);
        rig.datagram(&mut [0x80, 0x78, 0, 1]);
    }
    assert_eq!(rig.udp, udp);
}

#[test]
fn while_the_link_is_away_the_path_is_not_judged() {
    let mut rig = Rig::connected(config());
    rig.pass_ms(1);
    answer_ping(&mut rig, 1);
    rig.pass_ms(33_000);
    rig.cut(None);
    rig.next_link();
    rig.pass_ms(6_000);
    rig.open();
    rig.text(HELLO);
    rig.text(RESUMED);
    rig.pass_ms(20_000);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert!(rig.udp.is_some());
}
