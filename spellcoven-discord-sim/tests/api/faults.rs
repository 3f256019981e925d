//! Gateway faults on demand.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::Fault;

use super::support::{INTENTS, Read, scene, scene_with};

#[tokio::test(start_paused = true)]
async fn a_cut_has_no_close_frame() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.cut(&scene.bot);
    assert_eq!(client.read().await, Read::Dropped);
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn acks_muted_anew_stay_muted_until_the_later_end() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.mute_acks_for(&scene.bot, Duration::from_secs(4));
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.sim.mute_acks_for(&scene.bot, Duration::from_secs(4));
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.heartbeat().await;
    client.silent().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.heartbeat().await;
    client.expect_op(11).await;
    scene.sim.mute_acks_for(&scene.bot, Duration::MAX);
    client.heartbeat().await;
    client.silent().await;
    scene.sim.mute_acks(&scene.bot, false);
    client.heartbeat().await;
    client.expect_op(11).await;
}

#[tokio::test(start_paused = true)]
async fn op_7_then_a_close_after_the_grace() {
    let scene = scene_with(|b| b.settings(|s| s.reconnect_grace = Duration::from_secs(3)));
    let mut client = scene.ready().await;
    let begin = scene.sim.now();
    scene.sim.reconnect(&scene.bot);
    client.expect_op(7).await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(client.closed().await, 4000);
    let waited = scene.sim.now() - begin;
    assert!(
        waited >= Duration::from_secs(3) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn op_9_true_keeps_the_session_and_false_ends_it() {
    let scene = scene();
    let mut client = scene.ready().await;
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.invalidate(&scene.bot, true);
    assert_eq!(client.expect_op(9).await, true);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.silent().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("RESUMED").await;
    let seq = client.seq;
    scene.sim.invalidate(&scene.bot, false);
    assert_eq!(client.expect_op(9).await, false);
    client.resume(&scene.bot.token, &session, seq).await;
    assert_eq!(client.expect_op(9).await, false);
    tokio::time::advance(Duration::from_secs(5)).await;
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
}

#[tokio::test(start_paused = true)]
async fn commands_after_op_9_are_4003() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.invalidate(&scene.bot, false);
    client.expect_op(9).await;
    client.send(4, &json!({})).await;
    assert_eq!(client.closed().await, 4003);
}

#[tokio::test(start_paused = true)]
async fn close_codes_end_or_keep_the_session() {
    for (code, kept) in [
        (1000, 1),
        (4000, 1),
        (4001, 1),
        (4002, 1),
        (4003, 0),
        (4004, 0),
        (4005, 1),
        (4006, 0),
        (4007, 0),
        (4008, 1),
        (4009, 0),
        (4010, 0),
        (4011, 0),
        (4012, 0),
        (4013, 0),
        (4014, 0),
    ] {
        let scene = scene();
        let mut client = scene.ready().await;
        scene.sim.close(&scene.bot, code);
        assert_eq!(client.closed().await, code);
        assert_eq!(
            scene.sim.with(|w| w.session_count(scene.bot.user_id)),
            (kept, 0),
            "{code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn muted_acks_go_on_sending_events() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.mute_acks(&scene.bot, true);
    client.heartbeat().await;
    client.silent().await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    scene.sim.mute_acks(&scene.bot, false);
    client.heartbeat().await;
    client.expect_op(11).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_resume_ends_the_session_and_the_next_one_works() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.refuse_next_resume(&scene.bot, 1);
    for refused in [true, false] {
        let (session, seq) = (client.session.clone(), client.seq);
        scene.sim.cut(&scene.bot);
        client = scene.connect().await;
        client.hello().await;
        client.resume(&scene.bot.token, &session, seq).await;
        if refused {
            assert_eq!(client.expect_op(9).await, false);
            tokio::time::advance(Duration::from_secs(5)).await;
            client.identify(&scene.bot.token, INTENTS).await;
            client.expect("READY").await;
            client.expect("GUILD_CREATE").await;
        } else {
            client.expect("RESUMED").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn held_events_wait_and_keep_their_order() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.hold_events(&scene.bot);
    let made = scene.create(&json!({"name": "Room", "type": 2}));
    assert_eq!(made.status, 201);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.heartbeat().await;
    client.expect_op(11).await;
    client.silent().await;
    scene.sim.release_events(&scene.bot);
    client.expect("CHANNEL_CREATE").await;
    client.expect("VOICE_STATE_UPDATE").await;
}

#[tokio::test(start_paused = true)]
async fn held_events_survive_a_cut_through_the_replay() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.hold_events(&scene.bot);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.cut(&scene.bot);
    assert_eq!(client.read().await, Read::Dropped);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.silent().await;
    scene.sim.release_events(&scene.bot);
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("RESUMED").await;
}

#[tokio::test(start_paused = true)]
async fn events_can_be_late() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.set_delay_events(Duration::from_millis(700));
    let begin = scene.sim.now();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    assert!(scene.sim.now() - begin >= Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn the_server_can_ask_for_a_heartbeat() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.fault(&scene.bot, &Fault::RequestHeartbeat);
    assert_eq!(client.expect_op(1).await, json!(null));
}
