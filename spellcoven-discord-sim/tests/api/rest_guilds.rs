//! Guilds, the bot itself, the audit log.

use serde_json::{Value, json};
use spellcoven_discord_sim::{Permissions, Request};

use super::support::{scene, scene_with};

#[tokio::test(start_paused = true)]
async fn the_gateways_address() {
    let scene = scene_with(|b| b.public_url("http://127.0.0.1:4000/"));
    let open = scene.sim.rest(&Request::new("GET", "/api/v10/gateway"));
    assert_eq!(open.json(), json!({"url": "ws://127.0.0.1:4000"}));
    let own = scene.get("/gateway/bot").json();
    assert_eq!(own["url"], "ws://127.0.0.1:4000");
    assert_eq!(own["session_start_limit"]["max_concurrency"], 1);
    assert_eq!(own["shards"], 1);
}

#[tokio::test(start_paused = true)]
async fn the_bot_and_its_application() {
    let scene = scene();
    assert_eq!(
        scene.get("/users/@me").json()["id"],
        json!(scene.bot.user_id)
    );
    let application = scene.get("/applications/@me").json();
    assert_eq!(application["id"], json!(scene.bot.application_id));
    assert_eq!(scene.get("/oauth2/applications/@me").json(), application);
    assert_eq!(
        scene.get("/voice/regions").json().as_array().unwrap().len(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_guild_with_counts_and_roles() {
    let scene = scene();
    let guild = scene
        .get(&format!("/guilds/{}?with_counts=true", scene.guild))
        .json();
    assert_eq!(
        (
            guild["name"].clone(),
            guild["approximate_member_count"].clone()
        ),
        (json!("Spellcoven"), json!(3))
    );
    let roles = scene.get(&format!("/guilds/{}/roles", scene.guild)).json();
    assert_eq!(roles.as_array().unwrap().len(), 2);
    assert_eq!(roles, guild["roles"]);
    let channels = scene
        .get(&format!("/guilds/{}/channels", scene.guild))
        .json();
    assert_eq!(channels[0]["guild_id"], json!(scene.guild));
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_filters_and_pages() {
    let scene = scene_with(|b| b.no_rate_limits());
    let other = scene.sim.add_bot("other", scene.guild);
    for n in 0..5 {
        let request = scene
            .call("POST", &format!("/guilds/{}/channels", scene.guild))
            .header("x-audit-log-reason", &format!("n{n}"))
            .json(&json!({"name": "x", "type": 2}));
        scene.sim.rest(&request);
    }
    let by_other = Request::new("DELETE", &format!("/channels/{}", scene.lobby)).bot(&other.token);
    assert_eq!(scene.sim.rest(&by_other).status, 200);
    let page = |query: &str| {
        scene
            .get(&format!("/guilds/{}/audit-logs?{query}", scene.guild))
            .json()
    };
    let reasons = |page: &Value| -> Vec<String> {
        page["audit_log_entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["reason"].as_str().unwrap_or("none").to_owned())
            .collect()
    };
    assert_eq!(reasons(&page("")), ["none", "n4", "n3", "n2", "n1", "n0"]);
    assert_eq!(reasons(&page("limit=2&action_type=10")), ["n4", "n3"]);
    assert_eq!(
        reasons(&page(&format!("user_id={}", other.user_id))),
        ["none"]
    );
    let all = page("action_type=10");
    let third = all["audit_log_entries"][2]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        reasons(&page(&format!("action_type=10&before={third}"))),
        ["n1", "n0"]
    );
    assert_eq!(
        reasons(&page(&format!("action_type=10&after={third}"))),
        ["n3", "n4"],
        "oldest first"
    );
    assert_eq!(
        scene
            .get(&format!("/guilds/{}/audit-logs?limit=101", scene.guild))
            .status,
        400
    );
    let none = Permissions::empty();
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, none)
        .unwrap();
    assert_eq!(
        scene
            .get(&format!("/guilds/{}/audit-logs", scene.guild))
            .json()["code"],
        50013
    );
}

#[tokio::test(start_paused = true)]
async fn audit_events_need_the_intent_and_the_permission() {
    let scene = scene();
    let mut client = scene.ready_with(129 | 4).await;
    scene.create(&json!({"name": "x"}));
    client.expect("CHANNEL_CREATE").await;
    client.expect("GUILD_AUDIT_LOG_ENTRY_CREATE").await;
    let bits = Permissions::DEFAULT_BOT & !Permissions::VIEW_AUDIT_LOG;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    client.expect("GUILD_ROLE_UPDATE").await;
    scene.create(&json!({"name": "x"}));
    client.expect("CHANNEL_CREATE").await;
    client.silent().await;
}
