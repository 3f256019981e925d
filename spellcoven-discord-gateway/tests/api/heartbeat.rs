use std::time::Duration;

use serde_json::json;
use spellcoven_discord_gateway::ConnectionState;

use crate::support::*;

fn beats(rig: &mut Rig) -> Vec<serde_json::Value> {
    rig.take_sent()
        .into_iter()
        .filter(|payload| payload["op"] == 1)
        .collect()
}

#[test]
fn the_first_beat_is_spread_over_the_first_interval() {
    let mut offsets = Vec::new();
    for seed in 0..200 {
        let mut rig = Rig::new(config(seed));
        rig.open();
        let _ = rig.take_sent();
        rig.wake();
        assert_eq!(
            beats(&mut rig),
            [json!({"op": 1, "d": null})],
            "seed {seed}"
        );
        offsets.push((rig.now - rig.start).as_secs_f64() / INTERVAL.as_secs_f64());
    }
    assert!(offsets.iter().all(|offset| (0.0..=1.0).contains(offset)));
    for quarter in 0..4 {
        let low = f64::from(quarter) / 4.0;
        let count = offsets
            .iter()
            .filter(|o| (low..low + 0.25).contains(*o))
            .count();
        assert!(count > 25, "quarter {quarter} has {count} of 200");
    }
}

#[test]
fn beats_follow_the_interval_and_carry_the_last_number() {
    let mut rig = Rig::active(config(1));
    rig.message(&dispatch(17, "TYPING_START", json!({})));
    let mut times = Vec::new();
    for _ in 0..5 {
        rig.wake();
        rig.message(ACK);
        assert_eq!(beats(&mut rig), [json!({"op": 1, "d": 17})]);
        times.push(rig.now);
    }
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], INTERVAL);
    }
}

#[test]
fn the_server_may_ask_for_a_beat_and_gets_it_at_once() {
    let mut rig = Rig::active(config(1));
    let due = rig.protocol.poll_timeout();
    rig.message(BEAT_NOW);
    assert_eq!(beats(&mut rig).len(), 1);
    rig.message(ACK);
    assert_eq!(rig.protocol.poll_timeout(), due, "the schedule stays");
}

#[test]
fn a_server_that_asks_without_end_cannot_make_us_break_the_limit() {
    let mut rig = Rig::active(config(1));
    for _ in 0..1000 {
        rig.message(BEAT_NOW);
    }
    assert!(beats(&mut rig).len() <= 120);
}

#[test]
fn latency_is_from_beat_to_ack() {
    let mut rig = Rig::active(config(1));
    rig.wake();
    rig.now += Duration::from_millis(37);
    rig.message(ACK);
    assert_eq!(
        rig.protocol.heartbeat_latency(),
        Some(Duration::from_millis(37))
    );
    // An ack nobody waits for says nothing.
    rig.now += Duration::from_secs(5);
    rig.message(ACK);
    assert_eq!(
        rig.protocol.heartbeat_latency(),
        Some(Duration::from_millis(37))
    );
}

#[test]
fn silence_for_an_interval_is_a_zombie() {
    let mut rig = Rig::active(config(1));
    rig.wake();
    let beat = rig.now;
    rig.wake();
    assert_eq!(rig.now - beat, INTERVAL);
    assert_eq!(
        rig.take_closes(),
        [4000],
        "not 1000, so that the session lives"
    );
    assert_eq!(rig.protocol.stats().zombies, 1);
    assert_eq!(rig.next_connect().0, RESUME_URL);
}

#[test]
fn frames_without_acks_are_borne_for_one_more_interval() {
    let mut config = config(1);
    config.hello_timeout = Duration::from_secs(20);
    let mut rig = Rig::new(config);
    rig.protocol.handle_connected(rig.now);
    let interval = Duration::from_secs(20);
    rig.message(&hello(interval));
    rig.protocol.identify_granted(rig.now);
    rig.message(&ready(1, "s", &[]));
    rig.wake();
    let first_beat = rig.now;
    let mut seq = 2;
    while rig.protocol.state() == ConnectionState::Active {
        rig.now += Duration::from_secs(1);
        rig.message(&dispatch(seq, "TYPING_START", json!({})));
        seq += 1;
        rig.pass(Duration::ZERO);
    }
    assert_eq!(rig.now - first_beat, interval * 2);
    assert_eq!(rig.protocol.stats().late_acks, 1);
    assert_eq!(rig.protocol.stats().zombies, 1);
}

#[test]
fn no_connection_lives_over_90_s_without_an_ack_whatever_else_arrives() {
    for (seed, interval_s) in [
        (1, 41),
        (2, 45),
        (3, 60),
        (4, 300),
        (5, 100_000),
        (6, 1),
        (7, 0),
    ] {
        let mut rig = Rig::new(config(seed));
        rig.protocol.handle_connected(rig.now);
        rig.message(&hello(Duration::from_secs(interval_s)));
        rig.protocol.identify_granted(rig.now);
        rig.message(&ready(1, "s", &[]));
        // Acked to begin with.
        let mut last_ack = rig.now;
        for _ in 0..3 {
            rig.wake();
            rig.message(ACK);
            last_ack = rig.now;
        }
        let mut seq = 2;
        while rig.protocol.state() == ConnectionState::Active {
            rig.pass(Duration::from_millis(250));
            rig.message(&dispatch(seq, "TYPING_START", json!({})));
            seq += 1;
            let without = rig.now - last_ack;
            assert!(
                without <= Duration::from_millis(90_250),
                "{interval_s} s: {without:?}"
            );
        }
        assert_eq!(rig.protocol.stats().zombies, 1, "{interval_s} s");
    }
}

#[test]
fn while_nothing_is_read_beats_go_on_and_nothing_is_a_zombie() {
    let mut rig = Rig::active(config(1));
    rig.protocol.pause_reading(rig.now);
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
    assert!(beats(&mut rig).len() >= 14);
    rig.protocol.resume_reading(rig.now);
    // The acks stood in the socket all the time.
    rig.message(ACK);
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
    // And from here on the rules hold again.
    rig.pass(Duration::from_secs(90));
    assert_ne!(rig.protocol.state(), ConnectionState::Active);
}

#[test]
fn a_pause_during_the_replay_does_not_time_it_out() {
    let mut config = config(1);
    config.session = Some(stored(5));
    let mut rig = Rig::new(config);
    rig.open();
    rig.protocol.pause_reading(rig.now);
    rig.pass(Duration::from_secs(200));
    assert_eq!(rig.protocol.state(), ConnectionState::Resuming);
    rig.protocol.resume_reading(rig.now);
    rig.message(ACK);
    rig.pass(Duration::from_secs(30));
    rig.message(ACK);
    rig.message(&resumed(6));
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
}
