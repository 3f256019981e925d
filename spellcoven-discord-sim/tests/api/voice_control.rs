//! Voice through the control API.

use serde_json::{Value, json};
use spellcoven_discord_sim::{ChannelId, GuildId};

use super::control::{Control, start};
use super::support::{Client, INTENTS};
use super::voice_support::{AES, Caller, Heard, ticket};

/// The bot in a call.
async fn caller(control: &Control) -> (Client, Caller) {
    let mut client = Client::connect(&control.sim, "v=10&encoding=json").await;
    client.hello().await;
    client.identify(&control.about.bots[0].token, INTENTS).await;
    client.expect("READY").await;
    client.expect("GUILD_CREATE").await;
    let join = op4(control.about.guild_id, control.about.voice_channel_id);
    client.send(4, &join).await;
    let ticket = ticket(&mut client).await;
    let caller = Caller::enter(&control.sim, ticket, AES).await;
    (client, caller)
}

fn op4(guild: GuildId, channel: ChannelId) -> Value {
    json!({"guild_id": guild, "channel_id": channel, "self_mute": false, "self_deaf": false})
}

async fn dropped(caller: &mut Caller) -> Heard {
    loop {
        match caller.ws.read().await {
            Heard::Json(_) | Heard::Binary(..) => {}
            end => return end,
        }
    }
}

#[tokio::test]
async fn voice_connections_are_struck() {
    let control = start().await;
    let (mut client, mut a) = caller(&control).await;
    let post = async |path: &str, body: Value| control.call("POST", path, &body).await;
    let mute = json!({"target": "voice", "on": true});
    assert_eq!(post("/mute_acks", mute).await.0, 200);
    a.ws.send(3, &json!({"t": 1})).await;
    let unmute = json!({"target": "voice", "on": false, "user_id": a.user()});
    assert_eq!(post("/mute_acks", unmute).await.0, 200);
    a.ws.send(3, &json!({"t": 2})).await;
    assert_eq!(
        a.ws.until(6).await,
        json!({"t": 2}),
        "the first was not answered"
    );
    let nobody = json!({"target": "voice", "user_id": "1"});
    assert_eq!(post("/drop", nobody).await.0, 400);
    assert_eq!(post("/drop", json!({"target": "voice"})).await.0, 200);
    assert_eq!(dropped(&mut a).await, Heard::Dropped);
    let update = json!({"user_id": a.user()});
    let (_, answer) = post("/voice_server_update", update).await;
    assert_eq!(answer["renewed"], 1);
    let mut ticket = a.ticket;
    ticket.token = client.expect("VOICE_SERVER_UPDATE").await["token"].clone();
    let mut a = Caller::enter(&control.sim, ticket, AES).await;
    let close = json!({"target": "voice", "code": 4015});
    assert_eq!(post("/drop", close).await.0, 200);
    assert_eq!(dropped(&mut a).await, Heard::Closed(4015));
}

#[tokio::test]
async fn media_are_struck_and_counted() {
    let control = start().await;
    let (_client, mut a) = caller(&control).await;
    let post = async |path: &str, body: Value| control.call("POST", path, &body).await.0;
    for (path, body, status) in [
        ("/rtp_loss", json!({"p": 0.05}), 200),
        ("/rtp_loss", json!({"p": 1.5}), 400),
        ("/rtp_loss", json!({}), 400),
        ("/media", json!({"user_id": a.user(), "loss_in": 1.0}), 200),
        ("/media", json!({"reorder": -1}), 400),
        ("/media", json!({"louder": 1}), 400),
        ("/corrupt", json!({}), 400),
        ("/corrupt", json!({"welcome": true, "commit": true}), 200),
        ("/voice_server_update", json!({"server": 9}), 400),
        (
            "/voice_server_update",
            json!({"gone": true, "channel_id": "1"}),
            400,
        ),
    ] {
        assert_eq!(post(path, body.clone()).await, status, "{path} {body}");
    }
    a.speaking().await;
    a.say(&[1, 2, 3]);
    assert_eq!(post("/media", json!({"user_id": a.user()})).await, 200);
    a.say(&[1, 2, 3]);
    let (_, stats) = control.call("GET", "/stats", &Value::Null).await;
    let counts = &stats["media"][a.user().to_string()];
    assert_eq!(
        (&counts["packets"], &counts["clear"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(counts["lost_by_faults"], 1);
    assert_eq!(stats["voice_identifies"], 1);
    let (_, media) = control.call("GET", "/media", &Value::Null).await;
    assert_eq!(media[a.user().to_string()], *counts);
}

#[tokio::test]
async fn calls_are_moved() {
    let control = start().await;
    let (mut client, mut a) = caller(&control).await;
    let post = async |path: &str, body: Value| control.call("POST", path, &body).await.0;
    assert_eq!(
        post("/voice_server_update", json!({"gone": true})).await,
        200
    );
    let update = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(update["endpoint"], Value::Null);
    assert_eq!(dropped(&mut a).await, Heard::Dropped);
    control.sim.add_voice_server();
    assert_eq!(
        post("/voice_server_update", json!({"server": 2})).await,
        200
    );
    let update = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(update["endpoint"], "voice-2.discord.invalid:443");
    let room = control
        .sim
        .add_voice_channel(control.about.guild_id, "Room");
    client.expect("CHANNEL_CREATE").await;
    let to_room = json!({"user_id": a.user(), "channel_id": room});
    assert_eq!(post("/move", to_room).await, 200);
    assert_eq!(ticket(&mut client).await.channel_id, json!(room));
}

#[tokio::test]
async fn people_talk_and_listen() {
    let control = start().await;
    let bob = control.sim.add_person("bob", control.about.guild_id);
    let alice = control.about.people[0].user_id;
    let post = async |path: &str, body: Value| control.call("POST", path, &body).await;
    let talk = json!({"user_id": alice, "left": 440, "right": 880});
    let (status, answer) = post("/voice/talk", talk.clone()).await;
    assert_eq!(status, 400, "not in voice: {answer}");
    for user in [alice, bob] {
        let join = json!({"user_id": user, "channel_id": control.about.voice_channel_id});
        assert_eq!(post("/voice", join).await.0, 200);
    }
    for (wrong, body) in [
        ("no tone", json!({"user_id": alice})),
        (
            "no such file",
            json!({"user_id": alice, "file": "/nowhere"}),
        ),
        ("no base64", json!({"user_id": alice, "ogg": "!"})),
        ("no Ogg", json!({"user_id": alice, "ogg": "AAAA"})),
        ("too high", json!({"user_id": alice, "tone": 30_000})),
    ] {
        assert_eq!(post("/voice/talk", body).await.0, 400, "{wrong}");
    }
    assert_eq!(post("/voice/listen", json!({"user_id": bob})).await.0, 200);
    assert_eq!(post("/voice/talk", talk).await.0, 200);
    let path = format!("/voice/heard?user_id={bob}&from={alice}&left=440&right=880");
    let mut heard = Value::Null;
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let (status, answer) = control.call("GET", &path, &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        heard = answer;
        if heard["frames"].as_u64().unwrap() > 50 {
            break;
        }
    }
    assert!(heard["left"].as_f64().unwrap() > 0.8, "{heard}");
    assert!(heard["right"].as_f64().unwrap() > 0.8, "{heard}");
    assert_eq!(heard["clear"], 0);
    let (_, call) = control.call("GET", "/call", &Value::Null).await;
    assert_eq!(call["dave_version"], 1, "{call}");
    assert_eq!(call["members"], json!([bob, alice]));
    let down = json!({"fault": {"version": {"version": 0}}});
    assert_eq!(post("/dave", down).await.0, 200);
    assert_eq!(
        post("/dave", json!({"fault": "execute_unknown"})).await.0,
        200
    );
    assert_eq!(post("/dave", json!({"fault": "louder"})).await.0, 400);
    assert_eq!(post("/voice/hush", json!({"user_id": alice})).await.0, 200);
    let all = format!("/voice/heard?user_id={bob}");
    let (_, all) = control.call("GET", &all, &Value::Null).await;
    assert!(all[alice.to_string()]["frames"].as_u64().unwrap() > 50);
    assert_eq!(
        control.call("GET", "/voice/heard", &Value::Null).await.0,
        400
    );
}

#[tokio::test]
async fn a_voice_connection_is_cut_at_a_message() {
    let control = start().await;
    let (_client, mut a) = caller(&control).await;
    let at = |at: Value| json!({"target": "voice", "user_id": a.user(), "at": at});
    let bodies = [
        (json!({"at": {"message": 1}}), 400),
        (at(json!({"message": 0})), 400),
        (
            at(json!({"message": 2, "from_client": true, "lost": true})),
            200,
        ),
    ];
    for (body, status) in bodies {
        assert_eq!(
            control.call("POST", "/drop", &body).await.0,
            status,
            "{body}"
        );
    }
    a.ws.send(3, &json!({"t": 1})).await;
    assert_eq!(a.ws.until(6).await, json!({"t": 1}));
    a.ws.send(3, &json!({"t": 2})).await;
    assert_eq!(
        dropped(&mut a).await,
        Heard::Dropped,
        "the second is not heard"
    );
    let story = control.sim.journal().to_string();
    assert!(
        story.contains("fault: at message 2 of the client, op 3"),
        "{story}"
    );
}
