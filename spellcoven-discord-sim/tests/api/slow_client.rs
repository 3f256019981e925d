//! A client that does not read.

use serde_json::json;
use spellcoven_discord_sim::Intents;

use super::support::{Client, INTENTS, Read, scene_with};

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_and_can_resume() {
    let scene = scene_with(|b| b.replay_limit(2_000).settings(|s| s.outgoing_limit = 1));
    let mut client = Client::connect_with_pipe(&scene.sim, "v=10", 512).await;
    client.hello().await;
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
    client.expect("GUILD_CREATE").await;
    let (session, seq) = (client.session.clone(), client.seq);
    // The bound is the replay limit + 1024.
    for n in 0..4_000 {
        scene
            .sim
            .emit(scene.guild, "TEST", &json!({"n": n}), Intents::GUILDS);
    }
    tokio::task::yield_now().await;
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (1, 0)
    );
    assert!(scene.sim.complaints()[0].to_string().contains("too slowly"));
    let read = loop {
        match client.read().await {
            Read::Payload(_) => {}
            other => break other,
        }
    };
    assert_eq!(read, Read::Dropped);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq + 2_500).await;
    client.expect("TEST").await;
}
