//! Calls whose members are moved, put out, or left without a server.

use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::{CloseOrder, Permissions};

use super::support::{Client, scene, scene_with};
use super::voice_support::{AES, Caller, Heard, Voice, join, op4, ticket};

/// One who is in a call, with its client on the main Gateway.
async fn caller(scene: &super::support::Scene) -> (Client, Caller) {
    let (client, ticket) = join(scene).await;
    let caller = Caller::enter(&scene.sim, ticket, AES).await;
    (client, caller)
}

#[tokio::test(start_paused = true)]
async fn a_move_by_oneself_needs_a_new_session() {
    let scene = scene();
    let room = scene.sim.add_voice_channel(scene.guild, "Room");
    let (mut client, mut old) = caller(&scene).await;
    client.send(4, &op4(&scene, Some(room))).await;
    let new = ticket(&mut client).await;
    assert_eq!(new.channel_id, json!(room));
    assert_ne!(new.token, old.ticket.token);
    assert_eq!(new.session_id, old.ticket.session_id);
    assert_eq!(old.ws.closed().await, 4014);
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(7, &old.ticket.resume(old.ws.seq)).await;
    assert_eq!(again.closed().await, 4006);
    let mut again = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    again.send(0, &old.ticket.identify()).await;
    assert_eq!(again.closed().await, 4004, "the old token is nobody's");
    let new = Caller::enter(&scene.sim, new, AES).await;
    assert_ne!(new.ssrc, old.ssrc);
}

#[tokio::test(start_paused = true)]
async fn a_mute_changes_nothing_of_the_call() {
    let scene = scene();
    let (mut client, mut caller) = caller(&scene).await;
    let mut again = op4(&scene, Some(scene.lobby));
    again["self_mute"] = json!(true);
    client.send(4, &again).await;
    assert_eq!(client.expect("VOICE_STATE_UPDATE").await["self_mute"], true);
    client.silent().await;
    assert!(matches!(
        caller.ws.read().await,
        Heard::Binary(Some(2), 25, _)
    ));
    caller.ws.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_was_started_again_comes_anew() {
    let scene = scene();
    let (client, mut old) = caller(&scene).await;
    scene.sim.cut(&scene.bot);
    drop(client);
    tokio::time::sleep(Duration::from_secs(6)).await;
    // The old session waits to be resumed still; the bot knows nothing of it.
    let mut client = scene.ready().await;
    client.send(4, &op4(&scene, Some(scene.lobby))).await;
    let new = ticket(&mut client).await;
    assert_ne!(new.session_id, old.ticket.session_id);
    assert_eq!(old.ws.closed().await, 4014);
    Caller::enter(&scene.sim, new.clone(), AES).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let states = scene.sim.voice_states(scene.guild);
    assert_eq!(json!(states[&scene.bot.user_id].session_id), new.session_id);
}

#[tokio::test(start_paused = true)]
async fn a_move_by_a_moderator_gives_a_new_server() {
    let scene = scene();
    let room = scene.sim.add_voice_channel(scene.guild, "Room");
    let bits = Permissions::ADMINISTRATOR;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let (mut client, mut old) = caller(&scene).await;
    let path = format!("/guilds/{}/members/{}", scene.guild, scene.bot.user_id);
    let answer = scene.send("PATCH", &path, &json!({"channel_id": room}));
    assert_eq!(answer.status, 200);
    assert_eq!(old.ws.closed().await, 4014);
    loop {
        let payload = client.payload().await;
        if payload["t"] == "VOICE_SERVER_UPDATE" {
            assert_ne!(payload["d"]["token"], old.ticket.token);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_close_and_the_events_race_in_either_order() {
    let gap = Duration::from_millis(300);
    for order in [CloseOrder::CloseFirst, CloseOrder::EventsFirst] {
        let scene = scene_with(|builder| {
            builder.settings(|s| {
                s.voice.close_order = order;
                s.voice.close_gap = gap;
                s.voice.move_code = 4022;
            })
        });
        let room = scene.sim.add_voice_channel(scene.guild, "Room");
        let (mut client, mut old) = caller(&scene).await;
        let begun = scene.sim.now();
        scene.sim.join(scene.bot.user_id, room).unwrap();
        let events = async {
            ticket(&mut client).await;
            scene.sim.now() - begun
        };
        let close = async {
            assert_eq!(old.ws.closed().await, 4022);
            scene.sim.now() - begun
        };
        let (events, close) = tokio::join!(events, close);
        match order {
            CloseOrder::CloseFirst => assert_eq!((close, events), (Duration::ZERO, gap)),
            _ => assert_eq!((events, close), (Duration::ZERO, gap)),
        }
        assert_eq!(
            scene.sim.with(|w| w.settings_mut().event_delay),
            Duration::ZERO
        );
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_a_kick_and_a_deleted_channel() {
    let scene = scene();
    let (mut client, mut first) = caller(&scene).await;
    client.send(4, &op4(&scene, None)).await;
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        Value::Null
    );
    assert_eq!(first.ws.closed().await, 4014);
    client.send(4, &op4(&scene, Some(scene.lobby))).await;
    let again = ticket(&mut client).await;
    let mut second = Caller::enter(&scene.sim, again, AES).await;
    scene.sim.leave(scene.bot.user_id).unwrap();
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        Value::Null
    );
    assert_eq!(second.ws.closed().await, 4014);
    client.send(4, &op4(&scene, Some(scene.lobby))).await;
    let again = ticket(&mut client).await;
    let mut third = Caller::enter(&scene.sim, again, AES).await;
    scene.sim.delete_channel(scene.lobby).unwrap();
    assert_eq!(third.ws.closed().await, 4022);
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        Value::Null
    );
}

#[tokio::test(start_paused = true)]
async fn the_main_session_takes_the_call_with_it() {
    let scene = scene();
    let (_client, mut caller) = caller(&scene).await;
    scene.sim.invalidate(&scene.bot, false);
    assert_eq!(caller.ws.closed().await, 4014);
    assert!(scene.sim.voice_states(scene.guild).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_expired_main_session_does_so_too_and_a_resumed_one_does_not() {
    let scene = scene_with(|builder| {
        builder
            .resume_window(Duration::from_secs(20))
            .settings(|s| s.voice.heartbeat_interval = Duration::from_secs(100))
    });
    let (client, mut caller) = caller(&scene).await;
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.cut(&scene.bot);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    caller.speaking().await;
    scene.sim.cut(&scene.bot);
    drop(client);
    let begun = scene.sim.now();
    assert_eq!(caller.ws.closed().await, 4014);
    assert_eq!(scene.sim.now() - begun, Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_failover_to_another_server() {
    let scene = scene();
    let server = scene.sim.add_voice_server();
    let (mut client, mut old) = caller(&scene).await;
    scene.sim.move_call(scene.lobby, server).unwrap();
    let update = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(update["endpoint"], "voice-2.discord.invalid:443");
    assert_eq!(old.ws.closed().await, 4022);
    let mut new = old.ticket.clone();
    new.token = update["token"].clone();
    new.endpoint = update["endpoint"].clone();
    // The first server knows nothing of it.
    let mut wrong = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    wrong.send(0, &new.identify()).await;
    assert_eq!(wrong.closed().await, 4006);
    let new = Caller::enter(&scene.sim, new, AES).await;
    assert_ne!(new.to, old.to);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_and_comes_back() {
    let scene = scene();
    let (mut client, mut old) = caller(&scene).await;
    scene.sim.lose_voice_server(scene.lobby).unwrap();
    let update = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(update["endpoint"], Value::Null);
    loop {
        match old.ws.read().await {
            Heard::Dropped => break,
            Heard::Closed(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
    client.send(4, &op4(&scene, None)).await;
    client.expect("VOICE_STATE_UPDATE").await;
    client.send(4, &op4(&scene, Some(scene.lobby))).await;
    let waiting = ticket(&mut client).await;
    assert_eq!(waiting.endpoint, Value::Null, "still gone");
    let first = scene.sim.voice_servers()[0].id;
    scene.sim.move_call(scene.lobby, first).unwrap();
    let update = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(update["endpoint"], "127.0.0.1:2");
    let mut back = waiting;
    back.token = update["token"].clone();
    back.endpoint = update["endpoint"].clone();
    Caller::enter(&scene.sim, back, AES).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_token_for_one() {
    let scene = scene();
    let (mut client, mut old) = caller(&scene).await;
    let user = Some(scene.bot.user_id);
    assert_eq!(scene.sim.renew_voice_servers(scene.guild, user), 1);
    assert_eq!(
        scene
            .sim
            .renew_voice_servers(scene.guild, Some(scene.alice)),
        0
    );
    let update = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(update["endpoint"], "127.0.0.1:2");
    assert_ne!(update["token"], old.ticket.token);
    assert_eq!(old.ws.closed().await, 4022);
}
