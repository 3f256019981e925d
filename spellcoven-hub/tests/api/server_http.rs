//! Every row of the HTTP tables.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use spellcoven_hub::{
    server::{
        ChannelInfo, CreateRoom, CreatorOnly, Decision, InsideCategory, Limits, RoomError,
        RoomPolicy, User,
    },
    wire::signature,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server_support::{GUILD, ORIGIN, Reply, World, secret};

fn is(reply: &Reply, status: u16, code: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (status, code),
        "{reply:?}"
    );
    let body = reply.json();
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    assert_eq!(
        body["requestId"].as_str(),
        reply.headers["x-request-id"].to_str().ok()
    );
}

#[tokio::test(start_paused = true)]
async fn create_room_checks_each_field() {
    let world = World::new();
    let long = format!(r#"{{"name":"{}"}}"#, "ä".repeat(101));
    for (body, field) in [
        (long.as_str(), "name"),
        (r#"{"name":""}"#, "name"),
        (r#"{"name":"  "}"#, "name"),
        (r#"{"name":7}"#, "name"),
        (r#"{"parentId":7}"#, "parentId"),
        (r#"{"parentId":"x"}"#, "parentId"),
        (r#"{"userLimit":100}"#, "userLimit"),
        (r#"{"userLimit":-1}"#, "userLimit"),
        (r#"{"userLimit":1.5}"#, "userLimit"),
        (r#"{"userLimit":"4"}"#, "userLimit"),
        ("[]", "body"),
        ("{", "body"),
    ] {
        let reply = world.create(body).await;
        is(&reply, 400, "VALIDATION_FAILED");
        assert_eq!(reply.json()["details"]["field"], field, "{body}");
    }
    assert_eq!(world.rooms.creates(), 0);
    let name = "ä".repeat(100);
    let reply = world
        .create(&format!(
            r#"{{"name":"{name}","userLimit":99,"parentId":null,"other":1}}"#
        ))
        .await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["name"]),
        (200, &json!(name))
    );
    let reply = world.create("").await;
    assert!(
        reply.json()["name"]
            .as_str()
            .unwrap()
            .starts_with("spell-coven-"),
        "{reply:?}"
    );
    assert_eq!(world.hub.snapshot().rooms[1].user_limit, 4);
}

#[tokio::test(start_paused = true)]
async fn discords_answers_become_the_hubs() {
    let world = World::new();
    world.rooms.put(50, 2, Some(GUILD), None);
    let wait = Duration::from_millis(1500);
    let errors = || {
        [
            (RoomError::Forbidden, 403, "FORBIDDEN"),
            (RoomError::NotFound, 404, "NOT_FOUND"),
            (
                RoomError::Conflict {
                    limit: "500".into(),
                },
                409,
                "CONFLICT",
            ),
            (
                RoomError::RateLimited { retry_after: wait },
                429,
                "RATE_LIMITED",
            ),
            (
                RoomError::Rejected {
                    field: "name".into(),
                    reason: "no".into(),
                },
                400,
                "VALIDATION_FAILED",
            ),
            (RoomError::Upstream { source: None }, 502, "DISCORD_ERROR"),
            (
                RoomError::Unavailable { source: None },
                503,
                "DISCORD_UNAVAILABLE",
            ),
        ]
    };
    for (error, status, code) in errors() {
        world.rooms.fail_next(error);
        let reply = world.create("{}").await;
        is(&reply, status, code);
        if status == 429 {
            assert_eq!(reply.headers["retry-after"], "2");
        }
    }
    for (error, status, code) in errors() {
        world.rooms.fail_next(error);
        is(&world.end(50).await, status, code);
    }
    assert_eq!(world.end(50).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn bodies_and_methods() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.token("alice"));
    let send = |body: String, kind: &str| {
        let request = Request::post("/api/create-room")
            .header("authorization", &bearer)
            .header("content-type", kind);
        world.call(request.body(Full::from(body)).unwrap())
    };
    is(
        &send("{}".into(), "text/plain").await,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    );
    is(
        &send("x".repeat(20_000), "application/json").await,
        413,
        "PAYLOAD_TOO_LARGE",
    );
    assert_eq!(
        send("{}".into(), "Application/JSON; charset=utf-8")
            .await
            .status,
        200
    );
    let reply = world.authed("GET", "/api/create-room", &[], "").await;
    is(&reply, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(reply.headers["allow"], "POST");
    is(
        &world.authed("POST", "/api/end-room/5", &[], "").await,
        405,
        "METHOD_NOT_ALLOWED",
    );
    is(
        &world.authed("DELETE", "/api/end-room/5/6", &[], "").await,
        404,
        "NOT_FOUND",
    );
    is(&world.get("/").await, 404, "NOT_FOUND");
    is(
        &world.authed("DELETE", "/api/end-room/abc", &[], "").await,
        400,
        "VALIDATION_FAILED",
    );
}

#[tokio::test(start_paused = true)]
async fn only_voice_channels_of_the_guild_can_be_ended() {
    let world = World::new();
    world.rooms.put(10, 0, Some(GUILD), None);
    world.rooms.put(11, 4, Some(GUILD), None);
    world.rooms.put(12, 13, Some(GUILD), None);
    world.rooms.put(13, 2, Some(2.into()), None);
    world.rooms.put(14, 2, None, None);
    for id in 10..=15 {
        is(&world.end(id).await, 404, "NOT_FOUND");
    }
    assert_eq!(world.rooms.deletes(), 0);
}

/// A policy of an embedder's own.
struct OnlyAlice;

impl RoomPolicy for OnlyAlice {
    fn may_create(&self, user: &User, _: &CreateRoom) -> Decision {
        if user.claims["sub"] == "alice" {
            Decision::Allow
        } else {
            Decision::Deny
        }
    }

    fn may_end(&self, _: &User, room: &ChannelInfo, creator: Option<&str>) -> Decision {
        assert_eq!((room.kind, creator), (2, Some("alice")));
        Decision::Deny
    }
}

#[tokio::test(start_paused = true)]
async fn policies_decide_further() {
    let world = World::with(|builder| builder.policy(OnlyAlice));
    assert_eq!(world.create("{}").await.status, 200);
    is(&world.end(1000).await, 403, "FORBIDDEN");
    let bob = format!("Bearer {}", world.token("bob"));
    let request = Request::post("/api/create-room").header("authorization", bob);
    let reply = world.call(request.body(Full::default()).unwrap()).await;
    is(&reply, 403, "FORBIDDEN");

    let world = World::with(|builder| builder.policy(CreatorOnly));
    world.create("{}").await;
    world.rooms.put(50, 2, Some(GUILD), None);
    is(&world.end(50).await, 403, "FORBIDDEN");
    let bob = format!("Bearer {}", world.token("bob"));
    let request = Request::delete("/api/end-room/1000").header("authorization", bob);
    is(
        &world.call(request.body(Full::default()).unwrap()).await,
        403,
        "FORBIDDEN",
    );
    assert_eq!(world.end(1000).await.status, 200);

    let world = World::with(|builder| builder.policy(InsideCategory(77.into())));
    is(&world.create("{}").await, 403, "FORBIDDEN");
    assert_eq!(world.create(r#"{"parentId":"77"}"#).await.status, 200);
    world.rooms.put(50, 2, Some(GUILD), Some(78.into()));
    is(&world.end(50).await, 403, "FORBIDDEN");
    assert_eq!(world.end(1000).await.status, 200);
}

async fn keyed(world: &World, key: &str, body: &str) -> Reply {
    world
        .authed(
            "POST",
            "/api/create-room",
            &[("idempotency-key", key)],
            body,
        )
        .await
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_creates_once() {
    let world = World::with_limits(Limits {
        idempotency_age: Duration::from_secs(100),
        ..Limits::default()
    });
    let first = keyed(&world, "k", "{}").await;
    let again = world
        .authed(
            "POST",
            "/api/create-room",
            &[("x-idempotency-key", "k")],
            "{}",
        )
        .await;
    assert_eq!(
        (first.status.as_u16(), first.json()),
        (again.status.as_u16(), again.json())
    );
    is(
        &keyed(&world, "k", r#"{"userLimit":5}"#).await,
        409,
        "CONFLICT",
    );
    is(
        &keyed(&world, &"k".repeat(256), "{}").await,
        400,
        "VALIDATION_FAILED",
    );
    // Another user's key is another key.
    let bob = format!("Bearer {}", world.token("bob"));
    let request = Request::post("/api/create-room")
        .header("authorization", bob)
        .header("idempotency-key", "k");
    let other = world.call(request.body(Full::default()).unwrap()).await;
    assert_ne!(other.json(), first.json());
    assert_eq!(world.rooms.creates(), 2);
    tokio::time::advance(Duration::from_secs(100)).await;
    keyed(&world, "k", "{}").await;
    assert_eq!(world.rooms.creates(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_at_work_is_waited_for_and_a_failure_is_forgotten() {
    let world = World::new();
    world.rooms.hold();
    let release = async {
        while world.rooms.creates() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        world.rooms.release();
    };
    let (one, two, ()) = tokio::join!(keyed(&world, "k", "{}"), keyed(&world, "k", "{}"), release);
    assert_eq!((one.status.as_u16(), one.json()), (200, two.json()));
    assert_eq!(world.rooms.creates(), 1);

    world
        .rooms
        .fail_next(RoomError::Unavailable { source: None });
    assert_eq!(keyed(&world, "f", "{}").await.status, 503);
    assert_eq!(keyed(&world, "f", "{}").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_refused() {
    let world = World::with_limits(Limits {
        max_api_calls: 1,
        ..Limits::default()
    });
    world.rooms.hold();
    let second = async {
        while world.rooms.creates() == 0 {
            tokio::task::yield_now().await;
        }
        is(&world.create("{}").await, 503, "OVERLOADED");
        world.rooms.release();
    };
    let (first, ()) = tokio::join!(world.create("{}"), second);
    assert_eq!(first.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_webhook_demands_a_good_signature_and_says_no_more() {
    let world = World::with(|builder| builder.previous_hub_secret(secret("old-secret")));
    let body = json!({ "event": "hub.ping", "payload": { "guildId": "1" } }).to_string();
    let now = world.clock.seconds();
    let sign = |name: &str, ts: u64| signature::sign(&secret(name), ts, body.as_bytes());
    let post = |ts: u64, signature: String| {
        let (world, body) = (&world, body.clone());
        async move {
            world
                .post_raw(&ts.to_string(), &signature, None, body)
                .await
        }
    };
    for name in ["hub-secret", "old-secret"] {
        let reply = post(now, sign(name, now)).await;
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.json(),
            json!({ "ok": true, "epoch": world.hub.stats().epoch, "synced": false })
        );
    }
    for ts in [now - 60, now + 60] {
        assert_eq!(post(ts, sign("hub-secret", ts)).await.status, 200);
    }
    let mut refusals = Vec::new();
    for ts in [now - 61, now + 61] {
        refusals.push(post(ts, sign("hub-secret", ts)).await);
    }
    refusals.push(post(now, sign("other", now)).await);
    refusals.push(post(now + 1, sign("hub-secret", now)).await);
    refusals.push(post(now, sign("hub-secret", now).to_uppercase()).await);
    refusals.push(
        world
            .post_raw("x", &sign("hub-secret", now), None, body.clone())
            .await,
    );
    refusals.push(
        world
            .call(
                Request::post("/api/internal/events")
                    .body(Full::default())
                    .unwrap(),
            )
            .await,
    );
    for reply in &refusals {
        is(reply, 403, "FORBIDDEN");
        assert_eq!(reply.json()["message"], refusals[0].json()["message"]);
    }
    let refused = world.hub.stats().refused_signatures;
    assert_eq!(refused.values().sum::<u64>(), 7);
    assert_eq!(refused["stale"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_webhook_checks_what_it_takes() {
    let world = World::new();
    is(
        &world.post("nonsense", json!({})).await,
        400,
        "VALIDATION_FAILED",
    );
    is(
        &world.post("room.deleted", json!({ "channelId": 1 })).await,
        400,
        "VALIDATION_FAILED",
    );
    let reply = world
        .post_as("a b", "hub.ping", json!({ "guildId": "1" }))
        .await;
    is(&reply, 400, "VALIDATION_FAILED");
    let foreign = json!({ "channelId": "5", "guildId": "2", "name": "x" });
    assert_eq!(world.post("room.created", foreign).await.status, 200);
    assert_eq!((world.hub.stats().seq, world.hub.stats().rooms), (0, 0));
    let request = Request::post("/api/internal/events")
        .body(Full::from(vec![b' '; 2_000_000]))
        .unwrap();
    is(&world.call(request).await, 413, "PAYLOAD_TOO_LARGE");
    // A failed delivery is not remembered.
    world.post_as("d", "room.created", json!({})).await;
    let good = json!({ "channelId": "5", "guildId": "1", "name": "x" });
    world.post_as("d", "room.created", good).await;
    assert_eq!(world.hub.stats().rooms, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_epoch_is_left_to_the_snapshot() {
    let world = World::new();
    let room = json!({ "channelId": "5", "guildId": "1", "name": "x" });
    let body = json!({ "event": "room.created", "payload": room }).to_string();
    let now = world.clock.seconds();
    let signature = signature::sign(&secret("hub-secret"), now, body.as_bytes());
    let epoch = world.hub.stats().epoch;
    for (sent, rooms) in [("another", 0), (epoch.as_str(), 1)] {
        let request = Request::post("/api/internal/events")
            .header("x-hub-timestamp", now)
            .header("x-hub-signature", &signature)
            .header("x-hub-delivery", "same")
            .header("x-hub-epoch", sent);
        let reply = world
            .call(request.body(Full::from(body.clone())).unwrap())
            .await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["epoch"]),
            (200, &json!(epoch))
        );
        assert_eq!(world.hub.stats().rooms, rooms);
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_stand_at_an_epoch_and_a_seq() {
    let world = World::new();
    is(&world.get("/api/rooms").await, 401, "UNAUTHORIZED");
    let room = json!({ "channelId": "9", "name": "n", "userLimit": 4,
        "members": [{ "userId": "5", "selfMute": true, "selfDeaf": false, "selfVideo": false }] });
    world
        .post("guild.snapshot", json!({ "guildId": "1", "rooms": [room] }))
        .await;
    let reply = world.authed("GET", "/api/rooms", &[], "").await;
    let epoch = world.hub.stats().epoch;
    assert_eq!(
        reply.json(),
        json!({ "guildId": "1", "rooms": [room], "epoch": epoch, "seq": 2 })
    );
}

#[tokio::test(start_paused = true)]
async fn cors_knows_one_origin() {
    let world = World::new();
    let preflight = |origin: &str| {
        let request = Request::options("/api/create-room")
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        world.call(request.body(Full::default()).unwrap())
    };
    let reply = preflight(ORIGIN).await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.headers["access-control-allow-origin"], ORIGIN);
    let allowed = reply.headers["access-control-allow-headers"]
        .to_str()
        .unwrap();
    assert!(
        allowed.contains("authorization") && allowed.contains("idempotency-key"),
        "{allowed}"
    );
    let reply = preflight("https://evil.example").await;
    assert_eq!(reply.status, 403);
    assert!(!reply.headers.contains_key("access-control-allow-origin"));
    // Errors are readable for the page too.
    let request = Request::post("/api/create-room")
        .header("origin", ORIGIN)
        .body(Full::default())
        .unwrap();
    let reply = world.call(request).await;
    assert_eq!(
        (
            reply.status.as_u16(),
            &reply.headers["access-control-allow-origin"]
        ),
        (401, &ORIGIN.parse().unwrap())
    );
    assert_eq!(reply.headers["vary"], "Origin");
}

#[tokio::test(start_paused = true)]
async fn request_ids_are_echoed_when_sane() {
    let world = World::new();
    let with = |id: &str| {
        let request = Request::get("/health").header("x-request-id", id);
        world.call(request.body(Full::<Bytes>::default()).unwrap())
    };
    assert_eq!(
        with("abc-1_2.3:4").await.headers["x-request-id"],
        "abc-1_2.3:4"
    );
    for bad in ["a b", "", "a\"b", &"x".repeat(129)] {
        let id = with(bad).await.headers["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(id.len(), 16, "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ready_names_what_is_missing() {
    let limits = Limits {
        worker_timeout: Duration::from_secs(30),
        discord_check_age: Duration::from_secs(15),
        ..Limits::default()
    };
    let world = World::with_limits(limits);
    *world.jwks.json.lock().unwrap() = None;
    world.rooms.set_down(true);
    let reply = world.get("/ready").await;
    assert_eq!(reply.status, 503);
    assert_eq!(
        reply.json()["missing"],
        json!(["discord", "worker", "identity"])
    );
    // The hub lives and serves all the same.
    assert_eq!(world.get("/health").await.json()["status"], "ok");
    assert_eq!(
        world
            .post("guild.snapshot", json!({ "guildId": "1", "rooms": [] }))
            .await
            .status,
        200
    );

    *world.jwks.json.lock().unwrap() = Some(crate::server_support::jwks(&[world.key.jwk()]));
    world.rooms.set_down(false);
    tokio::time::advance(Duration::from_secs(16)).await;
    let reply = world.get("/ready").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["missing"].clone()),
        (200, json!([]))
    );
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(
        world.get("/ready").await.json()["missing"],
        json!(["worker"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_the_original_system_is_there_from_its_first_event_on() {
    let world = World::new();
    let missing = |reply: &Reply| reply.json()["missing"].clone();
    assert_eq!(missing(&world.get("/ready").await), json!(["worker"]));
    world.join(5, 9).await;
    assert_eq!(world.get("/ready").await.status, 200);
    // It neither pings nor sends snapshots: hours without an event say nothing.
    tokio::time::advance(Duration::from_secs(7200)).await;
    assert_eq!(world.get("/ready").await.status, 200);
    // A worker that sends snapshots pings as well.
    let empty = json!({ "guildId": "1", "rooms": [] });
    world.post("guild.snapshot", empty).await;
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(missing(&world.get("/ready").await), json!(["worker"]));

    let world = World::with(|builder| builder.require_worker(false));
    let reply = world.get("/ready").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["worker"]),
        (200, &json!(false))
    );
}

#[tokio::test(start_paused = true)]
async fn metrics_are_prometheus_text() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.join(5, 9).await;
    socket.next().await;
    world.get("/nowhere").await;
    let reply = world.get("/metrics").await;
    assert!(
        reply.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    for line in [
        "hub_connections 1",
        "hub_seq 1",
        "hub_delivered_total 1",
        "hub_ring_events 1",
        "hub_buffered_bytes 0",
        "hub_errors_total{code=\"NOT_FOUND\"} 1",
        "# TYPE hub_closed_total counter",
    ] {
        assert!(
            reply.text.lines().any(|have| have == line),
            "{line} is missing in\n{}",
            reply.text
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut_off_and_a_slow_body_answered() {
    let world = World::new();
    let mut io = world.connect(1024);
    io.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).await.unwrap();
    let text = String::from_utf8(rest).unwrap();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );

    let mut io = world.connect(1024);
    let head = "POST /api/internal/events HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab";
    io.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    io.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_whole_exchange_over_a_pipe() {
    let world = World::new();
    let mut io = world.connect(4096);
    io.write_all(b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    io.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["guildId"], "1");
}
