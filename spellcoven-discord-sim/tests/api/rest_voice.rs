//! The status of voice channels, and voice states of stages.

use serde_json::{Value, json};
use spellcoven_discord_sim::{ChannelId, ChannelKind, Permissions};

use super::support::{Scene, scene};

fn grant(scene: &Scene, more: Permissions) {
    let bits = Permissions::DEFAULT_BOT | more;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
}

fn code(scene: &Scene, method: &str, path: &str, body: &Value) -> (u16, u64) {
    let answer = scene.send(method, path, body);
    (answer.status, answer.json()["code"].as_u64().unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_voice_channel() {
    let scene = scene();
    let mut client = scene.ready().await;
    let path = format!("/channels/{}/voice-status", scene.lobby);
    let put = |body: &Value| code(&scene, "PUT", &path, body);
    // @everyone may set a status in a new guild; the bot manages channels, too.
    let allowed = Permissions::DEFAULT_EVERYONE.contains(Permissions::SET_VOICE_CHANNEL_STATUS);
    if !allowed {
        assert_eq!(put(&json!({"status": "x"})), (403, 50013));
        grant(&scene, Permissions::SET_VOICE_CHANNEL_STATUS);
    }
    assert_eq!(put(&json!({"status": "playing"})), (204, 0));
    let told = client.expect("VOICE_CHANNEL_STATUS_UPDATE").await;
    assert_eq!(
        (&told["id"], &told["status"]),
        (&json!(scene.lobby), &json!("playing"))
    );
    assert_eq!(put(&json!({"status": null})), (204, 0));
    let told = client.expect("VOICE_CHANNEL_STATUS_UPDATE").await;
    assert_eq!(told["status"], Value::Null);
    assert_eq!(put(&json!({"status": "x".repeat(501)})), (400, 50035));
    let text = scene.sim.add_text_channel(scene.guild, "t");
    let path = format!("/channels/{text}/voice-status");
    assert_eq!(code(&scene, "PUT", &path, &json!({})), (400, 50024));
    let log = scene
        .get(&format!("/guilds/{}/audit-logs", scene.guild))
        .json();
    let actions = log["audit_log_entries"].as_array().unwrap().iter();
    let actions: Vec<_> = actions.map(|entry| entry["action_type"].as_u64()).collect();
    assert_eq!(actions, [Some(193), Some(192)]);
}

fn stage(scene: &Scene) -> ChannelId {
    scene
        .sim
        .with(|w| w.add_channel(scene.guild, ChannelKind::Stage, "Stage", None))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_enters_a_stage_listens_until_let_speak() {
    let scene = scene();
    let stage = stage(&scene);
    let mut client = scene.ready().await;
    scene.sim.join(scene.alice, stage).unwrap();
    let told = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(told["suppress"], true);
    let path = format!("/guilds/{}/voice-states/{}", scene.guild, scene.alice);
    let speak = json!({"channel_id": stage, "suppress": false});
    assert_eq!(code(&scene, "PATCH", &path, &speak), (403, 50013));
    grant(&scene, Permissions::MUTE_MEMBERS);
    client.expect("GUILD_ROLE_UPDATE").await;
    assert_eq!(code(&scene, "PATCH", &path, &speak), (204, 0));
    let told = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(told["suppress"], false);
    assert!(told["request_to_speak_timestamp"].is_string(), "invited");
    assert_eq!(scene.get(&path).json()["suppress"], false);
    let again = json!({"channel_id": stage, "suppress": true});
    assert_eq!(code(&scene, "PATCH", &path, &again), (204, 0));
    let told = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        (&told["suppress"], &told["request_to_speak_timestamp"]),
        (&json!(true), &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn stage_requests_that_are_refused() {
    let scene = scene();
    let stage = stage(&scene);
    grant(&scene, Permissions::MUTE_MEMBERS);
    let path = format!("/guilds/{}/voice-states/{}", scene.guild, scene.alice);
    let patch = |body: &Value| code(&scene, "PATCH", &path, body);
    assert_eq!(
        patch(&json!({"suppress": true})),
        (404, 10065),
        "not in voice"
    );
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    assert_eq!(patch(&json!({"suppress": true})), (400, 50024), "no stage");
    scene.sim.join(scene.alice, stage).unwrap();
    assert_eq!(
        patch(&json!({"channel_id": scene.lobby, "suppress": true})),
        (400, 50024),
        "another channel"
    );
    let request = json!({"request_to_speak_timestamp": "2026-11-23T00:00:00Z"});
    assert_eq!(patch(&request), (400, 50035), "for oneself alone");
}

#[tokio::test(start_paused = true)]
async fn a_bot_asks_to_speak() {
    let scene = scene();
    let stage = stage(&scene);
    let mut client = scene.ready().await;
    let join = json!({"guild_id": scene.guild, "channel_id": stage, "self_mute": false, "self_deaf": false});
    client.send(4, &join).await;
    assert_eq!(client.expect("VOICE_STATE_UPDATE").await["suppress"], true);
    client.expect("VOICE_SERVER_UPDATE").await;
    let path = format!("/guilds/{}/voice-states/@me", scene.guild);
    let wrong = json!({"request_to_speak_timestamp": "soon"});
    assert_eq!(code(&scene, "PATCH", &path, &wrong), (400, 50035));
    grant(&scene, Permissions::REQUEST_TO_SPEAK);
    client.expect("GUILD_ROLE_UPDATE").await;
    let ask = json!({"request_to_speak_timestamp": "2026-11-23T00:00:00Z"});
    assert_eq!(code(&scene, "PATCH", &path, &ask), (204, 0));
    let told = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        told["request_to_speak_timestamp"],
        "2026-11-23T00:00:00.000000+00:00"
    );
    assert_eq!(
        code(&scene, "PATCH", &path, &json!({"suppress": false})),
        (403, 50013),
        "to speak takes MUTE_MEMBERS"
    );
    assert_eq!(
        code(&scene, "PATCH", &path, &json!({"suppress": true})),
        (204, 0)
    );
}
