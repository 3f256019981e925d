//! Resume: replay, refusals, takeover.

use std::time::Duration;

use serde_json::json;

use super::support::{INTENTS, Scene, scene, scene_with};

/// Cuts a session and gives back its id and last number.
async fn cut(scene: &Scene) -> (String, u64) {
    let client = scene.ready().await;
    scene.sim.cut(&scene.bot);
    (client.session.clone(), client.seq)
}

#[tokio::test(start_paused = true)]
async fn missed_events_are_replayed_with_their_numbers_then_resumed() {
    let scene = scene();
    let (session, seq) = cut(&scene).await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    scene.sim.leave(scene.alice).unwrap();
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    // Each is followed by the channel's start time.
    let joined = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        (joined["channel_id"].clone(), client.seq),
        (json!(scene.lobby), seq + 1)
    );
    let left = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        (left["channel_id"].clone(), client.seq),
        (json!(null), seq + 3)
    );
    let resumed = client.expect("RESUMED").await;
    assert!(resumed["_trace"].is_array());
    assert_eq!(client.seq, seq + 5);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(client.seq, seq + 6);
}

#[tokio::test(start_paused = true)]
async fn an_older_number_replays_more() {
    let scene = scene();
    let (session, _) = cut(&scene).await;
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, 1).await;
    client.expect("GUILD_CREATE").await;
    client.expect("RESUMED").await;
}

#[tokio::test(start_paused = true)]
async fn refusals_leave_the_socket_open_for_an_identify() {
    let scene = scene_with(|b| b.replay_limit(3));
    let (session, seq) = cut(&scene).await;
    let other = scene.sim.add_bot("other", scene.guild);
    for _ in 0..4 {
        scene.sim.join(scene.alice, scene.lobby).unwrap();
        scene.sim.leave(scene.alice).unwrap();
    }
    tokio::time::advance(Duration::from_secs(6)).await;
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, "unknown", 1).await;
    assert_eq!(client.expect_op(9).await, false);
    client.resume(&other.token, &session, seq).await;
    assert_eq!(client.expect_op(9).await, false, "a foreign token");
    client.resume(&scene.bot.token, &session, seq).await;
    assert_eq!(client.expect_op(9).await, false, "the ring ran over");
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
}

#[tokio::test(start_paused = true)]
async fn the_window_ends() {
    let scene = scene_with(|b| b.resume_window(Duration::from_secs(30)));
    let (session, seq) = cut(&scene).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
    let seq = client.seq;
    scene.sim.cut(&scene.bot);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (0, 0)
    );
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    assert_eq!(client.expect_op(9).await, false);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_never_sent_is_4007_and_ends_the_session() {
    let scene = scene();
    let (session, seq) = cut(&scene).await;
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq + 1).await;
    assert_eq!(client.closed().await, 4007);
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_4004_and_missing_fields_are_4001() {
    let scene = scene();
    let (session, seq) = cut(&scene).await;
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume("x.y.z", &session, seq).await;
    assert_eq!(client.closed().await, 4004);
    let mut client = scene.connect().await;
    client.hello().await;
    client
        .send(6, &json!({"token": scene.bot.token, "session_id": session}))
        .await;
    assert_eq!(client.closed().await, 4001);
}

#[tokio::test(start_paused = true)]
async fn a_resume_takes_a_live_session_over() {
    let scene = scene();
    let mut old = scene.ready().await;
    let mut new = scene.connect().await;
    new.hello().await;
    new.resume(&scene.bot.token, &old.session, old.seq).await;
    new.expect("RESUMED").await;
    assert_eq!(old.closed().await, 4000);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    new.expect("VOICE_STATE_UPDATE").await;
    // The old socket's end must not touch the session.
    drop(old);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.sim.live_sessions(&scene.bot), 1);
    new.resume(&scene.bot.token, "x", 1).await;
    assert_eq!(new.closed().await, 4005, "a resume on a live session");
}

#[tokio::test(start_paused = true)]
async fn resumes_are_no_identifies() {
    let scene = scene();
    let mut client = scene.ready().await;
    for _ in 0..5 {
        let (session, seq) = (client.session.clone(), client.seq);
        scene.sim.cut(&scene.bot);
        client = scene.connect().await;
        client.hello().await;
        client.resume(&scene.bot.token, &session, seq).await;
        client.expect("RESUMED").await;
        client.session = session;
    }
    assert_eq!(
        scene.get("/gateway/bot").json()["session_start_limit"]["remaining"],
        999
    );
}
