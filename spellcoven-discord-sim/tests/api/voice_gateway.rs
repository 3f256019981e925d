//! The voice gateway: who may identify, what they are told, and what ends a connection.

use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::{ChannelKind, EntryKind, Permissions, SecondIdentify};

use super::support::scene;
use super::voice_support::{AES, Caller, Heard, Voice, XCHACHA, another_bot, join, op4, ticket};

#[tokio::test(start_paused = true)]
async fn hello_then_ready_then_a_session_description() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    let hello = voice.expect(8).await;
    assert_eq!(hello, json!({"v": 8, "heartbeat_interval": 13_750}));
    voice.send(0, &ticket.identify()).await;
    let ready = voice.json().await;
    assert_eq!(ready["op"], 2);
    assert!(ready.get("seq").is_none(), "op 2 has no number");
    let d = &ready["d"];
    assert_eq!(d["modes"], json!([AES, XCHACHA]));
    let ssrc = d["ssrc"].as_u64().unwrap();
    assert_eq!(d["streams"][0]["ssrc"], ssrc + 1);
    assert_eq!(d["streams"][0]["rtx_ssrc"], ssrc + 2);
    assert_eq!(
        (&d["ip"], &d["port"]),
        (&json!("203.0.113.2"), &json!(50_000))
    );
    let select =
        json!({"protocol": "udp", "data": {"address": "198.51.100.9", "port": 9, "mode": XCHACHA}});
    voice.send(1, &select).await;
    let description = voice.json().await;
    assert_eq!(
        (&description["op"], &description["seq"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(description["d"]["mode"], XCHACHA);
    assert_eq!(description["d"]["secret_key"].as_array().unwrap().len(), 32);
    assert!(description["d"]["dave_protocol_version"].is_u64());
    assert!(scene.sim.complaints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn identify_is_checked() {
    let scene = scene();
    let other = scene.sim.add_guild("Other");
    let (_client, ticket) = join(&scene).await;
    let with = |field: &str, value: Value| {
        let mut identify = ticket.identify();
        identify[field] = value;
        identify
    };
    let without = |field: &str| {
        let mut identify = ticket.identify();
        identify.as_object_mut().unwrap().remove(field);
        identify
    };
    for (identify, code) in [
        (with("token", json!("f00d")), 4004),
        (with("user_id", json!("1")), 4004),
        (with("session_id", json!("b7e1c2")), 4006),
        (with("server_id", json!("1")), 4011),
        (with("server_id", json!(other)), 4011),
        (with("channel_id", json!("1")), 4006),
        (with("max_dave_protocol_version", json!(0)), 4017),
        (without("max_dave_protocol_version"), 4017),
        (without("token"), 4002),
        (with("server_id", json!(true)), 4002),
        (json!(null), 4002),
    ] {
        let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
        voice.expect(8).await;
        voice.send(0, &identify).await;
        assert_eq!(voice.closed().await, code, "{identify}");
    }
    // One that was refused may come again, with integers for ids.
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    let user: u64 = ticket.user_id.as_str().unwrap().parse().unwrap();
    voice.send(0, &with("user_id", json!(user))).await;
    voice.until(2).await;
}

#[tokio::test(start_paused = true)]
async fn versions_and_what_each_needs() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    for version in [0, 3, 10] {
        let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", version).await;
        assert_eq!(voice.closed().await, 4020, "{version}");
    }
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 9).await;
    voice.send(0, &ticket.identify()).await;
    assert_eq!(voice.closed().await, 4002, "9 wants the channel");
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 9).await;
    let mut identify = ticket.identify();
    identify["channel_id"] = ticket.channel_id.clone();
    voice.send(0, &identify).await;
    assert_eq!(voice.expect(8).await["v"], 9);
    voice.expect(2).await;
    voice.close(1000).await;
    // Version 4: bare numbers in heartbeats, no sequence numbers.
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 4).await;
    assert_eq!(voice.expect(8).await["v"], 4);
    voice.send(0, &ticket.identify()).await;
    voice.expect(2).await;
    voice.send(3, &json!(1_796_000_000_123_u64)).await;
    assert_eq!(voice.expect(6).await, 1_796_000_000_123_u64);
    let select =
        json!({"protocol": "udp", "data": {"address": "198.51.100.9", "port": 9, "mode": AES}});
    voice.send(1, &select).await;
    let description = voice.json().await;
    assert!(description.get("seq").is_none(), "{description}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_answered_and_missed_ones_end_the_session() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut caller = Caller::enter(&scene.sim, ticket.clone(), AES).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(13_750)).await;
        let beat = json!({"t": 1_796_000_000_123_u64, "seq_ack": caller.ws.seq});
        caller.ws.send(3, &beat).await;
        assert_eq!(
            caller.ws.until(6).await,
            json!({"t": 1_796_000_000_123_u64})
        );
    }
    let started = scene.sim.now();
    assert_eq!(caller.ws.closed().await, 4009);
    assert_eq!(scene.sim.now() - started, Duration::from_millis(3 * 13_750));
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.send(7, &ticket.resume(caller.ws.seq)).await;
    assert_eq!(voice.closed().await, 4006);
    for wrong in [json!({"t": "1"}), json!({"t": 1.5}), json!({}), json!("1")] {
        let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
        voice.send(3, &wrong).await;
        assert_eq!(voice.closed().await, 4020, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_connection() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.send(5, &json!({"speaking": 1, "ssrc": 1})).await;
    assert_eq!(voice.closed().await, 4003);
    for (op, d, code) in [
        (0, ticket.identify(), 4005),
        (7, ticket.resume(-1), 4005),
        (2, json!({}), 4001),
        (99, json!({}), 4001),
        (1, json!({"protocol": "webrtc", "data": {}}), 4012),
        (1, json!({"data": {}}), 4020),
        (1, json!({"protocol": "udp"}), 4020),
        (
            1,
            json!({"protocol": "udp", "data": {"address": "1.1.1.1", "port": 1, "mode": "xsalsa20_poly1305"}}),
            4016,
        ),
        (5, json!({"ssrc": 1}), 4020),
        (5, json!({"speaking": 1, "ssrc": 1}), 4020),
        (12, json!(1), 4020),
    ] {
        let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
        voice.send(0, &ticket.identify()).await;
        voice.until(2).await;
        voice.send(op, &d).await;
        assert_eq!(voice.closed().await, code, "op {op} {d}");
    }
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.text("{".to_owned()).await;
    assert_eq!(voice.closed().await, 4002);
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.text(r#"{"d":null}"#.to_owned()).await;
    assert_eq!(voice.closed().await, 4001);
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.binary(3, &[]).await;
    assert_eq!(voice.closed().await, 4002);
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.send(0, &ticket.identify()).await;
    voice.until(2).await;
    voice.binary(26, &[1]).await;
    assert_eq!(voice.closed().await, 4003, "no group before op 1");
}

#[tokio::test(start_paused = true)]
async fn a_second_identify_is_refused_or_replaces() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut first = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    first.send(0, &ticket.identify()).await;
    first.until(2).await;
    let mut second = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    second.send(0, &ticket.identify()).await;
    assert_eq!(second.closed().await, 4006);
    first.silent().await;
    scene
        .sim
        .with(|w| w.settings_mut().voice.second_identify = SecondIdentify::Replace);
    let mut second = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    second.send(0, &ticket.identify()).await;
    second.until(2).await;
    assert_eq!(first.closed().await, 4006);
}

#[tokio::test(start_paused = true)]
async fn those_who_are_there_and_those_who_come_and_go() {
    let scene = scene();
    let (_client, first) = join(&scene).await;
    let (_bot, mut other) = another_bot(&scene, "other").await;
    other.send(4, &op4(&scene, Some(scene.lobby))).await;
    let second = ticket(&mut other).await;
    let mut a = Caller::enter(&scene.sim, first, AES).await;
    a.speaking().await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.expect(8).await;
    voice.send(0, &second.identify()).await;
    let ssrc = voice.expect(2).await["ssrc"].as_u64().unwrap() as u32;
    assert!(ssrc.abs_diff(a.ssrc) >= 3, "SSRCs are unique, in threes");
    let mut numbers = Vec::new();
    let mut burst = Vec::new();
    for _ in 0..4 {
        let message = voice.json().await;
        numbers.push(message["seq"].as_u64().unwrap());
        burst.push((message["op"].as_u64().unwrap(), message["d"].clone()));
    }
    let user = json!(a.user());
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(
        burst,
        [
            (11, json!({"user_ids": [user]})),
            (18, json!({"user_id": user, "flags": null})),
            (20, json!({"user_id": user, "platform": null})),
            (5, json!({"speaking": 1, "ssrc": a.ssrc, "user_id": user})),
        ]
    );
    assert_eq!(a.ws.until(11).await, json!({"user_ids": [second.user_id]}));
    a.ws.until(18).await;
    a.ws.until(20).await;
    let speaking = json!({"speaking": 5, "delay": 0, "ssrc": ssrc});
    voice.send(5, &speaking).await;
    let told = a.ws.until(5).await;
    assert_eq!(
        told,
        json!({"speaking": 5, "ssrc": ssrc, "user_id": second.user_id})
    );
    voice
        .send(12, &json!({"audio_ssrc": ssrc, "video_ssrc": 0}))
        .await;
    assert_eq!(a.ws.until(12).await["user_id"], second.user_id);
    voice.send(16, &json!({})).await;
    assert!(voice.expect(16).await["voice"].is_string());
    for tolerated in [14, 15, 32] {
        voice.send(tolerated, &json!({})).await;
    }
    voice.close(1000).await;
    assert_eq!(a.ws.until(13).await, json!({"user_id": second.user_id}));
}

#[tokio::test(start_paused = true)]
async fn a_stage_needs_no_dave() {
    let scene = scene();
    let stage = scene
        .sim
        .with(|w| w.add_channel(scene.guild, ChannelKind::Stage, "Stage", None))
        .unwrap();
    let mut client = scene.ready().await;
    client.send(4, &op4(&scene, Some(stage))).await;
    let mut ticket = ticket(&mut client).await;
    let mut identify = ticket.identify();
    identify["max_dave_protocol_version"] = json!(0);
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.send(0, &identify).await;
    voice.until(2).await;
    voice.close(1000).await;
    ticket.endpoint = json!("127.0.0.1:2");
    let mut caller = Caller::enter(&scene.sim, ticket, AES).await;
    caller.ws.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_gives_no_voice_server() {
    let scene = scene();
    scene.sim.set_user_limit(scene.lobby, 1).unwrap();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let bits = Permissions::DEFAULT_EVERYONE;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let mut client = scene.ready().await;
    client.send(4, &op4(&scene, Some(scene.lobby))).await;
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_of_voice() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut caller = Caller::enter(&scene.sim, ticket, AES).await;
    caller.ws.close(4000).await;
    let journal = scene.sim.journal();
    let kinds: Vec<&EntryKind> = journal.entries().iter().map(|entry| &entry.what).collect();
    let has = |wanted: fn(&EntryKind) -> bool| kinds.iter().any(|kind| wanted(kind));
    assert!(has(|kind| matches!(kind, EntryKind::VoiceOpened { .. })));
    assert!(has(|kind| matches!(
        kind,
        EntryKind::VoiceIdentified { dave: 1, .. }
    )));
    assert!(has(|kind| matches!(
        kind,
        EntryKind::VoiceClosed {
            code: Some(4000),
            resumable: true,
            ..
        }
    )));
    let token = serde_json::to_string(&journal).unwrap();
    assert!(!token.contains("secret_key"));
    assert!(matches!(caller.ws.read().await, Heard::Dropped));
}
