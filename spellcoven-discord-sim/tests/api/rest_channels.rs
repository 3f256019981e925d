//! Channels over REST.

use serde_json::json;
use spellcoven_discord_sim::ChannelKind;

use super::support::{scene, scene_with};

#[tokio::test(start_paused = true)]
async fn a_channel_is_created_with_201_an_event_and_an_audit_entry() {
    let scene = scene();
    let category = scene.sim.add_category(scene.guild, "Games");
    let mut client = scene.ready_with(129 | 4).await;
    let request = scene
        .call("POST", &format!("/guilds/{}/channels", scene.guild))
        .header("x-audit-log-reason", "spell%20coven%3A%20r%C3%A9q%201")
        .json(&json!({"name": "My Room", "type": 2, "user_limit": 5, "parent_id": category, "bitrate": 8000}));
    let made = scene.sim.rest(&request);
    assert_eq!(made.status, 201);
    let body = made.json();
    assert_eq!(body["name"], "My Room");
    assert_eq!(
        (body["user_limit"].clone(), body["bitrate"].clone()),
        (json!(5), json!(8000))
    );
    assert_eq!(
        (body["parent_id"].clone(), body["guild_id"].clone()),
        (json!(category), json!(scene.guild))
    );
    assert_eq!(client.expect("CHANNEL_CREATE").await, body);
    let entry = client.expect("GUILD_AUDIT_LOG_ENTRY_CREATE").await;
    assert_eq!(entry["reason"], "spell coven: réq 1");
    assert_eq!(
        (entry["action_type"].clone(), entry["target_id"].clone()),
        (json!(10), body["id"].clone())
    );
    let view = scene
        .sim
        .channels(scene.guild)
        .into_iter()
        .find(|c| c.name == "My Room")
        .unwrap();
    assert_eq!(
        (view.kind, view.user_limit, view.parent_id),
        (ChannelKind::Voice, 5, Some(category))
    );
    let journal = scene.sim.journal();
    let logged = journal.requests().last().unwrap();
    assert_eq!(
        (logged.status, logged.reason.as_deref()),
        (201, Some("spell coven: réq 1"))
    );
}

#[tokio::test(start_paused = true)]
async fn text_channels_are_normalised_and_the_type_defaults_to_text() {
    let scene = scene();
    let made = scene.create(&json!({"name": "My  Room"})).json();
    assert_eq!(
        (made["name"].clone(), made["type"].clone()),
        (json!("my-room"), json!(0))
    );
    assert!(made.get("bitrate").is_none());
}

#[tokio::test(start_paused = true)]
async fn omitted_overwrites_are_the_categorys_and_given_ones_are_not() {
    let scene = scene();
    let overwrite = json!({"id": scene.bot.user_id, "type": 1, "allow": "1024", "deny": "0"});
    let category = scene
        .create(&json!({"name": "Games", "type": 4, "permission_overwrites": [overwrite]}))
        .json()["id"]
        .clone();
    let synced = scene
        .create(&json!({"name": "a", "type": 2, "parent_id": category}))
        .json();
    assert_eq!(synced["permission_overwrites"], json!([overwrite]));
    let own = json!({"name": "a", "type": 2, "parent_id": category, "permission_overwrites": []});
    assert_eq!(
        scene.create(&own).json()["permission_overwrites"],
        json!([])
    );
}

#[tokio::test(start_paused = true)]
async fn modify_changes_what_is_named_and_tells() {
    let scene = scene();
    let mut client = scene.ready().await;
    let path = format!("/channels/{}", scene.lobby);
    let changed = scene.send("PATCH", &path, &json!({"name": "Hall", "user_limit": 7}));
    assert_eq!(changed.status, 200);
    let body = changed.json();
    assert_eq!(
        (body["name"].clone(), body["user_limit"].clone()),
        (json!("Hall"), json!(7))
    );
    assert_eq!(client.expect("CHANNEL_UPDATE").await, body);
    assert_eq!(
        scene
            .send("PATCH", &path, &json!({"user_limit": null}))
            .json()["user_limit"],
        0
    );
    assert_eq!(scene.get(&path).json()["name"], "Hall");
}

#[tokio::test(start_paused = true)]
async fn delete_answers_200_with_the_channel_and_404_the_second_time() {
    let scene = scene();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let mut client = scene.ready().await;
    let path = format!("/channels/{}", scene.lobby);
    let gone = scene.delete(&path);
    assert_eq!(
        (gone.status, gone.json()["id"].clone()),
        (200, json!(scene.lobby))
    );
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        json!(null)
    );
    client.expect("CHANNEL_DELETE").await;
    let again = scene.delete(&path);
    assert_eq!(
        (again.status, again.json()),
        (404, json!({"message": "Unknown Channel", "code": 10003}))
    );
}

#[tokio::test(start_paused = true)]
async fn quotas() {
    let scene =
        scene_with(|b| b.settings(|s| (s.channels_per_guild, s.channels_per_category) = (4, 1)));
    let category = scene.sim.add_category(scene.guild, "Games");
    let inside = json!({"name": "a", "type": 2, "parent_id": category});
    assert_eq!(scene.create(&inside).status, 201);
    let full = scene.create(&inside);
    assert_eq!(full.status, 400);
    assert_eq!(
        full.json()["errors"]["parent_id"]["_errors"][0]["code"],
        "CHANNEL_PARENT_MAX_CHANNELS"
    );
    assert_eq!(scene.create(&json!({"name": "b"})).status, 201);
    let over = scene.create(&json!({"name": "c"}));
    assert_eq!(
        (over.status, over.json()["code"].as_u64()),
        (400, Some(30013))
    );
}
