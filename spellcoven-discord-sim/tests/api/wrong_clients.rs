//! Clients that do wrong, and the close code that each gets.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, INTENTS, Read, Scene, identify, scene, scene_with};

/// What is sent after READY, and the code that answers it.
async fn after_ready(op: u64, d: Value) -> u16 {
    let scene = scene();
    let mut client = scene.ready().await;
    client.send(op, &d).await;
    client.closed().await
}

/// What is sent right after HELLO, and the code that answers it.
async fn before_identify(scene: &Scene, op: u64, d: Value) -> u16 {
    let mut client = scene.connect().await;
    client.hello().await;
    client.send(op, &d).await;
    client.closed().await
}

fn wanting(scene: &Scene, key: &str, value: Value) -> Value {
    let mut d = identify(&scene.bot.token, INTENTS);
    d[key] = value;
    d
}

#[tokio::test(start_paused = true)]
async fn each_wrong_has_its_documented_code() {
    let scene = scene();
    // 4000: heartbeats stopped.
    let mut client = scene.ready().await;
    let begin = scene.sim.now();
    assert_eq!(client.closed().await, 4000);
    assert!(scene.sim.now() - begin > Duration::from_secs(41));
    // 4001: an op that is none, one of user clients, and one with a field missing.
    assert_eq!(after_ready(77, Value::Null).await, 4001);
    assert_eq!(after_ready(14, json!({})).await, 4001);
    assert_eq!(after_ready(4, json!({"guild_id": "1"})).await, 4001);
    assert_eq!(after_ready(8, json!({"guild_id": "1"})).await, 4001);
    // 4002: too long, and no JSON, compressed JSON among it.
    let long = json!({"guild_ids": vec!["1234567890123456789"; 300]});
    assert_eq!(after_ready(31, long).await, 4002);
    for junk in [&b"{"[..], &[0x78, 0x9C, 3, 0, 0, 0, 0, 1], &[0xFF, 0xFE]] {
        let mut client = scene.ready_again().await;
        let message = async_tungstenite::tungstenite::Message::binary(junk.to_vec());
        client.ws.send(message).await.unwrap();
        assert_eq!(client.closed().await, 4002);
    }
    // 4003: anything before Identify.
    assert_eq!(before_identify(&scene, 4, json!({})).await, 4003);
    // 4004: a token that is none.
    let d = wanting(&scene, "token", json!("none"));
    assert_eq!(before_identify(&scene, 2, d).await, 4004);
    // 4005: a second Identify, also of another bot, and one on a resumed session.
    assert_eq!(after_ready(2, identify("x", INTENTS)).await, 4005);
    let mut client = scene.ready_again().await;
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.cut(&scene.bot);
    client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
    client.identify(&scene.bot.token, INTENTS).await;
    assert_eq!(client.closed().await, 4005);
    // 4007: a number that was never sent.
    client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, 9999).await;
    assert_eq!(client.closed().await, 4007);
    // 4008: more than 120 messages in a minute.
    client = scene.ready_again().await;
    for _ in 0..130 {
        client.heartbeat().await;
    }
    while client.payload_or_code().await.is_none() {}
    // 4010 and 4012 to 4014.
    let d = wanting(&scene, "shard", json!([2, 2]));
    assert_eq!(before_identify(&scene, 2, d).await, 4010);
    let mut client = Client::connect(&scene.sim, "v=5&encoding=json").await;
    assert_eq!(client.closed().await, 4012);
    let d = wanting(&scene, "intents", json!(1 << 30));
    assert_eq!(before_identify(&scene, 2, d).await, 4013);
    let d = wanting(&scene, "intents", json!(1 << 15));
    assert_eq!(before_identify(&scene, 2, d).await, 4014);
}

#[tokio::test(start_paused = true)]
async fn sharding_that_discord_refuses() {
    let scene = scene_with(|b| {
        b.settings(|s| {
            s.guilds_per_shard = 1;
            s.shard_multiple = 16;
            s.max_concurrency = 16;
        })
    });
    let second = scene.sim.add_guild("second");
    scene.sim.add_bot_to_guild(&scene.bot, second).unwrap();
    // No multiple of 16.
    let d = wanting(&scene, "shard", json!([0, 8]));
    assert_eq!(before_identify(&scene, 2, d).await, 4010);
    // Of 16 shards one would have to take both guilds only where their ids say so; without shards one does.
    scene
        .sim
        .with(|world| world.settings_mut().shard_multiple = 1);
    let d = identify(&scene.bot.token, INTENTS);
    assert_eq!(before_identify(&scene, 2, d).await, 4011);
    // Sixteen keys may identify in the same five seconds, and the seventeenth shard may not.
    scene
        .sim
        .with(|world| world.settings_mut().guilds_per_shard = 2500);
    let mut clients = Vec::new();
    for shard in 0..17 {
        let mut client = scene.connect().await;
        client.hello().await;
        client
            .send(2, &wanting(&scene, "shard", json!([shard, 32])))
            .await;
        if shard < 16 {
            let ready = client.expect("READY").await;
            assert_eq!(ready["shard"], json!([shard, 32]));
        } else {
            assert_eq!(client.expect_op(9).await, false);
        }
        clients.push(client);
    }
}

impl Scene {
    /// A client that is ready, six seconds after whoever identified before.
    async fn ready_again(&self) -> Client {
        tokio::time::advance(Duration::from_secs(6)).await;
        self.ready().await
    }
}

impl Client {
    /// The close code 4008, or nothing after a payload.
    async fn payload_or_code(&mut self) -> Option<u16> {
        match self.read().await {
            Read::Closed(code, _) => {
                assert_eq!(code, 4008);
                Some(code)
            }
            Read::Payload(_) => None,
            other => panic!("{other:?}"),
        }
    }
}
