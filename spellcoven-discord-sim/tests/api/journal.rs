//! The journal: a story to read, JSON to parse, and no secrets in it.

use serde_json::Value;
use spellcoven_discord_sim::EntryKind;

use super::support::scene;

#[tokio::test(start_paused = true)]
async fn the_story_and_the_json_tell_the_same_in_order() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    scene.get("/users/@me");
    scene.sim.cut(&scene.bot);
    let journal = scene.sim.journal();
    let story = journal.to_string();
    let mut rest = story.as_str();
    for part in [
        "opened a gateway connection (v=10&encoding=json)",
        "identified: session",
        "1 READY",
        "2 GUILD_CREATE",
        "joins",
        "3 VOICE_STATE_UPDATE",
        "GET /api/v10/users/@me -> 200",
        "fault: Cut",
        "dropped by server",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("{part} is not in its place:\n{story}"));
        rest = &rest[at..];
    }
    let text = serde_json::to_string(&journal).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let entries = json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), journal.entries().len());
    let dispatched = entries
        .iter()
        .find(|e| e["kind"] == "dispatched" && e["t"] == "READY")
        .unwrap();
    assert_eq!(dispatched["d"]["v"], 10);
    assert_eq!(dispatched["unix_ms"], 1_795_392_000_000_u64);
    assert!(
        entries
            .windows(2)
            .all(|pair| pair[0]["number"].as_u64() < pair[1]["number"].as_u64())
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_are_nowhere() {
    let scene = scene();
    let mut client = scene.ready().await;
    client.resume(&scene.bot.token, "x", 1).await;
    client.closed().await;
    scene.get("/users/@me");
    let secret = scene.bot.token.rsplit('.').next().unwrap();
    let journal = scene.sim.journal();
    assert!(!journal.to_string().contains(secret));
    assert!(!serde_json::to_string(&journal).unwrap().contains(secret));
    assert!(!format!("{:?} {:?}", scene.bot, scene.sim).contains(secret));
}

#[tokio::test(start_paused = true)]
async fn a_part_can_be_asked_for() {
    let scene = scene();
    let last = scene.sim.journal().entries().last().unwrap().number;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let news = scene.sim.journal_since(last + 1);
    assert_eq!(news.entries().len(), 1);
    assert!(
        matches!(news.entries()[0].what, EntryKind::Acted { user: Some(user), .. } if user == scene.alice)
    );
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_told_where_asked_for() {
    let scene = super::support::scene_with(|b| b.settings(|s| s.journal_heartbeats = true));
    let mut client = scene.ready().await;
    client.heartbeat().await;
    client.expect_op(11).await;
    let journal = scene.sim.journal();
    assert!(journal.entries().iter().any(|e| matches!(
        e.what,
        EntryKind::Heartbeat {
            seq: Some(2),
            acked: true,
            ..
        }
    )));
}
