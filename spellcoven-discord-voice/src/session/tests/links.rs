//! Close codes, resumes, heartbeats.

use super::*;
use crate::{
    CloseReaction,
    session::{CallError, EndReason},
};

/// Identify (0) or Resume (7)?
fn first_word(rig: &mut Rig) -> u64 {
    let mut words: Vec<u64> = Vec::new();
    for op in [0, 7] {
        words.extend(rig.texts(op).iter().map(|_| op));
    }
    assert_eq!(words.len(), 1);
    words.remove(0)
}

/// The session does what the table says, for every code and for none.
#[test]
fn every_close_code_has_its_reaction() {
    for code in [None].into_iter().chain(
        (1000..=1015)
            .chain(4000..=4030)
            .chain([4800, 4999])
            .map(Some),
    ) {
        let mut rig = Rig::connected(config());
        rig.cut(code);
        let troubles = rig.troubles();
        let reaction = CloseReaction::to(code);
        match reaction {
            CloseReaction::Resume | CloseReaction::NewServer => {
                assert_eq!(troubles, [VoiceTrouble::LinkLost { code, reaction }]);
                assert_eq!(rig.session.state(), ConnectionState::Resuming, "{code:?}");
                rig.next_link();
                assert!(rig.udp.is_some(), "the media go on");
                rig.open();
                assert_eq!(first_word(&mut rig), 7, "{code:?}");
            }
            CloseReaction::Identify | CloseReaction::IdentifyOnce => {
                assert_eq!(troubles, [VoiceTrouble::LinkLost { code, reaction }]);
                assert_eq!(rig.session.state(), ConnectionState::Connecting, "{code:?}");
                rig.next_link();
                rig.open();
                assert_eq!(first_word(&mut rig), 0, "{code:?}");
            }
            CloseReaction::WaitForSignal => {
                assert_eq!(
                    rig.session.state(),
                    ConnectionState::AwaitingServer,
                    "{code:?}"
                );
                assert_eq!(rig.udp, None);
                rig.pass_ms(9_999);
                assert_eq!((rig.link, rig.opens()), (None, 0), "it waits");
                rig.pass_ms(1);
                assert!(rig.events().contains(&VoiceEvent::Ended(EndReason::NoWord)));
                assert_eq!(rig.session.state(), ConnectionState::Disconnected);
            }
            CloseReaction::Rejoin => {
                assert_eq!(rig.signals(), [None, Some(LOBBY)], "{code:?}");
                assert_eq!(rig.session.state(), ConnectionState::Joining);
            }
            CloseReaction::GiveUp => {
                if code == Some(4016) {
                    // Another mode was offered: see the test of that name.
                    continue;
                }
                assert_eq!(
                    rig.session.state(),
                    ConnectionState::Disconnected,
                    "{code:?}"
                );
                assert_eq!(rig.signals(), [None]);
                rig.pass_ms(600_000);
                assert_eq!(rig.opens(), 0, "no loop of 4017");
            }
        }
    }
}

#[test]
fn what_cannot_be_mended_says_why() {
    let reason = |code: u16| {
        let mut rig = Rig::connected(config());
        rig.cut(Some(code));
        let ended = rig.events().into_iter().find_map(|event| match event {
            VoiceEvent::Ended(EndReason::Failed(error)) => Some(error),
            _ => None,
        });
        ended.unwrap_or_else(|| panic!("{code}"))
    };
    assert_eq!(reason(4012), CallError::Refused { code: 4012 });
    assert_eq!(reason(4017), CallError::EncryptionRequired);
    assert_eq!(reason(4021), CallError::RateLimited);
}

#[test]
fn a_resume_names_the_last_number_over_both_kinds_of_message() {
    let mut rig = Rig::connected(config());
    rig.json(json!({"op": 11, "seq": 65535, "d": {"user_ids": ["777"]}}));
    // The counter wraps, and 0 is a number like any other.
    rig.session
        .link_binary(rig.now, rig.link(), &[0, 0, 25, 1, 2, 3]);
    rig.listen();
    rig.cut(None);
    let wait = rig.next_link();
    assert!(wait <= Duration::from_millis(100), "{wait:?}");
    assert_eq!(rig.url, "wss://a.test:2048/?v=8");
    rig.open();
    assert_eq!(
        rig.text_of(7),
        json!({"server_id": "900", "channel_id": "901", "session_id": "first", "token": "token-a", "seq_ack": 0})
    );
    // The replay may come before op 9.
    rig.text(HELLO);
    rig.json(json!({"op": 13, "seq": 1, "d": {"user_id": "777"}}));
    assert_eq!(rig.session.state(), ConnectionState::Resuming);
    rig.text(RESUMED);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert!(rig.session.participants().is_empty());
    rig.pass_ms(5_000);
    assert_eq!(rig.beats.last().unwrap()["seq_ack"], 1);
    assert_eq!(rig.session.stats().counts.resumes, 1);
}

#[test]
fn zero_is_a_number_in_text_as_well() {
    let mut rig = Rig::connected(config());
    rig.json(json!({"op": 11, "seq": 65535, "d": {"user_ids": ["777"]}}));
    rig.json(json!({"op": 11, "seq": 0, "d": {"user_ids": ["778"]}}));
    rig.cut(None);
    rig.next_link();
    rig.open();
    assert_eq!(rig.text_of(7)["seq_ack"], 0);
}

#[test]
fn before_anything_with_a_number_seq_ack_is_minus_one() {
    let mut rig = Rig::identified(config());
    rig.pass_ms(5_000);
    assert_eq!(rig.beats.first().unwrap()["seq_ack"], -1);
}

#[test]
fn three_resumes_without_an_answer_are_followed_by_an_identify() {
    let mut rig = Rig::connected(config());
    rig.cut(None);
    for _ in 0..3 {
        rig.next_link();
        rig.open();
        assert_eq!(first_word(&mut rig), 7);
        rig.cut(None);
    }
    rig.next_link();
    assert!(rig.udp.is_some());
    rig.open();
    assert_eq!(first_word(&mut rig), 0);
    assert_eq!(rig.udp, None, "the old session's media end with it");
}

#[test]
fn five_identifies_for_one_server_then_two_rejoins_then_the_end() {
    let mut rig = Rig::connected(config());
    for rejoin in 0..3 {
        if rejoin > 0 {
            assert_eq!(rig.signals(), [None, Some(LOBBY)]);
            rig.state(None, "first");
            rig.state(Some(LOBBY), "next");
            rig.server(Some("a.test"), "token");
            rig.open();
            assert_eq!(first_word(&mut rig), 0);
        } else {
            rig.said.clear();
        }
        let mut waits = Vec::new();
        for _ in 0..4 {
            rig.cut(Some(4009));
            waits.push(rig.next_link().as_secs_f64());
            rig.open();
            assert_eq!(first_word(&mut rig), 0);
        }
        assert!(waits[0] <= 0.1, "{waits:?}");
        for (wait, base) in waits[1..].iter().zip([1.0, 2.0, 4.0]) {
            assert!((0.5 * base..=1.5 * base).contains(wait), "{waits:?}");
        }
        rig.cut(Some(4009));
    }
    let events = rig.events();
    let reason = EndReason::Failed(CallError::SessionRefused { code: Some(4009) });
    assert!(events.contains(&VoiceEvent::Ended(reason)), "{events:?}");
    assert_eq!(rig.signals(), [None]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn thirty_seconds_of_health_let_the_counts_begin_anew() {
    let mut rig = Rig::connected(config());
    for _ in 0..20 {
        rig.pass_ms(30_000);
        rig.cut(Some(4009));
        let wait = rig.next_link();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        rig.serve();
        assert_eq!(rig.session.state(), ConnectionState::Connected);
    }
    assert_eq!(rig.signals(), []);
}

#[test]
fn a_code_that_blames_the_client_ends_the_call_the_second_time() {
    for code in [4001, 4002, 4020] {
        let mut rig = Rig::connected(config());
        rig.cut(Some(code));
        rig.next_link();
        rig.serve();
        assert_eq!(rig.session.state(), ConnectionState::Connected);
        rig.said.clear();
        rig.cut(Some(4020));
        let reason = EndReason::Failed(CallError::Refused { code: 4020 });
        assert!(rig.events().contains(&VoiceEvent::Ended(reason)));
    }
}

#[test]
fn after_a_crash_of_the_server_resume_then_identify_then_wait() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4015));
    let mut words = Vec::new();
    for _ in 0..3 {
        rig.next_link();
        rig.open();
        words.push(first_word(&mut rig));
        rig.cut(None);
    }
    assert_eq!(words, [7, 0, 0]);
    assert_eq!(rig.session.state(), ConnectionState::AwaitingServer);
    assert!(rig.troubles().contains(&VoiceTrouble::ServerGone));
    rig.server(Some("b.test"), "token-b");
    assert_eq!(rig.url, "wss://b.test/?v=8");
    rig.serve();
    assert_eq!(rig.session.state(), ConnectionState::Connected);
}

#[test]
fn a_crash_that_was_survived_is_forgotten() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4015));
    rig.next_link();
    rig.open();
    rig.text(HELLO);
    rig.text(RESUMED);
    rig.pass_ms(30_000);
    rig.said.clear();
    for _ in 0..3 {
        rig.cut(None);
        rig.next_link();
        rig.open();
        assert_eq!(first_word(&mut rig), 7);
    }
}

#[test]
fn a_missing_ack_is_a_dead_link() {
    let mut rig = Rig::connected(config());
    rig.pass_ms(20_000);
    assert!(rig.beats.len() >= 4, "every 5 s: {:?}", rig.beats);
    rig.acks = false;
    rig.beats.clear();
    rig.pass_ms(10_000);
    assert_eq!(rig.beats.len(), 1, "no beat while one is open");
    assert_eq!(rig.closes(), [4000]);
    assert_eq!(rig.troubles(), [VoiceTrouble::MissedAck]);
    assert!(rig.udp.is_some());
    rig.acks = true;
    rig.next_link();
    rig.open();
    assert_eq!(first_word(&mut rig), 7);
}

#[test]
fn the_number_of_a_beat_is_an_integer_and_its_ack_gives_the_round_trip() {
    let mut rig = Rig::connected(config());
    rig.acks = false;
    while rig.beats.len() < 2 {
        let before = rig.beats.len();
        rig.wake();
        if rig.beats.len() > before {
            let t = rig.beats.last().unwrap()["t"].as_u64().expect("an integer");
            // An ack to another beat is none to this one.
            rig.json(json!({"op": 6, "d": {"t": t + 1}}));
            rig.now += Duration::from_millis(35);
            rig.json(json!({"op": 6, "d": {"t": t}}));
        }
    }
    assert!(rig.beats[1]["t"].as_u64() > rig.beats[0]["t"].as_u64());
    assert_eq!(
        rig.session.stats().heartbeat,
        Some(Duration::from_millis(35))
    );
}

#[test]
fn the_server_may_ask_for_a_beat() {
    let mut rig = Rig::connected(config());
    let before = rig.beats.len();
    rig.text(r#"{"op":3,"d":null}"#);
    assert_eq!(rig.beats.len(), before + 1);
}

#[test]
fn a_silent_server_is_left_after_ten_seconds() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    // Not even open.
    rig.pass_ms(10_000);
    assert_eq!(rig.closes(), [4000]);
    // Open, and no word.
    rig.next_link();
    rig.open();
    rig.pass_ms(10_000);
    assert_eq!(rig.closes(), [4000]);
    // Ready, and no Hello.
    rig.next_link();
    rig.open();
    rig.ready();
    rig.pass_ms(10_000);
    assert_eq!(rig.closes(), [4000]);
    let failed = rig.troubles();
    assert_eq!(failed.len(), 3, "{failed:?}");
}

#[test]
fn an_earlier_link_is_not_listened_to() {
    let mut rig = Rig::connected(config());
    let old = rig.link();
    rig.cut(None);
    rig.next_link();
    rig.session.link_text(rig.now, old, RESUMED);
    rig.session.link_closed(rig.now, old, Some(4017));
    rig.session.link_failed(rig.now, old, "late");
    rig.listen();
    assert_eq!(rig.session.state(), ConnectionState::Resuming);
    rig.open();
    rig.text(RESUMED);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
}

#[test]
fn what_cannot_be_read_or_means_nothing_is_passed_over() {
    let mut rig = Rig::connected(config());
    for text in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"op":-1}"#,
        r#"{"op":"5"}"#,
        r#"{"op":11,"d":{"user_ids":7}}"#,
        r#"{"op":13,"d":null}"#,
        r#"{"op":8,"d":{"heartbeat_interval":-4}}"#,
        r#"{"op":4,"d":{"mode":"aead_aes256_gcm_rtpsize","secret_key":[1,2]}}"#,
        r#"{"op":5,"d":{"user_id":"777","ssrc":-1}}"#,
        r#"{"op":2,"d":{"ssrc":1}}"#,
    ] {
        rig.text(text);
        assert_eq!(rig.session.state(), ConnectionState::Connected, "{text}");
    }
    for bytes in [&[][..], &[1], &[0, 1], &[0, 5, 99], &[0, 5, 30, 1]] {
        rig.session.link_binary(rig.now, rig.link(), bytes);
        rig.listen();
    }
    let unreadable = rig.troubles().len();
    assert_eq!(unreadable as u64, rig.session.stats().counts.malformed);
    assert_eq!(unreadable, 15);
    for text in [
        r#"{"op":16,"d":{"voice":"0.9.1"},"more":1}"#,
        r#"{"op":18,"d":{"user_id":"1","flags":null}}"#,
        r#"{"op":255,"d":[]}"#,
        r#"{"op":99999,"d":[]}"#,
        r#"{"op":12,"d":{"user_id":"1"}}"#,
        r#"{"op":5,"d":{"speaking":1,"ssrc":1}}"#,
    ] {
        rig.text(text);
    }
    assert!(rig.said.is_empty(), "{:?}", rig.said);
}
