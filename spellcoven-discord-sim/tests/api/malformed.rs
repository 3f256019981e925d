//! Whatever a client sends, the world goes on.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use spellcoven_discord_sim::core::{Output, World};
use spellcoven_discord_sim::{ChannelKind, Request, Settings};

fn world() -> (World, String) {
    let mut settings = Settings::default();
    settings.start_unix_ms = Some(1_795_392_000_000);
    let mut world = World::new(settings, Some(1));
    let guild = world.add_guild("g");
    let bot = world.add_bot("bot", guild);
    world
        .add_channel(guild, ChannelKind::Voice, "v", None)
        .unwrap();
    (world, bot.token)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let key = prop::sample::select(vec![
            "token",
            "intents",
            "properties",
            "shard",
            "seq",
            "session_id",
            "guild_id",
            "channel_id",
            "since",
            "name",
            "type",
            "permission_overwrites",
            "id",
            "allow",
            "parent_id",
            "content",
            "nonce",
            "embeds",
            "allowed_mentions",
            "users",
            "parse",
            "user_ids",
            "query",
            "limit",
            "fields",
            "guild_ids",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// A connection that is open still answers a heartbeat; a closed one said so with a close frame.
fn check(world: &mut World, id: spellcoven_discord_sim::core::ConnectionId) {
    let mut closed = false;
    while let Some(output) = world.poll_output(id) {
        match output {
            Output::Text(text) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                assert!(value["op"].is_u64());
            }
            Output::Close { code, .. } => {
                assert!((4000..=4014).contains(&code));
                closed = true;
            }
            Output::Drop => closed = true,
            other => panic!("unexpected {other:?}"),
        }
    }
    if !closed {
        world.gateway_message(Duration::from_secs(1), id, br#"{"op":1,"d":null}"#);
        assert!(
            matches!(world.poll_output(id), Some(Output::Text(text)) if text.contains(r#""op":11"#))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_on_the_gateway(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut world, _) = world();
        let id = world.gateway_open(Duration::ZERO, "v=10");
        world.gateway_message(Duration::ZERO, id, &bytes);
        check(&mut world, id);
    }

    #[test]
    fn payloads_on_the_gateway(
        payloads in prop::collection::vec((0_u64..50, json_value()), 1..6),
        identified in any::<bool>(),
    ) {
        let (mut world, token) = world();
        let id = world.gateway_open(Duration::ZERO, "v=10");
        if identified {
            let d = json!({"token": token, "intents": 129, "properties": {}});
            world.gateway_message(Duration::ZERO, id, json!({"op": 2, "d": d}).to_string().as_bytes());
        }
        for (op, d) in payloads {
            world.gateway_message(Duration::ZERO, id, json!({"op": op, "d": d}).to_string().as_bytes());
        }
        check(&mut world, id);
    }

    #[test]
    fn requests(
        method in prop::sample::select(vec!["GET", "POST", "PATCH", "DELETE", "PUT", "X"]),
        path in prop_oneof![
            "[/a-z0-9@?=&{}%.]{0,40}",
            prop::sample::select(vec![
                "/guilds/{g}/channels".to_owned(), "/channels/{c}".to_owned(), "/channels/{c}/messages".to_owned(),
                "/guilds/{g}/members/{b}".to_owned(), "/guilds/{g}/audit-logs?limit=x&before=&after=1".to_owned(),
                "/guilds/{g}/voice-states/@me".to_owned(),
            ]),
        ],
        body in json_value(),
        reason in "\\PC{0,20}",
    ) {
        let (mut world, token) = world();
        let guilds: Vec<_> = (0..1).map(|_| first_guild(&mut world, &token)).collect();
        let (guild, channel, bot) = &guilds[0];
        let path = path.replace("{g}", guild).replace("{c}", channel).replace("{b}", bot);
        let request = Request::new(method, &format!("/api/v10{path}"))
            .bot(&token)
            .header("x-audit-log-reason", &reason)
            .json(&body);
        let answer = world.handle_rest(Duration::ZERO, &request);
        prop_assert!((200..500).contains(&answer.status), "{} {}", answer.status, path);
        if answer.status >= 400 {
            prop_assert!(answer.json()["code"].is_u64());
        }
    }
}

/// The ids of the guild, its channel and the bot, as a client finds them.
fn first_guild(world: &mut World, token: &str) -> (String, String, String) {
    let id = world.gateway_open(Duration::ZERO, "");
    let d = json!({"token": token, "intents": 1, "properties": {}});
    world.gateway_message(
        Duration::ZERO,
        id,
        json!({"op": 2, "d": d}).to_string().as_bytes(),
    );
    let mut found = (String::new(), String::new(), String::new());
    while let Some(Output::Text(text)) = world.poll_output(id) {
        let value: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if value["t"] == "READY" {
            found.2 = text(&value["d"]["user"]["id"]);
        }
        if value["t"] == "GUILD_CREATE" {
            found.0 = text(&value["d"]["id"]);
            found.1 = text(&value["d"]["channels"][0]["id"]);
        }
    }
    found
}
