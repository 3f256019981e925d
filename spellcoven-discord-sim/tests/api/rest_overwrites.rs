//! Permission overwrites one at a time, and the order of channels.

use serde_json::{Value, json};
use spellcoven_discord_sim::{OverwriteTarget, Permissions, RoleId};

use super::support::{Scene, scene};

fn managing() -> Scene {
    let scene = scene();
    let bits = Permissions::DEFAULT_BOT | Permissions::MANAGE_ROLES;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    scene
}

fn audit(scene: &Scene) -> Vec<Value> {
    let log = scene.get(&format!("/guilds/{}/audit-logs", scene.guild));
    log.json()["audit_log_entries"].as_array().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn an_overwrite_is_set_changed_and_deleted() {
    let scene = managing();
    let mut client = scene.ready().await;
    let path = format!("/channels/{}/permissions/{}", scene.lobby, scene.alice);
    let put = |body: Value| scene.send("PUT", &path, &body);
    let made = put(json!({"type": 1, "allow": "1024", "deny": 1_048_576}));
    assert_eq!((made.status, made.body.len()), (204, 0));
    assert_eq!(made.header("content-type"), None);
    let told = client.expect("CHANNEL_UPDATE").await;
    assert_eq!(told["permission_overwrites"][0]["deny"], "1048576");
    assert_eq!(put(json!({"type": 1, "allow": null})).status, 204);
    client.expect("CHANNEL_UPDATE").await;
    let overwrites = &scene.sim.channels(scene.guild)[0].overwrites;
    assert_eq!(overwrites.len(), 1, "changed, not added");
    assert_eq!(overwrites[0].target, OverwriteTarget::Member(scene.alice));
    assert_eq!(overwrites[0].deny, Permissions::empty());
    assert_eq!(scene.delete(&path).status, 204);
    client.expect("CHANNEL_UPDATE").await;
    assert!(scene.sim.channels(scene.guild)[0].overwrites.is_empty());
    let gone = scene.delete(&path);
    assert_eq!(
        (gone.status, gone.json()["code"].as_u64()),
        (404, Some(10009))
    );
    let actions: Vec<_> = audit(&scene)
        .iter()
        .map(|entry| entry["action_type"].as_u64().unwrap())
        .collect();
    assert_eq!(actions, [15, 14, 13]);
    assert_eq!(audit(&scene)[0]["options"]["id"], scene.alice.to_string());
    assert!(scene.sim.complaints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn overwrites_that_are_refused() {
    let scene = scene();
    let path = |whom: u64| format!("/channels/{}/permissions/{whom}", scene.lobby);
    let everyone = RoleId(scene.guild.get());
    let put = |whom: u64, body: &Value| {
        let answer = scene.send("PUT", &path(whom), body);
        (answer.status, answer.json()["code"].as_u64().unwrap_or(0))
    };
    let role = json!({"type": 0, "deny": "1024"});
    assert_eq!(put(everyone.get(), &role), (403, 50013), "no MANAGE_ROLES");
    let bits = Permissions::DEFAULT_BOT | Permissions::MANAGE_ROLES;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    assert_eq!(put(77, &role), (404, 10011));
    assert_eq!(put(77, &json!({"type": 1})), (404, 10007));
    assert_eq!(put(everyone.get(), &json!({})), (400, 50035));
    assert_eq!(put(everyone.get(), &json!({"type": 2})), (400, 50035));
    let more = json!({"type": 0, "allow": Permissions::MANAGE_GUILD.0.to_string()});
    assert_eq!(
        put(everyone.get(), &more),
        (403, 50013),
        "not its own to give"
    );
    let roles = json!({"type": 0, "allow": Permissions::MANAGE_ROLES.0.to_string()});
    assert_eq!(
        put(everyone.get(), &roles),
        (403, 50013),
        "for administrators"
    );
    assert!(scene.sim.channels(scene.guild)[0].overwrites.is_empty());
}

#[tokio::test(start_paused = true)]
async fn setting_and_deleting_an_overwrite_share_one_budget() {
    let scene = managing();
    let path = format!("/channels/{}/permissions/{}", scene.lobby, scene.alice);
    let set = scene.send("PUT", &path, &json!({"type": 1}));
    let deleted = scene.delete(&path);
    assert_eq!(
        set.header("x-ratelimit-bucket"),
        deleted.header("x-ratelimit-bucket")
    );
    assert_eq!(set.header("x-ratelimit-remaining"), Some("49"));
    assert_eq!(deleted.header("x-ratelimit-remaining"), Some("48"));
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let path = format!("/channels/{hall}/permissions/{}", scene.alice);
    let other = scene.send("PUT", &path, &json!({"type": 1}));
    assert_eq!(
        other.header("x-ratelimit-remaining"),
        Some("49"),
        "another channel, another bucket"
    );
    assert_eq!(
        other.header("x-ratelimit-bucket"),
        set.header("x-ratelimit-bucket"),
        "the hash is without the major parameter"
    );
}

#[tokio::test(start_paused = true)]
async fn channels_change_their_order() {
    let scene = managing();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let category = scene.sim.add_category(scene.guild, "Rooms");
    let mut client = scene.ready().await;
    let path = format!("/guilds/{}/channels", scene.guild);
    let patch = |body: Value| scene.send("PATCH", &path, &body);
    let moved = patch(json!([
        {"id": scene.lobby, "position": 5},
        {"id": hall, "position": 3, "parent_id": category, "lock_permissions": true},
    ]));
    assert_eq!(moved.status, 204, "{:?}", moved.json());
    assert_eq!(client.expect("CHANNEL_UPDATE").await["position"], 5);
    let told = client.expect("CHANNEL_UPDATE").await;
    assert_eq!(
        (&told["position"], &told["parent_id"]),
        (&json!(3), &json!(category))
    );
    let audit = audit(&scene);
    assert_eq!(audit.len(), 2);
    assert!(audit.iter().all(|entry| entry["action_type"] == 11));
    assert_eq!(patch(json!([{"id": hall, "position": 3}])).status, 204);
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn orders_that_are_refused_change_nothing() {
    let scene = managing();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let category = scene.sim.add_category(scene.guild, "Rooms");
    let path = format!("/guilds/{}/channels", scene.guild);
    let patch = |body: Value| {
        let answer = scene.send("PATCH", &path, &body);
        (answer.status, answer.json()["code"].as_u64().unwrap_or(0))
    };
    let both = json!([
        {"id": scene.lobby, "parent_id": category}, {"id": hall, "parent_id": category},
    ]);
    assert_eq!(patch(both), (400, 40009));
    assert_eq!(
        patch(json!([{"id": hall, "parent_id": scene.lobby}])),
        (400, 50035)
    );
    assert_eq!(patch(json!([{"id": "1", "position": 1}])), (404, 10003));
    assert_eq!(patch(json!({"id": hall})), (400, 50109));
    let wrong = scene.send(
        "PATCH",
        &path,
        &json!([{"id": hall}, {"id": hall, "position": -1}]),
    );
    assert_eq!(
        wrong.json()["errors"]["1"]["position"]["_errors"][0]["code"],
        "NUMBER_TYPE_MIN"
    );
    let less = Permissions::VIEW_CHANNEL | Permissions::CONNECT;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, less)
        .unwrap();
    assert_eq!(patch(json!([{"id": hall, "position": 9}])), (403, 50013));
    let channels = scene.sim.channels(scene.guild);
    assert!(channels.iter().all(|channel| channel.parent_id.is_none()));
}
