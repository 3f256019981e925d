use std::time::{Duration, Instant};

use spellcoven_discord_gateway::{Command, CommandError, Id, PresenceStatus};

use crate::support::*;

pub(crate) fn leave() -> Command {
    Command::VoiceState {
        guild_id: Id::new(1),
        channel_id: None,
        self_mute: false,
        self_deaf: true,
    }
}

#[test]
fn commands_wait_for_ready() {
    let mut rig = Rig::new(config(1));
    rig.protocol.handle_command(&leave(), rig.now).unwrap();
    rig.open();
    rig.protocol.identify_granted(rig.now);
    rig.pass(Duration::ZERO);
    assert!(rig.take_sent_op(4).is_none());
    rig.message(&ready(1, "s", &[]));
    let sent = rig.take_sent_op(4).unwrap();
    assert_eq!(
        sent.to_string(),
        r#"{"d":{"channel_id":null,"guild_id":"1","self_deaf":true,"self_mute":false},"op":4}"#
    );
}

#[test]
fn commands_wait_for_resumed() {
    let mut rig = Rig::active(config(1));
    rig.closed(None);
    rig.next_connect();
    rig.protocol.handle_command(&leave(), rig.now).unwrap();
    rig.open();
    assert!(rig.take_sent_op(4).is_none());
    rig.message(&resumed(2));
    assert!(rig.take_sent_op(4).is_some());
}

#[test]
fn a_sent_command_is_never_sent_again() {
    let mut rig = Rig::active(config(1));
    rig.protocol.handle_command(&leave(), rig.now).unwrap();
    rig.pass(Duration::ZERO);
    assert!(rig.take_sent_op(4).is_some());
    rig.closed(Some(4001));
    rig.next_connect();
    rig.open();
    rig.message(&resumed(2));
    assert!(rig.take_sent_op(4).is_none());
}

/// Notes what was sent just now, and acks the beats.
fn note(rig: &mut Rig, log: &mut Vec<(Instant, u64)>) {
    for payload in rig.take_sent() {
        let op = payload["op"].as_u64().unwrap();
        log.push((rig.now, op));
        if op == 1 {
            rig.message(ACK);
        }
    }
}

/// Over ten minutes of more commands than may go, no window of 60 s holds more
/// than 120 messages, heartbeats are never late, and commands are not starved.
#[test]
fn no_minute_has_over_120_messages_and_beats_are_not_held_back() {
    for interval in [41_250, 20_000, 8_000, 5_000, 1_000, 600] {
        let interval = Duration::from_millis(interval);
        let mut config = config(9);
        config.command_queue = 1000;
        let mut rig = Rig::new(config);
        rig.protocol.handle_connected(rig.now);
        rig.message(&hello(interval));
        rig.protocol.identify_granted(rig.now);
        rig.message(&ready(1, "s", &[]));
        let mut log: Vec<(Instant, u64)> = Vec::new();
        let end = rig.now + Duration::from_secs(600);
        while rig.now < end {
            while rig.protocol.handle_command(&leave(), rig.now).is_ok() {}
            rig.pass(Duration::ZERO);
            note(&mut rig, &mut log);
            rig.wake();
            note(&mut rig, &mut log);
        }
        for (index, (at, _)) in log.iter().enumerate() {
            let in_window = log[index..]
                .iter()
                .take_while(|(t, _)| *t - *at < Duration::from_secs(60))
                .count();
            assert!(
                in_window <= 120,
                "{in_window} in a minute, interval {interval:?}"
            );
        }
        let beats: Vec<Instant> = log
            .iter()
            .filter(|(_, op)| *op == 1)
            .map(|(at, _)| *at)
            .collect();
        assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == interval));
        let commands = log.iter().filter(|(_, op)| *op == 4).count();
        let beats = 60.0 / interval.as_secs_f64();
        let least = 10.0 * (110.0 - beats).min(116.0 - beats - 2.0).max(10.0);
        assert!(
            commands as f64 >= least,
            "{commands}, interval {interval:?}"
        );
    }
}

/// An interval whose beats alone are too many: some are left out.
#[test]
fn beats_alone_do_not_break_the_limit() {
    let mut rig = Rig::new(config(9));
    rig.protocol.handle_connected(rig.now);
    rig.message(&hello(Duration::from_millis(50)));
    rig.protocol.identify_granted(rig.now);
    rig.message(&ready(1, "s", &[]));
    let mut log: Vec<(Instant, u64)> = Vec::new();
    let end = rig.now + Duration::from_secs(300);
    while rig.now < end {
        rig.wake();
        note(&mut rig, &mut log);
    }
    for (index, (at, _)) in log.iter().enumerate() {
        let minute = *at + Duration::from_secs(60);
        let within = log[index..].iter().take_while(|(t, _)| *t < minute).count();
        assert!(within <= 120, "{within} in a minute");
    }
    assert_eq!(rig.protocol.stats().zombies, 0);
}

#[test]
fn the_limit_begins_anew_with_each_connection() {
    let mut config = config(1);
    config.command_queue = 1000;
    let mut rig = Rig::active(config);
    for _ in 0..300 {
        rig.protocol.handle_command(&leave(), rig.now).unwrap();
    }
    rig.pass(Duration::ZERO);
    let first = rig.take_sent().len();
    assert!((110..=114).contains(&first), "{first}");
    rig.closed(None);
    rig.next_connect();
    rig.open();
    rig.message(&resumed(2));
    let second = rig.take_sent().len();
    assert!((110..=114).contains(&second), "{second}");
}

#[test]
fn over_4096_bytes_is_an_error_to_the_caller() {
    let user_ids = (0..100).map(|n| Id::new(u64::MAX - n)).collect();
    let fits = Command::Members {
        guild_id: Id::new(1),
        user_ids,
        nonce: None,
    };
    assert!(fits.encode().unwrap().len() <= 4096);
    let text = Some("x".repeat(5000));
    let command = Command::Presence {
        status: PresenceStatus::Online,
        text,
    };
    let mut rig = Rig::active(config(1));
    assert!(matches!(
        rig.protocol.handle_command(&command, rig.now),
        Err(CommandError::TooLarge { size }) if size > 5000
    ));
    rig.pass(Duration::ZERO);
    assert!(rig.take_sent_op(3).is_none());
}

#[test]
fn fields_out_of_range_and_a_full_queue_are_errors() {
    let members = |count: u64, nonce: &str| Command::Members {
        guild_id: Id::new(1),
        user_ids: (1..=count).map(Id::new).collect(),
        nonce: Some(nonce.to_owned()),
    };
    assert!(members(100, "n").encode().is_ok());
    assert!(matches!(
        members(0, "n").encode(),
        Err(CommandError::Invalid { .. })
    ));
    assert!(matches!(
        members(101, "n").encode(),
        Err(CommandError::Invalid { .. })
    ));
    assert!(matches!(
        members(1, &"n".repeat(33)).encode(),
        Err(CommandError::Invalid { .. })
    ));

    let mut rig = Rig::new(config(1));
    for _ in 0..64 {
        rig.protocol.handle_command(&leave(), rig.now).unwrap();
    }
    assert_eq!(
        rig.protocol.handle_command(&leave(), rig.now),
        Err(CommandError::QueueFull)
    );
    rig.protocol.request_shutdown(true, rig.now);
    assert_eq!(
        rig.protocol.handle_command(&leave(), rig.now),
        Err(CommandError::Closed)
    );
}

#[test]
fn presence_sends_all_four_fields() {
    let command = Command::Presence {
        status: PresenceStatus::Dnd,
        text: Some("busy".into()),
    };
    let value: serde_json::Value = serde_json::from_str(&command.encode().unwrap()).unwrap();
    assert_eq!(value["op"], 3);
    assert!(value["d"]["since"].is_null() && value["d"].get("since").is_some());
    assert_eq!(value["d"]["status"], "dnd");
    assert_eq!(value["d"]["afk"], false);
    assert_eq!(value["d"]["activities"][0]["state"], "busy");
    let info = Command::ChannelInfo {
        guild_id: Id::new(7),
    }
    .encode()
    .unwrap();
    assert_eq!(
        info,
        r#"{"op":43,"d":{"guild_id":"7","fields":["status","voice_start_time"]}}"#
    );
}
