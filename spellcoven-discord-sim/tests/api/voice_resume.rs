//! Voice sessions that lose their WebSocket, and find back.

use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::VoiceFault;

use super::support::{Client, Scene, scene, scene_with};
use super::voice_support::{AES, Caller, Heard, Voice, another_bot, join, op4, ticket};

/// Two callers of one call, DAVE left aside.
async fn two(scene: &Scene) -> (Client, Caller, Client, Caller) {
    let (first, ticket_of_first) = join(scene).await;
    let (_bot, mut second) = another_bot(scene, "other").await;
    second.send(4, &op4(scene, Some(scene.lobby))).await;
    let ticket_of_second = ticket(&mut second).await;
    let a = Caller::enter(&scene.sim, ticket_of_first, AES).await;
    let b = Caller::enter(&scene.sim, ticket_of_second, AES).await;
    (first, a, second, b)
}

/// Everything that comes within half a second.
async fn drain(voice: &mut Voice) -> Vec<Heard> {
    let mut heard = Vec::new();
    while let Ok(next) = tokio::time::timeout(Duration::from_millis(500), voice.read()).await {
        heard.push(next);
    }
    heard
}

fn numbers(heard: &[Heard]) -> Vec<u64> {
    heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Json(value) => value["seq"].as_u64(),
            Heard::Binary(seq, ..) => seq.map(u64::from),
            _ => None,
        })
        .collect()
}

fn op(heard: &Heard) -> Value {
    match heard {
        Heard::Json(value) => value["op"].clone(),
        Heard::Binary(_, op, _) => json!(op),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_sent_again() {
    let scene = scene();
    let (_c, mut a, _d, mut b) = two(&scene).await;
    drain(&mut a.ws).await;
    drain(&mut b.ws).await;
    let seq = a.ws.seq;
    scene.sim.voice_fault(a.user(), VoiceFault::Cut);
    assert_eq!(a.ws.read().await, Heard::Dropped);
    b.speaking().await;
    b.speaking().await;
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(seq)).await;
    again.expect(8).await;
    assert_eq!(again.json().await, json!({"op": 9, "d": null}));
    let missed = drain(&mut again).await;
    let first = u64::try_from(seq).unwrap() + 1;
    assert_eq!(numbers(&missed), [first, first + 1]);
    assert_eq!(op(&missed[0]), 5);
    // SSRC, key and address survive.
    a.ws = again;
    a.speaking().await;
    a.say(&[0xF8, 0xFF, 0xFE]);
    assert_eq!(b.heard().len(), 1);
    b.say(&[0xF8, 0xFF, 0xFE]);
    assert_eq!(a.heard().len(), 1);
    assert!(
        scene.sim.complaints().is_empty(),
        "{:?}",
        scene.sim.complaints()
    );
}

#[tokio::test(start_paused = true)]
async fn numbers_wrap_and_the_replay_may_come_first() {
    let scene = scene_with(|builder| {
        builder.settings(|s| {
            s.voice.first_seq = 65_534;
            s.voice.replay_before_resumed = true;
            s.voice.trim_on_ack = false;
        })
    });
    let (_c, mut a, _d, mut b) = two(&scene).await;
    b.speaking().await;
    drain(&mut a.ws).await;
    scene.sim.voice_fault(a.user(), VoiceFault::Cut);
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(65_535)).await;
    again.expect(8).await;
    let heard = drain(&mut again).await;
    let numbers = numbers(&heard);
    assert_eq!(numbers[0], 0, "after 65 535");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert_eq!(op(heard.last().unwrap()), 9);
    // -1 and a missing number: from the start.
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(-1)).await;
    again.expect(8).await;
    assert_eq!(numbers_of(&mut again).await, 65_534);
}

async fn numbers_of(voice: &mut Voice) -> u64 {
    numbers(&drain(voice).await)[0]
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_resumed() {
    let scene = scene_with(|builder| builder.settings(|s| s.voice.resume_buffer = 4));
    let (_c, mut a, _d, mut b) = two(&scene).await;
    drain(&mut a.ws).await;
    let seq = a.ws.seq;
    for (resume, why) in [
        (a.ticket.resume(seq + 1), "a number that was never sent"),
        (json!({"server_id": scene.guild}), "fields are missing"),
    ] {
        let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
        voice.send(7, &resume).await;
        let code = voice.closed().await;
        assert!(matches!(code, 4006 | 4002), "{why}: {code}");
    }
    // The session went with the first of them.
    drop(a);
    let (_bot, mut third) = another_bot(&scene, "third").await;
    third.send(4, &op4(&scene, Some(scene.lobby))).await;
    let ticket = ticket(&mut third).await;
    let mut c = Caller::enter(&scene.sim, ticket, AES).await;
    drain(&mut c.ws).await;
    let seq = c.ws.seq;
    c.ws.close(4000).await;
    for _ in 0..5 {
        b.speaking().await;
    }
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &c.ticket.resume(seq)).await;
    assert_eq!(again.closed().await, 4006, "the buffer ran over");
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_a_minute_and_not_after_1000() {
    let scene = scene();
    let (_c, mut a, _d, mut b) = two(&scene).await;
    drain(&mut a.ws).await;
    drain(&mut b.ws).await;
    let seq = a.ws.seq;
    a.ws.close(4000).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(11)).await;
        b.speaking().await;
    }
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(seq)).await;
    again.until(9).await;
    drop(again);
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        b.speaking().await;
    }
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(seq)).await;
    assert_eq!(again.closed().await, 4006);
    let user = json!({"user_id": a.user()});
    let gone = drain(&mut b.ws).await;
    assert!(
        gone.is_empty(),
        "op 13 was read with the heartbeats: {gone:?}"
    );
    // Another Identify begins anew.
    let mut a = Caller::enter(&scene.sim, a.ticket, AES).await;
    assert_eq!(b.ws.until(11).await["user_ids"][0], user["user_id"]);
    a.ws.close(1000).await;
    assert_eq!(b.ws.until(13).await, user);
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(-1)).await;
    assert_eq!(again.closed().await, 4006);
}

#[tokio::test(start_paused = true)]
async fn close_codes_that_a_session_outlives() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    for (code, outlives) in [
        (4015, true),
        (4013, true),
        (1001, true),
        (4014, false),
        (4020, false),
    ] {
        let mut a = Caller::enter(&scene.sim, ticket.clone(), AES).await;
        drain(&mut a.ws).await;
        let seq = a.ws.seq;
        scene.sim.voice_fault(a.user(), VoiceFault::Close { code });
        assert_eq!(a.ws.closed().await, code);
        let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
        again.send(7, &a.ticket.resume(seq)).await;
        if outlives {
            again.until(9).await;
            again.close(1000).await;
        } else {
            assert_eq!(again.closed().await, 4006, "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn muted_acks_and_refused_resumes() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut a = Caller::enter(&scene.sim, ticket, AES).await;
    drain(&mut a.ws).await;
    let beat = json!({"t": 1, "seq_ack": a.ws.seq});
    scene
        .sim
        .mute_voice_acks_for(a.user(), Duration::from_secs(1));
    a.ws.send(3, &beat).await;
    a.ws.silent().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    a.ws.send(3, &beat).await;
    a.ws.expect(6).await;
    scene
        .sim
        .voice_fault(a.user(), VoiceFault::MuteAcks { on: true });
    a.ws.send(3, &beat).await;
    a.ws.silent().await;
    scene
        .sim
        .voice_fault(a.user(), VoiceFault::MuteAcks { on: false });
    let refuse = VoiceFault::RefuseResume { times: 1 };
    scene.sim.voice_fault(a.user(), refuse);
    let seq = a.ws.seq;
    a.ws.close(4000).await;
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(seq)).await;
    assert_eq!(again.closed().await, 4006);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut a = Caller::enter(&scene.sim, ticket, AES).await;
    drain(&mut a.ws).await;
    let seq = a.ws.seq;
    scene.sim.voice_fault(a.user(), VoiceFault::Silence);
    a.ws.send(3, &json!({"t": 1, "seq_ack": seq})).await;
    a.ws.silent().await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    a.ws.silent().await;
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(seq)).await;
    again.until(9).await;
}

#[tokio::test(start_paused = true)]
async fn before_version_8_nothing_is_sent_again() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 4).await;
    voice.send(0, &ticket.identify()).await;
    voice.until(2).await;
    drop(voice);
    let mut resume = ticket.resume(0);
    resume.as_object_mut().unwrap().remove("seq_ack");
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 4).await;
    again.send(7, &resume).await;
    again.expect(8).await;
    again.expect(9).await;
    again.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_resume_takes_over_from_a_link_that_seems_alive() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut a = Caller::enter(&scene.sim, ticket, AES).await;
    drain(&mut a.ws).await;
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &a.ticket.resume(a.ws.seq)).await;
    again.until(9).await;
    assert_eq!(a.ws.closed().await, 4006);
    again.send(3, &json!({"t": 1, "seq_ack": again.seq})).await;
    again.expect(6).await;
}
