//! The parts of the voice gateway that stand alone; the machine is tested with the session.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use twilight_model::id::Id;

use super::{
    CloseReaction, Incoming, Output, VoiceGateway,
    backoff::Backoff,
    heartbeat::{Heartbeat, Pulse},
    incoming::{parse_binary, parse_text},
    outgoing::Access,
};

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Line by line as Discord's documents and the observations have it.
#[test]
fn each_code_has_its_reaction() {
    let page = [
        (None, CloseReaction::Resume),
        (Some(1000), CloseReaction::Resume),
        (Some(1001), CloseReaction::Resume),
        (Some(1006), CloseReaction::Resume),
        (Some(4001), CloseReaction::IdentifyOnce),
        (Some(4002), CloseReaction::IdentifyOnce),
        (Some(4003), CloseReaction::Identify),
        (Some(4004), CloseReaction::Rejoin),
        (Some(4005), CloseReaction::Identify),
        (Some(4006), CloseReaction::Rejoin),
        (Some(4009), CloseReaction::Identify),
        (Some(4011), CloseReaction::Rejoin),
        (Some(4012), CloseReaction::GiveUp),
        (Some(4013), CloseReaction::Resume),
        (Some(4014), CloseReaction::WaitForSignal),
        (Some(4015), CloseReaction::NewServer),
        (Some(4016), CloseReaction::GiveUp),
        (Some(4017), CloseReaction::GiveUp),
        (Some(4020), CloseReaction::IdentifyOnce),
        (Some(4021), CloseReaction::GiveUp),
        (Some(4022), CloseReaction::WaitForSignal),
        (Some(4800), CloseReaction::Identify),
        (Some(4999), CloseReaction::Resume),
    ];
    for (code, expected) in page {
        assert_eq!(CloseReaction::to(code), expected, "{code:?}");
    }
}

/// The table for people says what the code does, here and in docs/VOICE.md, and leaves none out.
#[test]
fn the_tables_in_words_say_the_same() {
    let rustdoc = include_str!("close.rs").replace("/// ", "");
    let page = include_str!("../../../docs/VOICE.md");
    for (place, text) in [("rustdoc", rustdoc.as_str()), ("docs/VOICE.md", page)] {
        let mut told: Vec<u16> = Vec::new();
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, codes, _, reaction, ..] = cells[..] else {
                continue;
            };
            for code in codes.split(", ").filter_map(|code| code.parse().ok()) {
                let name = format!("{:?}", CloseReaction::to(Some(code)));
                assert!(
                    reaction.contains(&format!("`{name}`")),
                    "{place}, {code}: {reaction} is not {name}"
                );
                told.push(code);
            }
        }
        let expected: Vec<u16> = (3000..=4999)
            .filter(|code| CloseReaction::to(Some(*code)) != CloseReaction::Resume || *code == 4013)
            .collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{place}");
    }
}

#[test]
fn the_first_wait_is_short_and_then_it_doubles_to_thirty_seconds() {
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut backoff = Backoff::default();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
        for base in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0] {
            let wait = backoff.next(&mut rng).as_secs_f64();
            assert!(
                wait >= base * 0.5 && wait <= (base * 1.5f64).min(30.0),
                "{wait} for {base}, seed {seed}"
            );
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
    }
}

#[test]
fn no_interval_makes_a_busy_loop_or_hides_a_dead_link() {
    let now = start();
    for interval in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(1_000_000),
    ] {
        let mut heart = Heartbeat::new(interval, 0.999, now);
        let mut beats = 0;
        let mut at = now;
        while at < now + Duration::from_secs(20) {
            at = heart.next().max(at + Duration::from_millis(1));
            if heart.pulse(at) == Pulse::Beat {
                heart.sent(beats, at);
                heart.acked(Some(beats), at);
                beats += 1;
            }
        }
        assert!((3..=201).contains(&beats), "{beats} of {interval:?}");
    }
}

#[test]
fn a_caller_that_comes_late_does_not_take_the_link_for_dead() {
    let now = start();
    let mut heart = Heartbeat::new(Duration::from_secs(4), 0.0, now);
    assert_eq!(heart.pulse(now), Pulse::Beat);
    heart.sent(1, now);
    // The process slept for a minute; the ack lies in the socket.
    let woken = now + Duration::from_secs(60);
    assert_eq!(heart.pulse(woken), Pulse::Quiet);
    heart.acked(None, woken);
    assert_eq!(heart.pulse(woken + Duration::from_secs(4)), Pulse::Beat);
    heart.sent(2, woken + Duration::from_secs(4));
    assert_eq!(heart.pulse(woken + Duration::from_secs(8)), Pulse::Dead);
}

#[test]
fn ids_are_strings_or_numbers_and_never_zero() {
    let ids = |text: &str| match parse_text(text) {
        Ok((Incoming::ClientsConnect { user_ids }, seq)) => (user_ids, seq),
        other => panic!("{other:?}"),
    };
    let text =
        r#"{"op":11,"d":{"user_ids":["18446744073709551615",7,"0",0,"x",null,-1,1.5]},"seq":0}"#;
    assert_eq!(ids(text), (vec![u64::MAX, 7], Some(0)));
    assert_eq!(
        ids(r#"{"op":11,"d":{"user_ids":[]},"seq":"5"}"#),
        (vec![], None)
    );
}

#[test]
fn speaking_may_be_a_truth_value_and_hello_a_fraction() {
    let text = r#"{"op":5,"d":{"user_id":"7","ssrc":8,"speaking":true}}"#;
    let (Incoming::Speaking { speaking, .. }, None) = parse_text(text).unwrap() else {
        panic!("op 5");
    };
    assert_eq!(speaking, 1);
    let (Incoming::Hello { interval }, _) =
        parse_text(r#"{"op":8,"d":{"heartbeat_interval":13750.5}}"#).unwrap()
    else {
        panic!("op 8");
    };
    assert_eq!(interval, Duration::from_micros(13_750_500));
    for interval in ["1e300", "-1", "null", "\"5\""] {
        let text = format!(r#"{{"op":8,"d":{{"heartbeat_interval":{interval}}}}}"#);
        assert!(parse_text(&text).is_err(), "{interval}");
    }
}

#[test]
fn binary_messages_have_a_number_in_front() {
    assert_eq!(
        parse_binary(&[1, 2, 30, 4, 5]),
        Ok((0x0102, 30, &[4, 5][..]))
    );
    assert_eq!(parse_binary(&[0, 0, 25]), Ok((0, 25, &[][..])));
    assert!(parse_binary(&[0, 0]).is_err());
}

#[test]
fn what_is_sent_does_not_show_in_debug() {
    let now = start();
    let access = Access {
        guild_id: Id::new(1),
        channel_id: Id::new(1),
        user_id: Id::new(1),
        session_id: String::new(),
        token: crate::signal::VoiceServerToken::new("hush"),
        endpoint: "a.discord.media".to_owned(),
    };
    let mut link = VoiceGateway::new(access, 0, fastrand::Rng::with_seed(1), now);
    link.opened(now);
    link.text(r#"{"op":8,"d":{"heartbeat_interval":5000}}"#, now);
    let (mut secret, mut shown) = (0, String::new());
    let mut look = |link: &mut VoiceGateway| {
        shown += &format!("{link:?}");
        while let Some(output) = link.poll() {
            secret +=
                usize::from(matches!(&output, Output::Text { text, .. } if text.contains("hush")));
            shown += &format!("{output:?}");
        }
    };
    look(&mut link);
    let ready = r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":1,"modes":[]}}"#;
    link.text(ready, now);
    link.closed(None, now);
    link.send("hush, wait".to_owned(), now);
    look(&mut link);
    assert!(secret > 0, "nothing was identified");
    assert!(shown.contains("bytes"));
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn the_endpoint_is_taken_as_it_is_but_for_port_80() {
    let url = |endpoint: &str| {
        Access {
            guild_id: Id::new(1),
            channel_id: Id::new(1),
            user_id: Id::new(1),
            session_id: String::new(),
            token: crate::signal::VoiceServerToken::new("t"),
            endpoint: endpoint.to_owned(),
        }
        .url()
    };
    assert_eq!(
        url("a.discord.media:2048"),
        "wss://a.discord.media:2048/?v=8"
    );
    assert_eq!(url("a.discord.media:443"), "wss://a.discord.media:443/?v=8");
    assert_eq!(url("a.discord.media:80"), "wss://a.discord.media/?v=8");
    assert_eq!(url("a.discord.media"), "wss://a.discord.media/?v=8");
    assert_eq!(url("[::1]:8080"), "wss://[::1]:8080/?v=8");
}

proptest! {
    #[test]
    fn reading_never_panics(text: String, bytes: Vec<u8>) {
        let _ = parse_text(&text);
        let _ = parse_binary(&bytes);
    }

    #[test]
    fn nor_does_json_of_any_shape(op in 0u64..40, d in json(3)) {
        let text = serde_json::json!({"op": op, "d": d, "seq": 1}).to_string();
        let _ = parse_text(&text);
    }
}

fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let keys = prop::sample::select(vec![
        "ssrc",
        "ip",
        "port",
        "modes",
        "mode",
        "secret_key",
        "user_id",
        "user_ids",
        "speaking",
        "t",
        "heartbeat_interval",
        "audio_ssrc",
        "dave_protocol_version",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[0-9a-z.]{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(depth, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..40).prop_map(Into::into),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
