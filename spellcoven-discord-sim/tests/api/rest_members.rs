//! Members and voice states over REST.

use serde_json::json;
use spellcoven_discord_sim::{Permissions, UserId};

use super::support::scene;

#[tokio::test(start_paused = true)]
async fn moving_and_disconnecting() {
    let scene = scene();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let path = format!("/guilds/{}/members/{}", scene.guild, scene.alice);
    let to = |channel| json!({"channel_id": channel});
    let absent = scene.send("PATCH", &path, &to(Some(hall)));
    assert_eq!(
        (absent.status, absent.json()["code"].as_u64()),
        (400, Some(40032))
    );
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let mut client = scene.ready().await;
    let moved = scene.send("PATCH", &path, &to(Some(hall)));
    assert_eq!(
        (moved.status, moved.json()["user"]["id"].clone()),
        (200, json!(scene.alice))
    );
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        json!(hall)
    );
    assert_eq!(scene.send("PATCH", &path, &to(None)).status, 200);
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        json!(null)
    );
    let log = scene
        .get(&format!("/guilds/{}/audit-logs", scene.guild))
        .json();
    let actions: Vec<u64> = log["audit_log_entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action_type"].as_u64().unwrap())
        .collect();
    assert_eq!(actions, [27, 26]);
    assert_eq!(
        log["audit_log_entries"][1]["options"]["channel_id"],
        json!(hall)
    );
}

#[tokio::test(start_paused = true)]
async fn moving_needs_permission_and_passes_over_a_full_channel() {
    let scene = scene();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let bob = scene.sim.add_person("bob", scene.guild);
    scene.sim.join(bob, hall).unwrap();
    scene.sim.set_user_limit(hall, 1).unwrap();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let path = format!("/guilds/{}/members/{}", scene.guild, scene.alice);
    assert_eq!(
        scene
            .send("PATCH", &path, &json!({"channel_id": hall}))
            .status,
        200
    );
    let unknown = scene.send("PATCH", &path, &json!({"channel_id": "5"}));
    assert_eq!(
        (unknown.status, unknown.json()["code"].as_u64()),
        (404, Some(10003))
    );
    let bits = Permissions::DEFAULT_BOT & !Permissions::MOVE_MEMBERS;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let refused = scene.send("PATCH", &path, &json!({"channel_id": scene.lobby}));
    assert_eq!(
        (refused.status, refused.json()["code"].as_u64()),
        (403, Some(50013))
    );
    assert_eq!(
        scene.sim.voice_states(scene.guild)[&scene.alice].channel_id,
        hall
    );
}

#[tokio::test(start_paused = true)]
async fn mute_and_deaf() {
    let scene = scene();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let path = format!("/guilds/{}/members/{}", scene.guild, scene.alice);
    assert_eq!(
        scene.send("PATCH", &path, &json!({"mute": true})).json()["code"],
        50013
    );
    let bits = Permissions::DEFAULT_BOT | Permissions::MUTE_MEMBERS | Permissions::DEAFEN_MEMBERS;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let mut client = scene.ready().await;
    let muted = scene
        .send("PATCH", &path, &json!({"mute": true, "deaf": true}))
        .json();
    assert_eq!(
        (muted["mute"].clone(), muted["deaf"].clone()),
        (json!(true), json!(true))
    );
    assert_eq!(client.expect("VOICE_STATE_UPDATE").await["mute"], true);
    assert!(scene.sim.voice_states(scene.guild)[&scene.alice].mute);
}

#[tokio::test(start_paused = true)]
async fn nicknames_obey_the_hierarchy_and_own_updates_need_no_intent() {
    let scene = scene();
    let bits = Permissions::DEFAULT_BOT | Permissions::MANAGE_NICKNAMES;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let higher = scene.sim.add_bot("higher", scene.guild);
    let mut client = scene.ready().await;
    let nick = |user: UserId| {
        scene.send(
            "PATCH",
            &format!("/guilds/{}/members/{user}", scene.guild),
            &json!({"nick": "N"}),
        )
    };
    assert_eq!(nick(higher.user_id).json()["code"], 50013);
    assert_eq!(nick(scene.alice).json()["nick"], "N");
    client.silent().await;
    assert_eq!(nick(scene.bot.user_id).status, 200);
    assert_eq!(client.expect("GUILD_MEMBER_UPDATE").await["nick"], "N");
}

#[tokio::test(start_paused = true)]
async fn members_and_voice_states_are_read() {
    let scene = scene();
    let state = |who: &str| scene.get(&format!("/guilds/{}/voice-states/{who}", scene.guild));
    assert_eq!(
        scene
            .get(&format!("/guilds/{}/members/{}", scene.guild, scene.alice))
            .json()["nick"],
        json!(null)
    );
    assert_eq!(
        scene
            .get(&format!("/guilds/{}/members/5", scene.guild))
            .json()["code"],
        10007
    );
    let alice = scene.alice.to_string();
    assert_eq!(
        (state(&alice).status, state(&alice).json()["code"].as_u64()),
        (404, Some(10065))
    );
    assert_eq!(state("@me").json()["code"], 10065);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let found = state(&alice).json();
    assert_eq!(
        (found["channel_id"].clone(), found["guild_id"].clone()),
        (json!(scene.lobby), json!(scene.guild))
    );
}
