//! What is sent.

use serde_json::{Value, json};
use twilight_model::{
    channel::message::{AllowedMentions, MentionType},
    guild::Permissions,
    http::permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    id::Id,
};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn headers_of_every_request() {
    let transport = Scripted::new(|_, _| reply(200, json!([])));
    let client = transport
        .builder()
        .user_agent_suffix("hub/1.2")
        .build()
        .unwrap();
    client.get_channels(guild_id()).await.unwrap();
    let seen = &transport.seen()[0];
    assert_eq!(seen.header("authorization"), "Bot secret-token");
    let version = env!("CARGO_PKG_VERSION");
    let url = "https://github.com/spellcoven/spellcoven-discord";
    assert_eq!(
        seen.header("user-agent"),
        format!("DiscordBot ({url}, {version}) hub/1.2")
    );
    assert!(!seen.headers.contains_key("x-audit-log-reason"));
    assert!(
        !seen.headers.contains_key("content-length"),
        "a GET has no body"
    );
    assert!(!seen.headers.contains_key("content-type"));
}

#[tokio::test(start_paused = true)]
async fn create_voice_channel_sends_what_was_asked() {
    let transport = Scripted::new(|_, _| reply(201, channel(5, "Table 1")));
    let overwrite = PermissionOverwrite {
        allow: Some(Permissions::CONNECT),
        deny: None,
        id: Id::new(9),
        kind: PermissionOverwriteType::Member,
    };
    let made = transport
        .client()
        .create_voice_channel(guild_id(), "Table 1")
        .parent_id(Id::new(3))
        .user_limit(4)
        .bitrate(96_000)
        .permission_overwrites([overwrite])
        .reason("für Anna/Bob")
        .request_id("req-1")
        .await
        .unwrap();
    assert_eq!(made.id, Id::new(5));
    let seen = &transport.seen()[0];
    assert_eq!(transport.story(), ["POST /guilds/1/channels"]);
    assert_eq!(seen.header("content-type"), "application/json");
    let overwrites = json!([{"id": "9", "type": 1, "allow": "1048576"}]);
    assert_eq!(
        seen.json(),
        json!({"name": "Table 1", "type": 2, "parent_id": "3", "user_limit": 4, "bitrate": 96000,
            "permission_overwrites": overwrites})
    );
    let raw = seen.header("x-audit-log-reason");
    assert!(
        raw.starts_with("f%C3%BCr%20Anna%2FBob%20%28request%20req-1."),
        "{raw}"
    );
    assert!(seen.reason().starts_with("für Anna/Bob (request req-1."));
}

#[tokio::test(start_paused = true)]
async fn the_smallest_create() {
    let transport = Scripted::new(|_, _| reply(201, channel(5, "x")));
    transport
        .client()
        .create_voice_channel(guild_id(), "x")
        .parent_id(None)
        .await
        .unwrap();
    let seen = &transport.seen()[0];
    assert_eq!(seen.json(), json!({"name": "x", "type": 2}));
    assert!(
        seen.reason().starts_with("createVoiceChannel (request "),
        "a reason is always there"
    );
}

/// 512 characters that take nine bytes each: the request id survives.
#[tokio::test(start_paused = true)]
async fn a_long_reason_is_cut_and_the_request_id_kept() {
    let transport = Scripted::new(|_, _| reply(200, channel(2, "x")));
    let id = "i".repeat(64);
    transport
        .client()
        .delete_channel(channel_id())
        .reason("語".repeat(512))
        .request_id(&id)
        .await
        .unwrap();
    let seen = &transport.seen()[0];
    assert!(seen.header("x-audit-log-reason").len() <= 512);
    assert!(
        seen.reason().contains(&format!("(request {id}.")),
        "{}",
        seen.reason()
    );
    assert!(seen.reason().starts_with("語語"));
}

/// Two calls with one request id can still be told apart in the audit log.
#[tokio::test(start_paused = true)]
async fn the_token_in_the_reason_is_new_for_each_call() {
    let transport = Scripted::new(|_, _| reply(201, channel(5, "x")));
    let client = transport.client();
    for _ in 0..2 {
        client
            .create_voice_channel(guild_id(), "x")
            .request_id("same")
            .await
            .unwrap();
    }
    let seen = transport.seen();
    assert_ne!(seen[0].reason(), seen[1].reason());
}

#[tokio::test(start_paused = true)]
async fn messages_mention_nobody_and_carry_a_nonce() {
    let transport = Scripted::new(|_, _| reply(400, error(0, "no")));
    let client = transport.client();
    let _ = client.send_message(channel_id(), "@everyone").await;
    let _ = client.send_message(channel_id(), "@everyone").await;
    let mentions = AllowedMentions {
        parse: vec![MentionType::Users],
        ..AllowedMentions::default()
    };
    let _ = client
        .send_message(channel_id(), "x")
        .nonce("mine")
        .allowed_mentions(mentions)
        .await;
    let bodies: Vec<Value> = transport.seen().iter().map(Seen::json).collect();
    let nonce = bodies[0]["nonce"].as_str().unwrap();
    assert_eq!(nonce.len(), 24);
    assert_ne!(bodies[0]["nonce"], bodies[1]["nonce"]);
    assert_eq!(
        bodies[0],
        json!({"content": "@everyone", "nonce": nonce, "enforce_nonce": true, "allowed_mentions": {"parse": []}})
    );
    assert_eq!(
        bodies[2],
        json!({"content": "x", "nonce": "mine", "enforce_nonce": true, "allowed_mentions": {"parse": ["users"]}})
    );
}

#[tokio::test(start_paused = true)]
async fn reads() {
    let gateway = json!({"url": "wss://gateway.discord.gg", "shards": 1,
        "session_start_limit": {"total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1}});
    let transport = Scripted::new(move |_, seen| {
        reply(
            200,
            match seen.path.as_str() {
                "/guilds/1/channels" => json!([channel(5, "a"), channel(6, "b")]),
                "/channels/2" => channel(2, "c"),
                _ => gateway.clone(),
            },
        )
    });
    let client = transport.client();
    assert_eq!(client.get_channels(guild_id()).await.unwrap().len(), 2);
    assert_eq!(
        client
            .get_channel(channel_id())
            .await
            .unwrap()
            .name
            .as_deref(),
        Some("c")
    );
    assert_eq!(
        client.get_gateway_bot().await.unwrap().url,
        "wss://gateway.discord.gg"
    );
    assert_eq!(
        transport.story(),
        [
            "GET /guilds/1/channels",
            "GET /channels/2",
            "GET /gateway/bot"
        ]
    );
}
