//! HELLO, Identify, READY, and what closes a connection.

use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::{EntryKind, Sim};

use super::support::{Client, INTENTS, Read, Scene, identify, scene, scene_with};

async fn close_of(scene: &Scene, payload: &Value) -> u16 {
    let mut client = scene.connect().await;
    client.hello().await;
    client.send_text(payload.to_string()).await;
    client.closed().await
}

#[tokio::test(start_paused = true)]
async fn hello_then_ready_then_the_guild() {
    let scene = scene_with(|b| b.public_url("http://127.0.0.1:9"));
    let mut client = scene.connect().await;
    assert_eq!(client.hello().await, 41_250);
    client.identify(&scene.bot.token, INTENTS).await;
    let ready = client.expect("READY").await;
    assert!(
        client.raw.starts_with(r#"{"t":"READY","s":1,"op":0,"d":{"#),
        "{}",
        client.raw
    );
    assert_eq!(
        ready["guilds"],
        json!([{"id": scene.guild.to_string(), "unavailable": true}])
    );
    assert_eq!(ready["resume_gateway_url"], "ws://127.0.0.1:9");
    assert!(ready.get("shard").is_none());
    let guild = client.expect("GUILD_CREATE").await;
    assert_eq!(guild["id"], scene.guild.to_string());
    assert_eq!(guild["channels"][0]["id"], scene.lobby.to_string());
    assert!(guild["channels"][0].get("guild_id").is_none());
    assert!(scene.sim.complaints().is_empty(), "{}", scene.sim.journal());
}

#[tokio::test(start_paused = true)]
async fn identify_may_come_before_hello_is_read_and_as_a_binary_frame() {
    let scene = scene();
    let mut client = scene.connect().await;
    let text =
        json!({"op": 2, "d": identify(&format!("Bot {}", scene.bot.token), INTENTS)}).to_string();
    client
        .ws
        .send(async_tungstenite::tungstenite::Message::binary(
            text.into_bytes(),
        ))
        .await
        .unwrap();
    client.hello().await;
    client.expect("READY").await;
}

#[tokio::test(start_paused = true)]
async fn each_wrong_identify_has_its_close_code() {
    let scene = scene();
    let good = |change: &dyn Fn(&mut Value)| {
        let mut d = identify(&scene.bot.token, INTENTS);
        change(&mut d);
        json!({"op": 2, "d": d})
    };
    let rows: [(&str, Value, u16); 13] = [
        ("wrong token", good(&|d| d["token"] = json!("x")), 4004),
        ("no token", good(&|d| d["token"] = Value::Null), 4001),
        (
            "no properties",
            good(&|d| d["properties"] = Value::Null),
            4001,
        ),
        ("no intents", good(&|d| d["intents"] = Value::Null), 4013),
        (
            "intents that do not exist",
            good(&|d| d["intents"] = json!(1 << 17)),
            4013,
        ),
        (
            "privileged intents",
            good(&|d| d["intents"] = json!(2)),
            4014,
        ),
        (
            "shard over the count",
            good(&|d| d["shard"] = json!([1, 1])),
            4010,
        ),
        (
            "shard of no shape",
            good(&|d| d["shard"] = json!([1])),
            4001,
        ),
        ("unknown op", json!({"op": 77, "d": null}), 4003),
        ("a command first", json!({"op": 4, "d": {}}), 4003),
        ("no op", json!({"d": null}), 4001),
        ("no object", json!([1]), 4002),
        (
            "over 4096 bytes",
            json!({"op": 1, "d": null, "x": "y".repeat(4096)}),
            4002,
        ),
    ];
    for (name, payload, code) in rows {
        assert_eq!(close_of(&scene, &payload).await, code, "{name}");
    }
    assert_eq!(scene.sim.complaints().len(), 13);
}

#[tokio::test(start_paused = true)]
async fn text_that_is_no_json_is_4002() {
    let scene = scene();
    let mut client = scene.connect().await;
    client.hello().await;
    client.send_text("{".to_owned()).await;
    assert_eq!(client.closed().await, 4002);
}

#[tokio::test(start_paused = true)]
async fn the_url_is_checked() {
    let scene = scene();
    for (query, code) in [
        ("v=5", 4012),
        ("v=10&encoding=etf", 4002),
        ("encoding=json&v=10&compress=lz4-stream", 4002),
    ] {
        let mut client = Client::connect(&scene.sim, query).await;
        assert_eq!(client.closed().await, code, "{query}");
    }
    for query in ["", "encoding=json&v=10", "v=9&x=y"] {
        Client::connect(&scene.sim, query).await.hello().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_identify_is_4005_and_leaves_the_session() {
    let scene = scene();
    let mut client = scene.ready().await;
    client.identify(&scene.bot.token, INTENTS).await;
    assert_eq!(client.closed().await, 4005);
    let (session, seq) = (client.session.clone(), client.seq);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_answered_before_and_after_identify() {
    let scene = scene();
    let mut client = scene.connect().await;
    client.heartbeat().await;
    client.hello().await;
    client.expect_op(11).await;
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
    client.expect("GUILD_CREATE").await;
    client.heartbeat().await;
    client.expect_op(11).await;
    assert!(scene.sim.complaints().is_empty());
    client.send(1, &json!(99)).await;
    client.expect_op(11).await;
    assert_eq!(
        scene.sim.complaints().len(),
        1,
        "a number that was never sent"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_one_and_a_half_intervals_and_may_resume() {
    let scene = scene();
    let mut client = scene.ready().await;
    let begin = scene.sim.now();
    assert_eq!(client.closed().await, 4000);
    let waited = scene.sim.now() - begin;
    assert!(
        waited >= Duration::from_millis(61_875) && waited < Duration::from_secs(62),
        "{waited:?}"
    );
    let (session, seq) = (client.session.clone(), client.seq);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
}

#[tokio::test(start_paused = true)]
async fn two_identifies_in_five_seconds_get_op_9_and_the_socket_stays() {
    let scene = scene();
    let _first = scene.ready().await;
    let mut second = scene.connect().await;
    second.hello().await;
    second.identify(&scene.bot.token, INTENTS).await;
    assert_eq!(second.expect_op(9).await, false);
    tokio::time::advance(Duration::from_secs(5)).await;
    second.identify(&scene.bot.token, INTENTS).await;
    second.expect("READY").await;
}

#[tokio::test(start_paused = true)]
async fn concurrency_keys_are_apart() {
    let scene = scene_with(|b| b.settings(|s| s.max_concurrency = 2));
    let mut clients = Vec::new();
    for shard in 0..2 {
        let mut client = scene.connect().await;
        client.hello().await;
        let mut d = identify(&scene.bot.token, INTENTS);
        d["shard"] = json!([shard, 2]);
        client.send(2, &d).await;
        let ready = client.expect("READY").await;
        assert_eq!(ready["shard"], json!([shard, 2]));
        clients.push(client);
    }
}

#[tokio::test(start_paused = true)]
async fn guilds_and_their_events_go_to_their_shard_alone() {
    let sim = Sim::builder()
        .seed(1)
        .settings(|s| s.max_concurrency = 2)
        .build();
    let first = sim.add_guild("a");
    let second = sim.add_guild("b");
    let bot = sim.add_bot("bot", first);
    sim.add_bot_to_guild(&bot, second).unwrap();
    let mut seen = Vec::new();
    for shard in 0..2_u64 {
        let mut client = Client::connect(&sim, "v=10").await;
        client.hello().await;
        let mut d = identify(&bot.token, INTENTS);
        d["shard"] = json!([shard, 2]);
        client.send(2, &d).await;
        assert_eq!(
            client.expect("READY").await["guilds"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let guild = client.expect("GUILD_CREATE").await["id"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap();
        assert_eq!((guild >> 22) % 2, shard);
        seen.push((guild, client));
    }
    sim.add_voice_channel(first, "only there");
    for (guild, client) in &mut seen {
        if *guild == first.get() {
            client.expect("CHANNEL_CREATE").await;
        } else {
            client.silent().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn spending_the_days_identifies_ends_all_and_changes_the_token() {
    let scene = scene_with(|b| b.settings(|s| s.identify_total = 2));
    let mut first = scene.ready().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let _second = scene.ready().await;
    assert_eq!(
        scene.get("/gateway/bot").json()["session_start_limit"]["remaining"],
        0
    );
    tokio::time::advance(Duration::from_secs(5)).await;
    let mut third = scene.connect().await;
    third.hello().await;
    third.identify(&scene.bot.token, INTENTS).await;
    assert_eq!(third.closed().await, 4004);
    assert_eq!(first.closed().await, 4004);
    assert_eq!(scene.get("/users/@me").status, 401);
    let token = scene.sim.token(&scene.bot).unwrap();
    assert_ne!(token, scene.bot.token);
    assert_eq!(
        scene
            .sim
            .with(|world| world.session_count(scene.bot.user_id)),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_budget_begins_anew_after_a_day() {
    let scene = scene_with(|b| b.settings(|s| s.identify_total = 5));
    let mut client = scene.ready().await;
    client.close(1000).await;
    let limit = &scene.get("/gateway/bot").json()["session_start_limit"];
    assert_eq!(
        (limit["total"].as_u64(), limit["remaining"].as_u64()),
        (Some(5), Some(4))
    );
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(
        scene.get("/gateway/bot").json()["session_start_limit"]["remaining"],
        5
    );
}

#[tokio::test(start_paused = true)]
async fn more_than_120_messages_in_a_minute_are_4008() {
    let scene = scene();
    let mut client = scene.connect().await;
    client.hello().await;
    for _ in 0..120 {
        client.heartbeat().await;
        client.expect_op(11).await;
    }
    client.heartbeat().await;
    assert_eq!(client.closed().await, 4008);

    let mut client = scene.connect().await;
    client.hello().await;
    for _ in 0..240 {
        client.heartbeat().await;
        client.expect_op(11).await;
        tokio::time::advance(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_interval_leaves_the_beats_out_of_the_limit() {
    let scene = scene_with(|b| b.heartbeat_interval(Duration::from_millis(100)));
    let mut client = scene.connect().await;
    client.hello().await;
    for _ in 0..200 {
        client.heartbeat().await;
        client.expect_op(11).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_guilds_ready_comes_all_the_same() {
    let sim = Sim::builder().seed(1).build();
    let guild = sim.add_guild("left");
    let bot = sim.add_bot("bot", guild);
    sim.remove_member(&bot, guild).unwrap();
    let mut client = Client::connect(&sim, "v=10").await;
    client.hello().await;
    client.identify(&bot.token, INTENTS).await;
    assert_eq!(client.expect("READY").await["guilds"], json!([]));
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_guild_comes_later() {
    let scene = scene();
    scene.sim.set_unavailable(scene.guild, true).unwrap();
    let mut client = scene.connect().await;
    client.hello().await;
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
    client.silent().await;
    scene.sim.set_unavailable(scene.guild, false).unwrap();
    client.expect("GUILD_CREATE").await;
    scene.sim.set_unavailable(scene.guild, true).unwrap();
    assert_eq!(client.expect("GUILD_DELETE").await["unavailable"], true);
}

#[tokio::test(start_paused = true)]
async fn closing_with_1000_or_1001_ends_the_session_and_other_codes_keep_it() {
    for (code, kept) in [(1000, 0), (1001, 0), (4000, 1), (3000, 1)] {
        let scene = scene();
        let mut client = scene.ready().await;
        client.close(code).await;
        assert_eq!(
            scene.sim.with(|w| w.session_count(scene.bot.user_id)),
            (kept, 0),
            "{code}"
        );
    }
    let scene = scene();
    let client = scene.ready().await;
    drop(client);
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (1, 0),
        "dropped"
    );
    let journal = scene.sim.journal();
    assert!(journal.entries().iter().any(|entry| matches!(
        entry.what,
        EntryKind::GatewayClosed {
            resumable: true,
            code: None,
            ..
        }
    )));
}

#[tokio::test(start_paused = true)]
async fn events_need_their_intent() {
    let scene = scene();
    let mut client = scene.ready_with(1).await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.silent().await;
    scene.sim.rename_channel(scene.lobby, "Hall").unwrap();
    assert_eq!(client.expect("CHANNEL_UPDATE").await["name"], "Hall");
    assert!(!matches!(client.read_soon().await, Some(Read::Payload(_))));
}

impl Client {
    async fn read_soon(&mut self) -> Option<Read> {
        tokio::time::timeout(Duration::from_millis(1), self.read())
            .await
            .ok()
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_2500_guilds_on_a_shard_are_4011() {
    let scene = scene();
    for n in 0..2500 {
        let guild = scene.sim.add_guild(&n.to_string());
        scene.sim.add_bot_to_guild(&scene.bot, guild).unwrap();
    }
    let mut client = scene.connect().await;
    client.hello().await;
    client.identify(&scene.bot.token, INTENTS).await;
    assert_eq!(client.closed().await, 4011);
    let mut client = scene.connect().await;
    client.hello().await;
    let mut d = identify(&scene.bot.token, INTENTS);
    d["shard"] = json!([1, 2]);
    client.send(2, &d).await;
    client.expect("READY").await;
}

#[tokio::test(start_paused = true)]
async fn members_are_told_with_the_privileged_intent_and_a_new_guild_comes_as_guild_create() {
    use spellcoven_discord_sim::Intents;
    let scene = scene_with(|b| b.privileged_intents(Intents::GUILD_MEMBERS));
    let mut client = scene.ready_with(INTENTS | 2).await;
    let bob = scene.sim.add_person("bob", scene.guild);
    let added = client.expect("GUILD_MEMBER_ADD").await;
    assert_eq!(
        (added["user"]["username"].clone(), added["guild_id"].clone()),
        (json!("bob"), json!(scene.guild))
    );
    scene.sim.remove_member(bob, scene.guild).unwrap();
    client.expect("GUILD_MEMBER_REMOVE").await;
    let other = scene.sim.add_guild("other");
    scene.sim.add_bot_to_guild(&scene.bot, other).unwrap();
    client.expect("GUILD_MEMBER_ADD").await;
    assert_eq!(client.expect("GUILD_CREATE").await["name"], "other");
    scene.sim.remove_member(&scene.bot, other).unwrap();
    assert_eq!(client.expect("GUILD_DELETE").await, json!({"id": other}));
}

#[tokio::test(start_paused = true)]
async fn another_resume_url_and_no_voice_endpoint() {
    let scene = scene_with(|b| {
        b.settings(|s| {
            s.resume_url = Some("ws://127.0.0.1:77/".to_owned());
            s.voice_endpoint = None;
        })
    });
    let mut client = scene.connect().await;
    client.hello().await;
    client.identify(&scene.bot.token, INTENTS).await;
    assert_eq!(
        client.expect("READY").await["resume_gateway_url"],
        "ws://127.0.0.1:77"
    );
    client.expect("GUILD_CREATE").await;
    let join = json!({"guild_id": scene.guild, "channel_id": scene.lobby, "self_mute": false, "self_deaf": false});
    client.send(4, &join).await;
    client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        client.expect("VOICE_SERVER_UPDATE").await["endpoint"],
        json!(null)
    );
}
