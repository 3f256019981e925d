//! `/api/ws`: authentication, delivery, resume, limits, close codes.

use std::time::Duration;

use async_tungstenite::{
    client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use spellcoven_hub::server::Limits;
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::server_support::{GUILD, ORIGIN, START_MS, Socket, World};

#[tokio::test(start_paused = true)]
async fn auth_is_acknowledged_as_in_the_contract() {
    let world = World::with(|builder| builder.max_ws_reconnect_attempts(7));
    world.join(5, 9).await;
    let mut socket = world.socket().await;
    let ack = socket.auth(&world.token("alice"), None).await;
    let epoch = world.hub.stats().epoch;
    let expected = json!({
        "v": 1, "type": "ack", "event": "auth.ok", "guildId": "1", "ts": START_MS,
        "payload": { "guildId": "1", "reconnect": { "maxAttempts": 7 }, "epoch": epoch, "seq": 1 },
    });
    assert_eq!(ack, expected);
    world.join(6, 9).await;
    let event = socket.next().await;
    let payload = json!({ "guildId": "1", "channelId": "9", "userId": "6",
        "selfMute": false, "selfDeaf": false, "selfVideo": false });
    let expected = json!({ "v": 1, "type": "event", "event": "voice.joined", "payload": payload,
        "ts": START_MS, "epoch": epoch, "seq": 2 });
    assert_eq!(event, expected);
}

#[tokio::test(start_paused = true)]
async fn a_first_message_must_come_in_time_and_be_good() {
    let world = World::new();
    let mut silent = world.socket().await;
    assert_eq!(silent.closed().await, (4401, "auth_timeout".into()));

    let mut wrong = world.socket().await;
    let error = wrong.auth("x.y.z", None).await;
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["code"], "UNAUTHORIZED");
    assert_eq!(error["payload"], json!({}));
    assert_eq!(wrong.closed().await, (4401, "unauthorized".into()));

    let mut early = world.socket().await;
    early.send(json!({ "type": "snapshot" })).await;
    assert_eq!(early.closed().await, (4401, "unauthorized".into()));
    assert_eq!(world.hub.stats().closed["unauthorized"], 2);
}

#[tokio::test(start_paused = true)]
async fn protocol_violations_close_with_1008_and_1009() {
    let world = World::new();
    for message in [
        Message::text(r#"{"type":"subscribe"}"#),
        Message::text("{"),
        Message::text("5"),
        Message::binary(Bytes::from_static(b"{}")),
    ] {
        let (mut socket, _) = world.authed_socket("alice").await;
        socket.ws.send(message).await.unwrap();
        assert_eq!(socket.next().await["error"]["code"], "BAD_REQUEST");
        assert_eq!(socket.closed().await, (1008, "bad_message".into()));
    }
    let (mut socket, _) = world.authed_socket("alice").await;
    socket
        .ws
        .send(Message::text("x".repeat(20_000)))
        .await
        .unwrap();
    assert_eq!(socket.closed().await, (1009, "too_large".into()));
    let (mut socket, _) = world.authed_socket("alice").await;
    for _ in 0..50 {
        let _ = socket.ws.send(Message::Ping(Bytes::new())).await;
    }
    assert_eq!(socket.closed().await, (1008, "rate_limited".into()));
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_ends_the_connection_unless_extended() {
    let world = World::new();
    let mut socket = world.socket().await;
    socket.auth(&world.token_until("alice", 20), None).await;
    let start = tokio::time::Instant::now();
    let ack = socket.auth(&world.token_until("alice", 60), None).await;
    assert_eq!(
        (&ack["event"], &ack["payload"]["resumed"]),
        (&json!("auth.ok"), &Value::Null)
    );
    assert_eq!(socket.closed().await, (4401, "token_expired".into()));
    assert_eq!(start.elapsed().as_secs(), 60);

    // Another user's token extends nothing.
    let (mut socket, _) = world.authed_socket("alice").await;
    socket.auth(&world.token("bob"), None).await;
    assert_eq!(socket.closed().await, (4401, "unauthorized".into()));
}

#[tokio::test(start_paused = true)]
async fn the_token_may_come_as_a_subprotocol() {
    let world = World::new();
    world.join(5, 9).await;
    let token = world.token("alice");
    let offer = format!("spellcoven.v1, spellcoven.token.{token}");
    let mut socket = world
        .socket_with(64 * 1024, |request| {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", offer.parse().unwrap());
        })
        .await;
    assert_eq!(socket.protocol.as_deref(), Some("spellcoven.v1"));
    assert_eq!(socket.next().await["event"], "auth.ok");
    let epoch = world.hub.stats().epoch;
    let offer = format!("{offer}, spellcoven.resume.{epoch}.0");
    let mut socket = world
        .socket_with(64 * 1024, |request| {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", offer.parse().unwrap());
        })
        .await;
    assert_eq!(socket.next().await["payload"]["resumed"], true);
    assert_eq!(socket.next().await["seq"], 1);
}

async fn resumed(world: &World, epoch: &str, seq: u64) -> (Socket, Value) {
    let mut socket = world.socket().await;
    let ack = socket
        .auth(
            &world.token("alice"),
            Some(json!({ "epoch": epoch, "seq": seq })),
        )
        .await;
    (socket, ack["payload"].clone())
}

#[tokio::test(start_paused = true)]
async fn resume_brings_what_was_missed_or_a_snapshot() {
    let world = World::with_limits(Limits {
        ring_events: 3,
        ..Limits::default()
    });
    for user in 1..=5 {
        world.join(user, 9).await;
    }
    let epoch = world.hub.stats().epoch;
    let (mut socket, ack) = resumed(&world, &epoch, 2).await;
    assert_eq!((&ack["resumed"], &ack["seq"]), (&json!(true), &json!(2)));
    for seq in 3..=5 {
        assert_eq!(socket.next().await["seq"], seq);
    }
    world.join(6, 9).await;
    assert_eq!(socket.next().await["seq"], 6);

    // Beyond the ring, of another epoch, or of the future.
    for (epoch, seq) in [(epoch.as_str(), 1), ("another", 6), (epoch.as_str(), 7)] {
        let (mut socket, ack) = resumed(&world, epoch, seq).await;
        assert_eq!((&ack["resumed"], &ack["seq"]), (&json!(false), &json!(6)));
        let snapshot = socket.next().await;
        assert_eq!(
            (&snapshot["type"], &snapshot["event"]),
            (&json!("event"), &json!("room.snapshot"))
        );
        let payload = &snapshot["payload"];
        assert_eq!(
            (&payload["guildId"], &payload["seq"], &snapshot["seq"]),
            (&json!("1"), &json!(6), &json!(6))
        );
        assert_eq!(payload["epoch"], world.hub.stats().epoch);
        assert_eq!(payload["rooms"][0]["members"].as_array().unwrap().len(), 6);
    }
    // At the head there is nothing to bring.
    let (mut socket, ack) = resumed(&world, &epoch, 6).await;
    assert_eq!(ack["resumed"], true);
    socket.nothing_before_snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_stands_between_the_events_where_it_belongs() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    for user in 1..=100 {
        world.join(user, 9).await;
        if user % 10 == 0 {
            socket.send(json!({ "type": "snapshot" })).await;
        }
    }
    let (mut seq, mut snapshots) = (0, 0);
    while seq < 100 {
        let message = socket.next().await;
        if message["event"] == "room.snapshot" {
            assert_eq!(message["payload"]["seq"], seq);
            let members = message["payload"]["rooms"][0]["members"]
                .as_array()
                .unwrap()
                .len();
            assert_eq!(members as u64, seq);
            snapshots += 1;
        } else {
            seq += 1;
            assert_eq!(message["seq"], seq);
        }
    }
    // Requests that wait may share one.
    assert!(snapshots <= 10);
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_closed_and_others_are_not_held_up() {
    let world = World::with_limits(Limits {
        max_buffered: 20_000,
        ..Limits::default()
    });
    let mut slow = world.socket_with(1024, |_| {}).await;
    slow.auth(&world.token("slow"), None).await;
    let (mut quick, _) = world.authed_socket("quick").await;
    for user in 1..=300 {
        world.join(user, 9).await;
        assert_eq!(quick.next().await["seq"], user);
    }
    let stats = world.hub.stats();
    assert_eq!(stats.closed.get("slow_consumer"), Some(&1));
    assert_eq!(stats.buffered_bytes, 0);
    // Once it reads again, it finds the reason.
    assert_eq!(slow.closed().await, (1013, "slow_consumer".into()));
    assert!(world.hub.stats().delivered >= 300);
}

#[tokio::test(start_paused = true)]
async fn what_a_resuming_client_missed_does_not_make_it_slow() {
    let world = World::with_limits(Limits {
        max_buffered: 2_000,
        ..Limits::default()
    });
    for user in 1..=300 {
        world.join(user, 9).await;
    }
    let epoch = world.hub.stats().epoch;
    let (mut socket, ack) = resumed(&world, &epoch, 0).await;
    assert_eq!(ack["resumed"], true);
    for seq in 1..=300 {
        assert_eq!(socket.next().await["seq"], seq);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_are_bounded_by_user_and_altogether() {
    let limits = Limits {
        max_connections: 3,
        max_connections_per_user: 2,
        ..Limits::default()
    };
    let world = World::with_limits(limits);
    let (first, _) = world.authed_socket("alice").await;
    let (_second, _) = world.authed_socket("alice").await;
    let mut third = world.socket().await;
    third
        .send(json!({ "type": "auth", "token": world.token("alice") }))
        .await;
    assert_eq!(third.closed().await, (4429, "too_many_connections".into()));
    drop(third);
    while world.hub.stats().connections > 2 {
        tokio::task::yield_now().await;
    }
    let (_bob, _) = world.authed_socket("bob").await;
    let mut full = world.socket().await;
    assert_eq!(full.closed().await, (4429, "too_many_connections".into()));
    drop((first, full));
    while world.hub.stats().connections > 2 {
        tokio::task::yield_now().await;
    }
    world.authed_socket("alice").await;
}

#[tokio::test(start_paused = true)]
async fn the_server_pings_and_gives_up_on_silence() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    let start = tokio::time::Instant::now();
    let message = socket.ws.next().await.unwrap().unwrap();
    assert!(matches!(message, Message::Ping(_)));
    assert_eq!(start.elapsed().as_secs(), 30);
    // From here nothing is read, so no pong is sent.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.hub.stats().closed["idle_timeout"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_closing_client_is_answered() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    socket.ws.close(None).await.unwrap();
    while let Some(message) = socket.ws.next().await {
        assert!(matches!(message, Ok(Message::Close(_))), "{message:?}");
    }
    while world.hub.stats().connections > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.hub.stats().closed.values().sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_hub_says_1001() {
    let world = World::new();
    let (mut one, _) = world.authed_socket("alice").await;
    let (mut two, _) = world.authed_socket("bob").await;
    let clients = async {
        assert_eq!(one.closed().await, (1001, "going_away".into()));
        assert_eq!(two.closed().await, (1001, "going_away".into()));
        let _ = (one.ws.next().await, two.ws.next().await);
    };
    let (all, ()) = tokio::join!(world.hub.shutdown(Duration::from_secs(10)), clients);
    assert!(all);
    assert_eq!(upgrade(&world, &[]).await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_hub_closes_many_clients_one_after_the_other() {
    let world = World::with_limits(Limits {
        max_connections_per_user: 200,
        ..Limits::default()
    });
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(world.authed_socket("alice").await.0);
    }
    let begin = tokio::time::Instant::now();
    let hub = world.hub.clone();
    let stopping = tokio::spawn(async move { hub.shutdown(Duration::from_secs(10)).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Who is not closed yet goes on.
    world.join(5, 9).await;
    let mut closed = Vec::new();
    let mut told = 0;
    for mut socket in sockets {
        closed.push(tokio::spawn(async move {
            let mut events = 0;
            loop {
                match socket.ws.next().await {
                    Some(Ok(Message::Text(_))) => events += 1,
                    Some(Ok(Message::Close(Some(frame)))) => {
                        let at = tokio::time::Instant::now();
                        let _ = socket.ws.next().await;
                        return (u16::from(frame.code), at, events);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }));
    }
    let mut times = Vec::new();
    for task in closed {
        let (code, at, events) = task.await.unwrap();
        assert_eq!(code, 1001);
        times.push(at.duration_since(begin));
        told += events;
    }
    assert!(stopping.await.unwrap());
    times.sort_unstable();
    assert!(times[199] <= Duration::from_millis(250), "{times:?}");
    assert!(
        times[150] - times[50] >= Duration::from_millis(50),
        "{times:?}"
    );
    assert!(told > 100, "{told}");
}

/// Sockets that take no frame above 4 KiB, with this much room on the way.
async fn small_frames(world: &World, buffer: usize) -> Socket {
    let request = "ws://hub.example/api/ws".into_client_request().unwrap();
    let config = WebSocketConfig::default().max_frame_size(Some(4096));
    let io = world.connect(buffer).compat();
    let (ws, _) = client_async_with_config(request, io, Some(config))
        .await
        .unwrap();
    let mut socket = Socket { ws, protocol: None };
    let ack = socket.auth(&world.token("alice"), None).await;
    assert_eq!(ack["event"], "auth.ok");
    socket
}

#[tokio::test(start_paused = true)]
async fn a_long_message_comes_in_pieces_and_nothing_in_between() {
    let world = World::new();
    let rooms: Vec<_> = (0..200)
        .map(|id| json!({ "channelId": (1000 + id).to_string(), "name": "ü".repeat(60), "userLimit": 4, "members": [] }))
        .collect();
    let snapshot = json!({ "guildId": "1", "rooms": rooms });
    world.post("guild.snapshot", snapshot).await;
    for buffer in [100, 64 * 1024] {
        let mut socket = small_frames(&world, buffer).await;
        socket.send(json!({ "type": "snapshot" })).await;
        // The snapshot is on its way when these are told.
        tokio::time::sleep(Duration::from_millis(1)).await;
        socket
            .ws
            .send(Message::Ping(Bytes::from_static(b"x")))
            .await
            .unwrap();
        world.join(5, 9).await;
        world
            .post(
                "voice.left",
                json!({ "guildId": "1", "channelId": "9", "userId": "5" }),
            )
            .await;
        socket.send(json!({ "type": "nonsense" })).await;
        let message = socket.next().await;
        assert_eq!(message["event"], "room.snapshot");
        let rooms = message["payload"]["rooms"].as_array().unwrap();
        assert!(rooms.len() >= 200);
        // Whole to its end, and then what is due: events, the error, the close.
        let code = loop {
            match socket.ws.next().await {
                Some(Ok(Message::Text(text))) => {
                    serde_json::from_str::<Value>(&text).unwrap();
                }
                Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, 1008);
    }
}

/// A handshake's status and error code, with some headers changed; an empty value takes one away.
async fn upgrade(world: &World, change: &[(&str, &str)]) -> (u16, String) {
    let mut headers = vec![
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in change {
        headers.retain(|(have, _)| have != name);
        if !value.is_empty() {
            headers.push((name, value));
        }
    }
    let mut request = Request::get("/api/ws");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let reply = world
        .call(request.body(Full::<Bytes>::default()).unwrap())
        .await;
    if reply.status == 101 {
        // RFC 6455, section 1.3.
        assert_eq!(
            reply.headers["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        return (101, String::new());
    }
    (reply.status.as_u16(), reply.code())
}

#[tokio::test(start_paused = true)]
async fn the_handshake_is_checked() {
    let world = World::new();
    for (change, status, code) in [
        (("x", ""), 101, ""),
        (("origin", ORIGIN), 101, ""),
        (("origin", "https://evil.example"), 403, "FORBIDDEN"),
        (("origin", "null"), 403, "FORBIDDEN"),
        (("upgrade", ""), 426, "UPGRADE_REQUIRED"),
        (("connection", "close"), 426, "UPGRADE_REQUIRED"),
        (("sec-websocket-version", "8"), 426, "UPGRADE_REQUIRED"),
        (("sec-websocket-key", ""), 400, "VALIDATION_FAILED"),
    ] {
        assert_eq!(
            upgrade(&world, &[change]).await,
            (status, code.to_owned()),
            "{change:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_client_sees_each_seq_once_and_in_order() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let world = World::new();
        let epoch = world.hub.stats().epoch;
        let mut sockets = Vec::new();
        for index in 0..5 {
            let (socket, _) = world.authed_socket(&format!("user {index}")).await;
            sockets.push((socket, 0));
        }
        for _ in 0..300 {
            let channel = rng.u64(8..10);
            world.join(rng.u64(1..20), channel).await;
            let index = rng.usize(..sockets.len());
            let (socket, seen) = &mut sockets[index];
            let head = world.hub.stats().seq;
            match rng.u8(..6) {
                0 => {
                    // Cut without a word, and back again.
                    let name = format!("user {index}");
                    let mut fresh = world.socket().await;
                    let resume = json!({ "epoch": epoch, "seq": *seen });
                    let ack = fresh.auth(&world.token(&name), Some(resume)).await;
                    assert_eq!(ack["payload"]["resumed"], true, "seed {seed}");
                    *socket = fresh;
                }
                1..=3 => {
                    for _ in *seen..head.min(*seen + rng.u64(..10)) {
                        *seen += 1;
                        assert_eq!(socket.next().await["seq"], *seen, "seed {seed}");
                    }
                }
                _ => {}
            }
        }
        let head = world.hub.stats().seq;
        for (socket, seen) in &mut sockets {
            while *seen < head {
                *seen += 1;
                assert_eq!(socket.next().await["seq"], *seen, "seed {seed}");
            }
            let snapshot = socket.nothing_before_snapshot().await;
            assert_eq!(
                snapshot["payload"],
                serde_json::to_value(world.hub.snapshot()).unwrap()
            );
        }
    }
    assert_eq!(GUILD.get(), 1);
}

#[tokio::test]
async fn over_tcp_with_shutdown() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let hub = world.hub.clone();
    let server = tokio::spawn(async move {
        hub.serve(listener, async {
            let _ = stopped.await;
        })
        .await
    });
    use tokio_util::compat::TokioAsyncReadCompatExt;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut ws, _) = async_tungstenite::client_async("ws://hub.example/api/ws", stream.compat())
        .await
        .unwrap();
    let auth = json!({ "type": "auth", "token": world.token("alice") });
    ws.send(Message::text(auth.to_string())).await.unwrap();
    assert!(matches!(ws.next().await, Some(Ok(Message::Text(_)))));
    stop.send(()).unwrap();
    let close = ws.next().await;
    assert!(
        matches!(close, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1001)
    );
    while ws.next().await.is_some() {}
    server.await.unwrap().unwrap();
}
