//! Every documented field is there. The lists are what the protocol notes require of each payload, for five client
//! libraries together.

use serde_json::{Value, json};

use super::support::scene;

const USER: &str =
    "id username discriminator global_name avatar public_flags flags banner accent_color";
const OWN_USER: &str = "id username discriminator global_name avatar bot public_flags flags banner accent_color verified \
    mfa_enabled email locale premium_type bio";
const MEMBER: &str = "user nick avatar banner roles joined_at premium_since deaf mute flags pending \
    communication_disabled_until";
const READY: &str = "v user_settings user session_type session_id resume_gateway_url relationships private_channels \
    presences guilds guild_join_requests geo_ordered_rtc_regions auth application shard _trace";
const GUILD: &str = "id name icon splash discovery_splash banner description owner_id region afk_channel_id afk_timeout \
    widget_enabled widget_channel_id verification_level default_message_notifications explicit_content_filter \
    mfa_level nsfw_level nsfw roles emojis stickers features application_id system_channel_id system_channel_flags \
    rules_channel_id public_updates_channel_id safety_alerts_channel_id max_presences max_members \
    max_video_channel_users max_stage_video_channel_users vanity_url_code premium_tier premium_subscription_count \
    premium_progress_bar_enabled preferred_locale hub_type incidents_data";
const GUILD_CREATE: &str = "joined_at large unavailable member_count voice_states members channels threads presences \
    stage_instances guild_scheduled_events soundboard_sounds";
const ROLE: &str = "id name description permissions position color colors hoist managed mentionable icon unicode_emoji \
    flags";
const CATEGORY: &str = "id type name position parent_id permission_overwrites flags";
const TEXT: &str = "id type name position parent_id permission_overwrites topic nsfw rate_limit_per_user \
    last_message_id flags";
const VOICE: &str = "id type name position parent_id bitrate user_limit rate_limit_per_user nsfw rtc_region \
    last_message_id permission_overwrites flags video_quality_mode";
const VOICE_STATE: &str = "channel_id user_id session_id deaf mute self_deaf self_mute self_video self_stream suppress \
    request_to_speak_timestamp";
const APPLICATION: &str = "id name icon description summary type bot_public bot_require_code_grant verify_key flags owner \
    team bot hook approximate_guild_count approximate_user_install_count interactions_endpoint_url \
    role_connections_verification_url redirect_uris rpc_origins tags integration_types_config";
const MESSAGE: &str = "id channel_id guild_id author content timestamp edited_timestamp tts mention_everyone mentions \
    mention_roles attachments embeds pinned type flags components";

#[track_caller]
fn has(value: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn gateway_payloads() {
    let scene = scene();
    scene.sim.add_category(scene.guild, "c");
    scene.sim.add_text_channel(scene.guild, "t");
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let mut client = scene.connect().await;
    client.hello().await;
    let mut identify = super::support::identify(&scene.bot.token, 129);
    identify["shard"] = json!([0, 1]);
    client.send(2, &identify).await;
    let ready = client.expect("READY").await;
    has(&ready, READY);
    has(&ready["user"], OWN_USER);
    has(&ready["application"], "id flags");
    has(&ready["guilds"][0], "id unavailable");
    let guild = client.expect("GUILD_CREATE").await;
    has(&guild, GUILD);
    has(&guild, GUILD_CREATE);
    has(&guild["roles"][0], ROLE);
    has(
        &guild["roles"][0]["colors"],
        "primary_color secondary_color tertiary_color",
    );
    for channel in guild["channels"].as_array().unwrap() {
        let keys = match channel["type"].as_u64() {
            Some(0) => TEXT,
            Some(2) => VOICE,
            _ => CATEGORY,
        };
        has(channel, keys);
    }
    has(&guild["voice_states"][0], VOICE_STATE);
    for member in guild["members"].as_array().unwrap() {
        has(member, MEMBER);
        has(&member["user"], USER);
    }
    scene.sim.set_self_mute(scene.alice, true).unwrap();
    let state = client.expect("VOICE_STATE_UPDATE").await;
    has(&state, VOICE_STATE);
    has(&state, "guild_id member");
    has(&state["member"], MEMBER);
    scene.sim.leave(scene.alice).unwrap();
    let left = client.expect("VOICE_STATE_UPDATE").await;
    has(&left, VOICE_STATE);
    has(&left["member"], MEMBER);
    let room = scene.sim.add_voice_channel(scene.guild, "r");
    let created = client.expect("CHANNEL_CREATE").await;
    has(&created, VOICE);
    has(&created, "guild_id");
    scene.sim.delete_channel(room).unwrap();
    has(&client.expect("CHANNEL_DELETE").await, VOICE);
    let join = json!({"guild_id": scene.guild, "channel_id": scene.lobby, "self_mute": false, "self_deaf": false});
    client.send(4, &join).await;
    client.expect("VOICE_STATE_UPDATE").await;
    has(
        &client.expect("VOICE_SERVER_UPDATE").await,
        "token guild_id endpoint",
    );
}

#[tokio::test(start_paused = true)]
async fn rest_payloads() {
    let scene = scene();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    has(&scene.get("/users/@me").json(), OWN_USER);
    let application = scene.get("/applications/@me").json();
    has(&application, APPLICATION);
    has(&application["owner"], USER);
    let gateway = scene.get("/gateway/bot").json();
    has(&gateway, "url shards session_start_limit");
    has(
        &gateway["session_start_limit"],
        "total remaining reset_after max_concurrency",
    );
    has(
        &scene.get(&format!("/guilds/{}", scene.guild)).json(),
        GUILD,
    );
    let channel = scene.get(&format!("/channels/{}", scene.lobby)).json();
    has(&channel, VOICE);
    has(&channel, "guild_id");
    has(
        &scene
            .get(&format!("/guilds/{}/members/{}", scene.guild, scene.alice))
            .json(),
        MEMBER,
    );
    let state = scene
        .get(&format!(
            "/guilds/{}/voice-states/{}",
            scene.guild, scene.alice
        ))
        .json();
    has(&state, VOICE_STATE);
    has(&state, "guild_id");
    has(
        &scene.get("/voice/regions").json()[0],
        "id name optimal deprecated custom",
    );
    let path = format!("/channels/{}/messages", scene.lobby);
    let message = scene
        .send("POST", &path, &json!({"content": "x", "nonce": 5}))
        .json();
    has(&message, MESSAGE);
    has(&message, "nonce");
    scene.create(&json!({"name": "x"}));
    let log = scene
        .get(&format!("/guilds/{}/audit-logs", scene.guild))
        .json();
    has(
        &log,
        "audit_log_entries users integrations webhooks guild_scheduled_events threads application_commands \
         auto_moderation_rules",
    );
    has(
        &log["audit_log_entries"][0],
        "id user_id target_id action_type changes",
    );
}
