//! The control API over loopback TCP.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use spellcoven_discord_sim::{
    ChannelId, ControlServer, Description, EntryKind, PersonDescription, Sim,
};

struct Control {
    sim: Sim,
    about: Description,
    url: String,
}

async fn start() -> Control {
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
    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
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
