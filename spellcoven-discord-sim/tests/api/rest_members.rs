//! Members and voice states over REST.

use serde_json::json;
use spellcoven_discord_sim::{Intents, Permissions, UserId};

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

#[tokio::test(start_paused = true)]
async fn members_are_listed_and_searched() {
    let scene = scene();
    let path = format!("/guilds/{}/members", scene.guild);
    let refused = scene.get(&path);
    assert_eq!(
        (refused.status, refused.json()["code"].as_u64()),
        (403, Some(50001))
    );
    scene
        .sim
        .with(|w| w.settings_mut().privileged_intents = Intents::GUILD_MEMBERS);
    assert_eq!(scene.get(&path).json().as_array().unwrap().len(), 1);
    let all = scene.get(&format!("{path}?limit=1000")).json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 3, "owner, bot, alice");
    let last = all[2]["user"]["id"].as_str().unwrap();
    let after = scene.get(&format!("{path}?limit=1000&after={last}")).json();
    assert_eq!(after.as_array().unwrap().len(), 0);
    let found = scene.get(&format!("{path}/search?query=ALI")).json();
    assert_eq!(found[0]["user"]["username"], "alice");
    assert_eq!(scene.get(&format!("{path}/search")).status, 400);
    assert_eq!(
        scene.get(&format!("/users/{}", scene.alice)).json()["username"],
        "alice"
    );
    assert_eq!(scene.get("/users/1").json()["code"], 10013);
    let guilds = scene.get("/users/@me/guilds").json();
    assert_eq!(guilds[0]["id"], scene.guild.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_takes_its_permission_and_ends() {
    let scene = scene();
    let path = format!("/guilds/{}/members/{}", scene.guild, scene.alice);
    let until = |text: &str| {
        scene.send(
            "PATCH",
            &path,
            &json!({ "communication_disabled_until": text }),
        )
    };
    assert_eq!(until("2026-11-23T01:00:00Z").status, 403);
    let bits = Permissions::DEFAULT_BOT | Permissions::MODERATE_MEMBERS;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let set = until("2026-11-23T01:00:00Z");
    assert_eq!(set.status, 200, "{:?}", set.json());
    assert_eq!(
        set.json()["communication_disabled_until"],
        "2026-11-23T01:00:00.000000+00:00"
    );
    assert!(scene.sim.join(scene.alice, scene.lobby).is_err());
    assert_eq!(until("2027-01-23T01:00:00Z").status, 400, "over 28 days");
    assert_eq!(until("soon").status, 400);
    let offset = "2026-11-23T01:00:00+9000000000000000000:00";
    assert_eq!(until(offset).status, 400, "and no panic");
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let null = json!({ "communication_disabled_until": null });
    assert_eq!(scene.send("PATCH", &path, &null).status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_bot_renames_itself_and_gives_no_role_that_is_not_below_its_own() {
    let scene = scene();
    let me = format!("/guilds/{}/members/@me", scene.guild);
    let named = scene.send("PATCH", &me, &json!({"nick": "Robot"}));
    assert_eq!(
        (named.status, &named.json()["nick"]),
        (200, &json!("Robot"))
    );
    let bits = Permissions::DEFAULT_BOT | Permissions::MANAGE_ROLES;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let roles = scene.get(&format!("/guilds/{}/roles", scene.guild)).json();
    let own = roles
        .as_array()
        .unwrap()
        .iter()
        .find(|role| role["managed"] == true)
        .unwrap();
    let member = format!("/guilds/{}/members/{}", scene.guild, scene.alice);
    let role = own["id"].as_str().unwrap();
    for (method, path, body) in [
        ("PUT", format!("{member}/roles/{role}"), json!({})),
        ("PATCH", member.clone(), json!({ "roles": [role] })),
    ] {
        let refused = scene.send(method, &path, &body);
        assert_eq!(
            (refused.status, refused.json()["code"].as_u64()),
            (403, Some(50013))
        );
    }
    let unknown = scene.send("PUT", &format!("{member}/roles/7"), &json!({}));
    assert_eq!(unknown.json()["code"], 10011);
}
