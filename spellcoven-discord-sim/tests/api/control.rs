//! The control API over loopback TCP.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use spellcoven_discord_sim::{
    ChannelId, ControlServer, Description, EntryKind, PersonDescription, Request, Sim,
};

use super::support::{Client, INTENTS, Read};

pub(super) struct Control {
    pub(super) sim: Sim,
    pub(super) about: Description,
    url: String,
}

pub(super) async fn start() -> Control {
    let sim = Sim::builder().seed(1).start_time(1_700_000_000_000).build();
    let guild_id = sim.add_guild("G");
    let bot = sim.add_bot("bot", guild_id);
    let voice_channel_id = sim.add_voice_channel(guild_id, "Lobby");
    let alice = PersonDescription {
        user_id: sim.add_person("alice", guild_id),
        name: "alice".into(),
    };
    let control = ControlServer::bind("127.0.0.1:0").await.unwrap();
    let url = control.url();
    let about = Description {
        api_base: String::new(),
        gateway_url: String::new(),
        control_url: url.clone(),
        tls: None,
        guild_id,
        voice_channel_id,
        voice_channel_ids: vec![voice_channel_id],
        bots: vec![bot.into()],
        people: vec![alice],
    };
    tokio::spawn(control.serve(sim.clone(), about.clone()));
    Control { sim, about, url }
}

impl Control {
    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let address = self.url.strip_prefix("http://").unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", address)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn a_person_joins_and_leaves() {
    let control = start().await;
    let alice = control.about.people[0].user_id;
    let lobby = control.about.voice_channel_id;
    let join = json!({ "user_id": alice, "channel_id": lobby });
    let (status, body) = control.call("POST", "/voice", &join).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["dispatched_at_us"].as_u64().unwrap() >= 1_700_000_000_000_000);
    let (_, world) = control.call("GET", "/world", &Value::Null).await;
    assert_eq!(world["voice_states"][0]["user_id"], alice.to_string());
    assert_eq!(world["channels"][0]["type"], 2);
    let leave = json!({ "user_id": alice, "channel_id": null });
    assert_eq!(control.call("POST", "/voice", &leave).await.0, 200);
    assert!(control.sim.voice_states(control.about.guild_id).is_empty());
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let control = start().await;
    let alice = control.about.people[0].user_id;
    for (method, path, body, status) in [
        (
            "POST",
            "/voice",
            json!({ "user_id": alice, "channel_id": ChannelId(1) }),
            400,
        ),
        (
            "POST",
            "/voice",
            json!({ "user_id": "alice", "channel_id": null }),
            400,
        ),
        ("POST", "/voice", json!("?"), 400),
        (
            "POST",
            "/invalid_session",
            json!({ "resumable": "yes" }),
            400,
        ),
        ("GET", "/journal?since=x", Value::Null, 400),
        ("GET", "/voice", Value::Null, 404),
    ] {
        let (answered, body) = control.call(method, path, &body).await;
        assert_eq!(answered, status, "{method} {path}: {body}");
        assert!(body["message"].is_string());
    }
}

#[tokio::test]
async fn faults_strike_the_bots() {
    let control = start().await;
    for (path, body) in [
        ("/reconnect", json!({})),
        ("/invalid_session", json!({ "resumable": true })),
        ("/drop", json!({ "code": 4000 })),
        ("/drop", json!({ "user_id": control.about.bots[0].user_id })),
        ("/mute_acks", json!({ "on": true })),
    ] {
        let (status, body) = control.call("POST", path, &body).await;
        assert_eq!((status, &body["ok"]), (200, &json!(true)), "{path}");
    }
    let journal = control.sim.journal();
    let acted = journal
        .entries()
        .iter()
        .filter(|entry| matches!(entry.what, EntryKind::Acted { .. }));
    assert!(acted.count() >= 5);
    let (_, told) = control.call("GET", "/journal?text", &Value::Null).await;
    assert!(told.as_array().unwrap().iter().all(Value::is_string));
    let (_, info) = control.call("GET", "/info", &Value::Null).await;
    assert_eq!(info["bots"][0]["token"], control.about.bots[0].token);
}

/// A bot that is connected through the simulator itself, beside the control API.
async fn bot(control: &Control) -> Client {
    let mut client = Client::connect(&control.sim, "v=10").await;
    client.hello().await;
    client.identify(&control.about.bots[0].token, INTENTS).await;
    client.expect("READY").await;
    client.expect("GUILD_CREATE").await;
    client
}

impl Control {
    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, &body).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }
}

#[tokio::test]
async fn what_happens_while_a_bot_is_away_is_replayed() {
    let control = start().await;
    let nobody = json!({ "emit_while_away": 1 });
    let (status, _) = control.call("POST", "/reconnect", &nobody).await;
    assert_eq!(status, 400, "nobody is there to go away");
    let mut client = bot(&control).await;
    control
        .post(
            "/reconnect",
            json!({ "grace_ms": 50, "emit_while_away": 3 }),
        )
        .await;
    client.expect_op(7).await;
    assert_eq!(client.closed().await, 4000);
    let (session, seq) = (client.session.clone(), client.seq);
    let mut client = Client::connect(&control.sim, "v=10").await;
    client.hello().await;
    let token = &control.about.bots[0].token;
    client.resume(token, &session, seq).await;
    for _ in 0..3 {
        client.expect("VOICE_STATE_UPDATE").await;
    }
    client.expect("RESUMED").await;
    let own = json!({
        "user_id": control.about.bots[0].user_id, "grace_ms": 0,
        "emit_while_away": [{"t": "OWN", "d": 1}, {"t": "OWN", "d": 2, "intent": 1}],
    });
    control.post("/reconnect", own).await;
    client.expect_op(7).await;
    client.closed().await;
    let seq = client.seq;
    let mut client = Client::connect(&control.sim, "v=10").await;
    client.hello().await;
    client.resume(token, &session, seq).await;
    assert_eq!(client.expect("OWN").await, 1);
    assert_eq!(client.expect("OWN").await, 2);
    client.expect("RESUMED").await;
    let (_, stats) = control.call("GET", "/stats", &Value::Null).await;
    assert_eq!(
        (&stats["identifies"], &stats["resumes"], &stats["replayed"]),
        // Each of the three with a start time of the channel.
        (&json!(1), &json!(2), &json!(8))
    );
    assert_eq!(
        (&stats["live_sessions"], &stats["complaints"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn events_and_faults_as_json() {
    let control = start().await;
    let mut client = bot(&control).await;
    control
        .post("/emit", json!({"t": "OWN", "d": {"a": 1}}))
        .await;
    assert_eq!(client.expect("OWN").await, json!({"a": 1}));
    let odd = "with \"quotes\" and\na line";
    control.post("/emit", json!({"t": odd, "d": [1]})).await;
    assert_eq!(client.expect(odd).await, json!([1]));
    // Without the intent of the event's own, and with one the bot does not have.
    control
        .post("/emit", json!({"t": "MESSAGE_CREATE", "d": {}}))
        .await;
    control
        .post("/emit", json!({"t": "OWN", "d": {}, "intent": 512}))
        .await;
    control
        .post("/fault", json!({"fault": "request_heartbeat"}))
        .await;
    client.expect_op(1).await;
    control
        .post(
            "/fault",
            json!({"fault": {"close": {"code": 4000}}, "user_id": control.about.bots[0].user_id}),
        )
        .await;
    assert_eq!(client.closed().await, 4000);
    for body in [
        json!({"fault": "nothing"}),
        json!({"what": "nothing"}),
        json!({"fault": {"close": {"code": 1005}}}),
        json!({"fault": "cut", "user_id": control.about.people[0].user_id}),
        json!({}),
    ] {
        assert_eq!(control.call("POST", "/fault", &body).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn rest_is_limited_and_fails_on_demand() {
    let control = start().await;
    let token = control.about.bots[0].token.clone();
    let get = |path: &str| {
        control
            .sim
            .rest(&Request::new("GET", &format!("/api/v10{path}")).bot(&token))
            .status
    };
    let lobby = format!("/channels/{}", control.about.voice_channel_id);
    let limit = json!({"route": "GET /channels/{channel.id}", "limit": 1, "window": 60});
    assert_eq!(control.post("/ratelimit", limit).await["routes"], 1);
    assert_eq!((get(&lobby), get(&lobby)), (200, 429));
    control.post("/ratelimit", json!({"count": 2})).await;
    control.post("/ratelimit", json!({"clear": true})).await;
    assert_eq!((get(&lobby), get(&lobby)), (200, 200));
    control
        .post(
            "/ratelimit",
            json!({"count": 1, "scope": "global", "retry_after": 0.5}),
        )
        .await;
    assert_eq!((get("/users/@me"), get("/users/@me")), (429, 200));
    control
        .post(
            "/fail5xx",
            json!({"count": 2, "status": 503, "match": "/channels/{id}"}),
        )
        .await;
    assert_eq!(
        (get(&lobby), get("/users/@me"), get(&lobby), get(&lobby)),
        (503, 200, 503, 200)
    );
    control
        .post("/fault", json!({"match": "GET", "what": {"body": {"status": 418, "content_type": "a/b", "body": ""}}}))
        .await;
    assert_eq!((get(&lobby), get(&lobby)), (418, 200));
    control.post("/ban", json!({"ms": 60_000})).await;
    assert_eq!(get(&lobby), 429);
    control.post("/clear", json!({})).await;
    assert_eq!(get(&lobby), 200);
    for (path, body) in [
        ("/ratelimit", json!({})),
        (
            "/ratelimit",
            json!({"route": "GET /nothing", "limit": 1, "window": 1}),
        ),
        (
            "/ratelimit",
            json!({"route": "GET /gateway", "limit": 1, "window": -1}),
        ),
        (
            "/ratelimit",
            json!({"route": "GET /gateway", "limit": 0, "window": 1}),
        ),
        (
            "/ratelimit",
            json!({"route": "GET /gateway", "limit": 1, "window": 0}),
        ),
        ("/ratelimit", json!({"count": 0})),
        ("/fail5xx", json!({"count": 0})),
        ("/drop", json!({"code": 5})),
        ("/drop", json!({"code": 5000})),
        ("/fail5xx", json!({"status": 404})),
        ("/mute_acks", json!({})),
        ("/channel", json!({"name": "x", "type": 99})),
    ] {
        assert_eq!(
            control.call("POST", path, &body).await.0,
            400,
            "{path} {body}"
        );
    }
    let voice = json!({"target": "voice"});
    let status = if cfg!(feature = "voice") { 200 } else { 501 };
    assert_eq!(control.call("POST", "/drop", &voice).await.0, status);
}

#[tokio::test]
async fn a_bot_with_a_new_token_is_told_with_it() {
    let control = start().await;
    control
        .sim
        .with(|world| world.settings_mut().identify_total = 0);
    let mut client = Client::connect(&control.sim, "v=10").await;
    client.hello().await;
    client.identify(&control.about.bots[0].token, INTENTS).await;
    assert_eq!(client.closed().await, 4004);
    let (_, info) = control.call("GET", "/info", &Value::Null).await;
    let told = info["bots"][0]["token"].as_str().unwrap();
    assert_ne!(told, control.about.bots[0].token);
    let me = Request::new("GET", "/api/v10/users/@me").bot(told);
    assert_eq!(control.sim.rest(&me).status, 200);
    // Neither token is in the journal.
    let journal = control.call("GET", "/journal", &Value::Null).await.1;
    let journal = journal.to_string();
    assert!(!journal.contains(told) && !journal.contains(&control.about.bots[0].token));
}

#[tokio::test]
async fn acks_are_muted_for_a_while() {
    let control = start().await;
    let mut client = bot(&control).await;
    control.post("/mute_acks", json!({"ms": 200})).await;
    client.heartbeat().await;
    let begin = control.sim.now();
    loop {
        client.heartbeat().await;
        let read = tokio::time::timeout(std::time::Duration::from_millis(50), client.read()).await;
        if let Ok(Read::Payload(payload)) = read {
            assert_eq!(payload["op"], 11);
            break;
        }
    }
    assert!(control.sim.now() - begin >= std::time::Duration::from_millis(100));
}

#[tokio::test]
async fn people_and_channels_come_and_go() {
    let control = start().await;
    let made = control.post("/person", json!({"name": "bob"})).await;
    let room = control.post("/channel", json!({"name": "Room"})).await;
    let sound = control.post("/sound", json!({"name": "Quack"})).await;
    assert!(sound["sound_id"].is_string());
    let text = control
        .post("/channel", json!({"name": "t", "type": 0}))
        .await;
    let to_room = json!({"user_id": made["user_id"], "channel_id": room["channel_id"]});
    assert_eq!(
        control.call("POST", "/move", &to_room).await.0,
        400,
        "not in voice"
    );
    let mut join = to_room.clone();
    join["channel_id"] = json!(control.about.voice_channel_id);
    join["self_mute"] = json!(true);
    control.post("/voice", join).await;
    control.post("/move", to_room).await;
    let (_, world) = control.call("GET", "/world", &Value::Null).await;
    let state = &world["voice_states"][0];
    assert_eq!(
        (&state["channel_id"], &state["self_mute"]),
        (&room["channel_id"], &json!(true))
    );
    control
        .post(
            "/move",
            json!({"user_id": made["user_id"], "channel_id": null}),
        )
        .await;
    control
        .post("/delete_channel", json!({"channel_id": text["channel_id"]}))
        .await;
    let (_, world) = control.call("GET", "//world/", &Value::Null).await;
    assert_eq!(world["voice_states"], json!([]));
    assert_eq!(world["channels"].as_array().unwrap().len(), 2);
    let bot = control.about.bots[0].user_id;
    control
        .post(
            "/permissions",
            json!({"user_id": bot, "permissions": "1024"}),
        )
        .await;
    let path = format!("/api/v10/guilds/{}/channels", control.about.guild_id);
    let create = Request::new("POST", &path)
        .bot(&control.about.bots[0].token)
        .json(&json!({"name": "x"}));
    assert_eq!(control.sim.rest(&create).status, 403);
}
