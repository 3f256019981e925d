//! Transport and payload compression, as a client reads them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::Fault;

use super::support::{Client, INTENTS, Read, Scene, identify, scene, scene_with};

const ZLIB: &str = "v=10&encoding=json&compress=zlib-stream";
const ZSTD: &str = "compress=zstd-stream&v=10&encoding=json";
const PLAIN: &str = "v=10&encoding=json";

async fn begin(scene: &Scene, query: &str, compress: bool) -> Client {
    let mut client = Client::connect(&scene.sim, query).await;
    client.hello().await;
    let mut d = identify(&scene.bot.token, INTENTS);
    d["compress"] = json!(compress);
    client.send(2, &d).await;
    client.expect("READY").await;
    client
}

/// Everything a client reads in one run, as text, hashed; how many messages were text and how many binary.
async fn log_of(query: &str, compress: bool, split: bool) -> (u64, [u32; 2]) {
    let scene = scene();
    scene
        .sim
        .fault(&scene.bot, &Fault::SplitFrames { on: split });
    let mut client = Client::connect(&scene.sim, query).await;
    let mut hasher = DefaultHasher::new();
    let mut kinds = [0, 0];
    let mut read = async |client: &mut Client| {
        let payload = client.payload().await;
        client.raw.hash(&mut hasher);
        kinds[usize::from(client.was_binary)] += 1;
        payload
    };
    read(&mut client).await;
    let mut d = identify(&scene.bot.token, INTENTS);
    d["compress"] = json!(compress);
    client.send(2, &d).await;
    while read(&mut client).await["t"] != "GUILD_CREATE" {}
    for n in 0..50 {
        match n % 3 {
            0 => scene.sim.join(scene.alice, scene.lobby).unwrap(),
            1 => scene.sim.set_self_mute(scene.alice, n % 2 == 0).unwrap(),
            _ => scene.sim.leave(scene.alice).unwrap(),
        }
        while read(&mut client).await["t"] != "VOICE_STATE_UPDATE" {}
    }
    client.heartbeat().await;
    while read(&mut client).await["op"] != 11 {}
    (hasher.finish(), kinds)
}

#[tokio::test(start_paused = true)]
async fn the_same_events_whatever_the_encoding() {
    let (plain, [texts, binaries]) = log_of(PLAIN, false, false).await;
    assert_eq!(binaries, 0);
    let all = texts;
    for (query, compress, split) in [
        (PLAIN, false, true),
        (PLAIN, true, false),
        (PLAIN, true, true),
        (ZLIB, false, false),
        (ZLIB, true, false),
        (ZLIB, false, true),
        (ZSTD, false, false),
        (ZSTD, true, false),
        (ZSTD, false, true),
    ] {
        let (log, [texts, binaries]) = log_of(query, compress, split).await;
        assert_eq!(log, plain, "{query} {compress} {split}");
        assert_eq!(texts + binaries, all);
        let mixed = query == PLAIN && compress;
        assert_eq!(texts > 0, query == PLAIN, "{query} {compress}");
        assert_eq!(binaries > 0, query != PLAIN || mixed, "{query} {compress}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_keeps_its_payload_compression() {
    let scene = scene_with(|b| b.settings(|s| s.payload_compression_from = 1));
    let mut client = begin(&scene, PLAIN, true).await;
    client.expect("GUILD_CREATE").await;
    assert!(client.was_binary);
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.cut(&scene.bot);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let mut client = scene.connect().await;
    client.hello().await;
    assert!(!client.was_binary, "nobody knows yet whose this is");
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("VOICE_STATE_UPDATE").await;
    assert!(client.was_binary);
    client.expect("RESUMED").await;
}

#[tokio::test(start_paused = true)]
async fn each_connection_has_a_context_of_its_own() {
    for query in [ZLIB, ZSTD] {
        let scene = scene();
        let mut client = begin(&scene, query, false).await;
        client.expect("GUILD_CREATE").await;
        let session = client.session.clone();
        for _ in 0..3 {
            let seq = client.seq;
            scene.sim.cut(&scene.bot);
            client = Client::connect(&scene.sim, query).await;
            client.hello().await;
            client.resume(&scene.bot.token, &session, seq).await;
            client.expect("RESUMED").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_compressions_and_etf_are_refused_with_a_reason() {
    let scene = scene();
    for query in ["compress=brotli", "encoding=etf&compress=zlib-stream"] {
        let mut client = Client::connect(&scene.sim, query).await;
        let Read::Closed(4002, reason) = client.read().await else {
            panic!("{query} was not refused");
        };
        assert!(reason.starts_with("The simulator speaks"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_compression_is_told_by_every_decoder() {
    for query in [PLAIN, ZLIB, ZSTD] {
        let scene = scene();
        let mut client = begin(&scene, query, false).await;
        client.expect("GUILD_CREATE").await;
        scene.sim.fault(&scene.bot, &Fault::MalformedCompression);
        scene.sim.join(scene.alice, scene.lobby).unwrap();
        let read = client.read().await;
        assert!(matches!(read, Read::Malformed(_)), "{query} {read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_json_comes_once_and_the_event_is_replayed() {
    for query in [PLAIN, ZLIB, ZSTD] {
        let scene = scene();
        let mut client = begin(&scene, query, false).await;
        client.expect("GUILD_CREATE").await;
        let (session, seq) = (client.session.clone(), client.seq);
        scene.sim.fault(&scene.bot, &Fault::MalformedJson);
        scene.sim.join(scene.alice, scene.lobby).unwrap();
        assert!(matches!(client.read().await, Read::Malformed(_)), "{query}");
        client.close(4000).await;
        let mut client = Client::connect(&scene.sim, query).await;
        client.hello().await;
        client.resume(&scene.bot.token, &session, seq).await;
        client.expect("VOICE_STATE_UPDATE").await;
        client.expect("RESUMED").await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}
