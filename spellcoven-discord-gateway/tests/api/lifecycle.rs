use std::time::Duration;

use serde_json::json;
use spellcoven_discord_gateway::{ConnectionState, GatewayError, ProtocolConfig, proto::Output};

use crate::support::*;

#[test]
fn identify_sends_exactly_the_two_intents_and_the_bare_token() {
    let mut rig = Rig::new(config(1));
    assert_eq!(rig.take_connect().as_deref(), Some(MAIN_URL));
    rig.open();
    assert!(
        rig.take_sent().is_empty(),
        "nothing before the queue has granted it"
    );
    rig.protocol.identify_granted(rig.now);
    rig.message("");
    let identify = rig.take_sent_op(2).unwrap();
    assert_eq!(identify["d"]["intents"], 129);
    assert_eq!(identify["d"]["token"], "secret.token");
    assert_eq!(identify["d"]["shard"], json!([0, 1]));
    assert!(identify["d"]["properties"]["os"].is_string());
}

#[test]
fn a_grant_that_comes_too_late_identifies_nobody() {
    let mut rig = Rig::new(config(1));
    rig.open();
    rig.closed(None);
    rig.protocol.identify_granted(rig.now);
    rig.pass(Duration::from_millis(1));
    assert!(rig.take_sent_op(2).is_none());
}

#[test]
fn ready_makes_a_session_and_events_carry_their_numbers() {
    let mut rig = Rig::new(config(1));
    rig.identify();
    let session = rig.protocol.session().cloned().unwrap();
    assert_eq!(
        (
            session.session_id.as_str(),
            session.resume_url.as_str(),
            session.seq
        ),
        ("session-1", RESUME, 1)
    );
    rig.message(&dispatch(
        2,
        "GUILD_DELETE",
        json!({"id": "5", "unavailable": true}),
    ));
    rig.message(&dispatch(3, "TYPING_START", json!({})));
    rig.message(&dispatch(4, "GUILD_DELETE", json!({"id": "5"})));
    let seqs: Vec<u64> = rig.take_events().iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2, 4]);
    assert_eq!(rig.protocol.session().unwrap().seq, 4);
    assert_eq!(rig.protocol.stats().skipped_events, 1);
}

#[test]
fn reconnect_before_hello_backs_off_and_is_no_error() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.protocol.handle_connected(rig.now);
    rig.message(RECONNECT);
    assert_eq!(rig.take_closes(), [4000]);
    let (url, wait) = rig.next_connect();
    assert_eq!(url, MAIN_URL);
    assert!(wait >= Duration::from_millis(500), "{wait:?}");
    rig.identify();
}

#[test]
fn reconnect_on_an_active_session_resumes_at_once() {
    let mut rig = Rig::active(config(1));
    rig.message(RECONNECT);
    assert_eq!(rig.take_closes(), [4000]);
    let (url, wait) = rig.next_connect();
    assert_eq!((url.as_str(), wait), (RESUME_URL, Duration::ZERO));
    rig.open();
    let resume = rig.take_sent_op(6).unwrap();
    assert_eq!(
        resume["d"],
        json!({"token": "secret.token", "session_id": "session-1", "seq": 1})
    );
}

#[test]
fn hello_that_does_not_come_is_given_up() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.protocol.handle_connected(rig.now);
    rig.pass(Duration::from_millis(19_999));
    assert!(rig.take_closes().is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take_closes(), [4000]);
    assert_eq!(rig.protocol.stats().timeouts, 1);
    rig.next_connect();
}

#[test]
fn a_connection_that_does_not_open_is_given_up() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.take_closes(), [4000]);
    rig.next_connect();
}

#[test]
fn ready_that_does_not_come_is_given_up_when_acks_stop() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.open();
    rig.protocol.identify_granted(rig.now);
    // No ack at all: the READY time-out, or the heartbeat, whichever is first.
    rig.pass(Duration::from_secs(61));
    assert_ne!(rig.protocol.state(), ConnectionState::Identifying);
}

#[test]
fn ready_is_waited_for_while_heartbeats_are_acked_but_not_for_ever() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.open();
    rig.protocol.identify_granted(rig.now);
    let began = rig.now;
    while rig.protocol.state() == ConnectionState::Identifying {
        rig.wake();
        if rig.protocol.state() == ConnectionState::Identifying {
            rig.message(ACK);
        }
        assert!(rig.now - began <= Duration::from_secs(300));
    }
    assert!(rig.now - began >= Duration::from_secs(299));
    assert_eq!(rig.protocol.stats().timeouts, 1);
    assert_eq!(rig.protocol.stats().identifies, 1);
}

#[test]
fn backoff_grows_and_is_set_back_only_by_ready() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    let mut waits = Vec::new();
    for round in 0..9 {
        if round % 2 == 0 {
            rig.connect_failed();
        } else {
            // A connection that opens sets nothing back.
            rig.open();
            rig.closed(None);
        }
        waits.push(rig.next_connect().1.as_secs_f64());
    }
    for (wait, base) in waits
        .iter()
        .zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])
    {
        assert!(*wait >= base * 0.5 && *wait <= base * 1.5, "{waits:?}");
    }
    rig.identify();
    rig.now += Duration::from_secs(30);
    rig.closed(None);
    assert_eq!(rig.next_connect().1, Duration::ZERO);
}

#[test]
fn a_service_that_accepts_and_cuts_is_not_met_with_a_hot_loop() {
    let mut rig = Rig::new(config(7));
    let _ = rig.take_connect();
    rig.identify();
    let began = rig.now;
    for _ in 0..50 {
        rig.closed(None);
        let (_, wait) = rig.next_connect();
        assert!(wait >= Duration::from_millis(500));
        rig.open();
        rig.message(&resumed(2));
    }
    assert!(rig.now - began > Duration::from_secs(50));
}

#[test]
fn malformed_messages_close_and_resume() {
    for junk in [
        "{",
        "[]",
        "null",
        "7",
        "\"x\"",
        "{\"op\":\"ten\"}",
        "{\"op\":-1}",
        "\u{0}",
    ] {
        let mut rig = Rig::active(config(1));
        rig.message(junk);
        assert_eq!(rig.take_closes(), [4000], "{junk}");
        assert_eq!(rig.protocol.stats().malformed, 1);
        assert_eq!(rig.next_connect().0, RESUME_URL);
        rig.open();
        assert!(rig.take_sent_op(6).is_some());
    }
    let mut rig = Rig::active(config(1));
    rig.protocol.handle_message([0xff, 0xfe], rig.now);
    assert_eq!(rig.protocol.stats().malformed, 1);
}

#[test]
fn a_broken_ready_or_hello_is_malformed() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.protocol.handle_connected(rig.now);
    rig.message(r#"{"op":10,"d":{"heartbeat_interval":"soon"}}"#);
    assert_eq!(rig.take_closes(), [4000]);
    rig.next_connect();
    rig.open();
    rig.protocol.identify_granted(rig.now);
    rig.message(&dispatch(1, "READY", json!({"v": 10})));
    assert_eq!(rig.take_closes(), [4000]);
    assert_eq!(rig.protocol.stats().malformed, 2);
    assert!(rig.protocol.session().is_none());
}

#[test]
fn unknown_opcodes_and_events_are_counted_and_harmless() {
    let mut rig = Rig::active(config(1));
    rig.message(r#"{"op":12,"d":{"x":[1,2,{}]}}"#);
    rig.message(r#"{"op":18446744073709551615}"#);
    rig.message(&dispatch(2, "SOMETHING_NEW", json!({"a": 1})));
    rig.message(&hello(INTERVAL));
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
    let stats = rig.protocol.stats();
    assert_eq!(
        (stats.unknown_ops, stats.skipped_events, stats.unexpected),
        (2, 1, 1)
    );
    assert_eq!(rig.protocol.session().unwrap().seq, 2);
}

#[test]
fn events_before_ready_are_not_taken_for_ones_of_a_session() {
    let mut rig = Rig::new(config(1));
    let _ = rig.take_connect();
    rig.protocol.handle_connected(rig.now);
    rig.message(&dispatch(9, "GUILD_DELETE", json!({"id": "5"})));
    rig.message(&hello(INTERVAL));
    rig.message(&dispatch(9, "GUILD_DELETE", json!({"id": "5"})));
    assert!(rig.take_events().is_empty());
    assert_eq!(rig.protocol.stats().unexpected, 2);
}

#[test]
fn shutting_down_closes_with_the_code_that_says_what_becomes_of_the_session() {
    let mut rig = Rig::active(config(1));
    rig.protocol.request_shutdown(true, rig.now);
    assert_eq!(
        rig.protocol.poll_output(),
        Some(Output::Close { code: 4000 })
    );
    assert_eq!(rig.protocol.state(), ConnectionState::Stopped);
    assert!(rig.protocol.session().is_some());
    assert_eq!(rig.protocol.poll_timeout(), None);

    let mut rig = Rig::active(config(1));
    rig.protocol.request_shutdown(false, rig.now);
    assert_eq!(
        rig.protocol.poll_output(),
        Some(Output::Close { code: 1000 })
    );
    assert!(rig.protocol.session().is_none());
    rig.protocol.request_shutdown(true, rig.now);
    rig.message(RECONNECT);
    rig.closed(None);
    assert!(
        rig.take_connect().is_none(),
        "after the end nothing happens"
    );
}

#[test]
fn a_reconnect_never_closes_with_1000_or_1001() {
    for seed in 0..20 {
        let mut rig = Rig::active(config(seed));
        rig.message(&invalid_session(seed % 2 == 0));
        rig.next_connect();
        rig.protocol.handle_connected(rig.now);
        rig.message(RECONNECT);
        rig.next_connect();
        rig.protocol.handle_connected(rig.now);
        rig.message("{");
        rig.next_connect();
        let codes = rig.take_closes();
        assert_eq!(codes, [4000, 4000, 4000], "seed {seed}");
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let faulty: [fn(&mut ProtocolConfig); 4] = [
        |config| config.shard = [1, 1],
        |config| config.shard = [0, 0],
        |config| config.gateway_url = "https://gateway.discord.gg".into(),
        |config| config.gateway_url = "gateway".into(),
    ];
    for make_faulty in faulty {
        let mut config = config(1);
        make_faulty(&mut config);
        let rig = Rig::new(config);
        assert_eq!(rig.protocol.state(), ConnectionState::Failed);
        assert!(matches!(
            rig.said.last(),
            Some(Output::Fatal(GatewayError::Configuration { .. }))
        ));
    }
}
