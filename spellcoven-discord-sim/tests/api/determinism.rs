//! The same seed, the same run.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::{RateLimit, RestFault, RestFaultKind, Sim, WhileAway};

use super::support::{Client, Http, INTENTS, Read, Scene, scene_with};

async fn run(seed: u64) -> String {
    let scene: Scene = scene_with(|b| b.seed(seed));
    for n in 0..5 {
        let guild = scene.sim.add_guild(&format!("g{n}"));
        scene.sim.add_bot_to_guild(&scene.bot, guild).unwrap();
    }
    let mut client = scene.connect().await;
    client.hello().await;
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
    for _ in 0..6 {
        client.expect("GUILD_CREATE").await;
    }
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    scene.create(&json!({"name": "x", "type": 2}));
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("CHANNEL_CREATE").await;
    let token = &scene.bot.token;
    format!(
        "{token}\n{}",
        serde_json::to_string(&scene.sim.journal()).unwrap()
    )
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_is_the_same_run_and_another_is_another() {
    let first = run(11).await;
    assert_eq!(first, run(11).await);
    assert_ne!(first, run(12).await);
}

/// Limits, bans, faults over HTTP, and events while a bot is away, a few minutes of virtual time in all.
async fn troubled_run(seed: u64) -> String {
    let scene = scene_with(|b| {
        b.seed(seed)
            .heartbeat_interval(Duration::from_secs(3600))
            .settings(|s| s.invalid_limit = RateLimit::per_seconds(30, 600))
    });
    let mut client = scene.ready().await;
    for what in RestFaultKind::one_of_each() {
        scene.sim.fail_rest(RestFault::once("POST", what));
        let mut http = Http::connect(&scene.sim).await;
        let path = format!("/api/v10/guilds/{}/channels", scene.guild);
        let room = json!({"name": "x", "type": 2});
        // The journal tells what came of it.
        let _ = http
            .call("POST", &path, &scene.bot.token, Some(&room))
            .await;
    }
    let path = format!("/channels/{}/permissions/{}", scene.lobby, scene.alice);
    for _ in 0..40 {
        scene.delete(&path);
    }
    let away = vec![WhileAway::Join(scene.alice, scene.lobby)];
    scene.sim.while_away(&scene.bot, away);
    scene.sim.cut(&scene.bot);
    while client.read().await != Read::Dropped {}
    let (session, seq) = (client.session.clone(), client.seq);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("RESUMED").await;
    let stats = scene.sim.stats();
    // The voice state, and the start time of its channel.
    assert_eq!((stats.resumes, stats.replayed), (1, 2));
    assert!(stats.rest_by_status[&429] > 3 && stats.rest_by_status[&403] >= 20);
    format!(
        "{stats:?}\n{}",
        serde_json::to_string(&scene.sim.journal()).unwrap()
    )
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_is_the_same_trouble() {
    let first = troubled_run(11).await;
    assert_eq!(first, troubled_run(11).await);
    assert_ne!(first, troubled_run(12).await);
}

#[tokio::test(start_paused = true)]
async fn guilds_come_in_an_order_by_chance() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..10 {
        let sim = Sim::builder()
            .seed(seed)
            .start_time(1_795_392_000_000)
            .build();
        let guild = sim.add_guild("0");
        let bot = sim.add_bot("bot", guild);
        for n in 1..4 {
            let guild = sim.add_guild(&n.to_string());
            sim.add_bot_to_guild(&bot, guild).unwrap();
        }
        let mut client = Client::connect(&sim, "v=10").await;
        client.hello().await;
        client.identify(&bot.token, INTENTS).await;
        client.expect("READY").await;
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(
                client.expect("GUILD_CREATE").await["name"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
        orders.insert(order);
    }
    assert!(orders.len() > 1);
}

#[test]
fn a_token_has_the_shape_of_discords() {
    use base64::Engine;
    let sim = Sim::builder().seed(1).build();
    let guild = sim.add_guild("g");
    let bot = sim.add_bot("bot", guild);
    let parts: Vec<&str> = bot.token.split('.').collect();
    assert_eq!(
        parts
            .iter()
            .map(|part| part.len())
            .skip(1)
            .collect::<Vec<_>>(),
        [6, 38]
    );
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(parts[0])
        .unwrap();
    assert_eq!(String::from_utf8(id).unwrap(), bot.user_id.to_string());
}
