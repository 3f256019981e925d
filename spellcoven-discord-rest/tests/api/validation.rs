//! Nothing invalid is sent, and the error says which field and why.

use spellcoven_discord_rest::{DiscordRestClient, RestError, RestErrorKind};
use twilight_model::{
    channel::message::{AllowedMentions, MentionType},
    http::permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    id::Id,
};

use super::support::*;

fn field(error: &RestError) -> (&'static str, &str) {
    match error.kind() {
        RestErrorKind::Validation { field, reason } => (field, reason),
        _ => panic!("{error:?}"),
    }
}

fn client() -> (Scripted, DiscordRestClient) {
    let transport = Scripted::new(|_, seen| match seen.method.as_str() {
        "POST" => reply(201, channel(5, "x")),
        _ => reply(200, channel(5, "x")),
    });
    let client = transport.client();
    (transport, client)
}

#[tokio::test(start_paused = true)]
async fn create_voice_channel() {
    let (transport, client) = client();
    let create = |name: &str| client.create_voice_channel(guild_id(), name);
    let overwrite = PermissionOverwrite {
        allow: None,
        deny: None,
        id: Id::new(1),
        kind: PermissionOverwriteType::Role,
    };
    let many = |n| vec![overwrite.clone(); n];
    let rows = [
        (create(""), "name", "must have 1 to 100 characters, has 0"),
        (create(" \n "), "name", "must not be blank"),
        (
            create(&"é".repeat(101)),
            "name",
            "must have 1 to 100 characters, has 101",
        ),
        (
            create("x").user_limit(100),
            "user_limit",
            "must be 0 to 99, is 100",
        ),
        (
            create("x").bitrate(7_999),
            "bitrate",
            "must be 8000 to 384000, is 7999",
        ),
        (
            create("x").bitrate(384_001),
            "bitrate",
            "must be 8000 to 384000, is 384001",
        ),
        (
            create("x").permission_overwrites(many(101)),
            "permission_overwrites",
            "must be 0 to 100, is 101",
        ),
        (
            create("x").reason(""),
            "reason",
            "must have 1 to 512 characters, has 0",
        ),
        (
            create("x").reason("é".repeat(513)),
            "reason",
            "must have 1 to 512 characters, has 513",
        ),
        (
            create("x").request_id(""),
            "request_id",
            "must have 1 to 64 characters, has 0",
        ),
        (
            create("x").request_id("a b"),
            "request_id",
            "must be visible ASCII characters",
        ),
    ];
    for (request, name, reason) in rows {
        let error = request.await.unwrap_err();
        assert_eq!(field(&error), (name, reason));
        assert_eq!(error.attempts(), 0);
    }
    assert!(transport.seen().is_empty());
    let good = [
        create(&"é".repeat(100)),
        create("x").user_limit(0),
        create("x").user_limit(99),
        create("x")
            .bitrate(8_000)
            .permission_overwrites(many(100))
            .reason("é".repeat(512)),
        create("x").request_id("~".repeat(64)),
    ];
    for request in good {
        request.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn send_message() {
    let (transport, client) = client();
    let send = |content: &str| client.send_message(channel_id(), content);
    let mentions = |parse, user: bool| AllowedMentions {
        parse: vec![parse],
        users: user.then(|| Id::new(7)).into_iter().collect(),
        roles: (!user).then(|| Id::new(8)).into_iter().collect(),
        replied_user: false,
    };
    let rows = [
        (send(" \n"), "content"),
        (
            send("x").allowed_mentions(mentions(MentionType::Users, true)),
            "allowed_mentions.users",
        ),
        (
            send("x").allowed_mentions(mentions(MentionType::Roles, false)),
            "allowed_mentions.roles",
        ),
        (send(""), "content"),
        (send(&"é".repeat(2001)), "content"),
        (send("x").nonce(""), "nonce"),
        (send("x").nonce("n".repeat(26)), "nonce"),
    ];
    for (request, name) in rows {
        assert_eq!(field(&request.await.unwrap_err()).0, name);
    }
    assert!(transport.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reason_where_there_is_none() {
    let (transport, client) = client();
    assert_eq!(
        field(
            &client
                .get_channel(channel_id())
                .reason("x")
                .await
                .unwrap_err()
        )
        .0,
        "reason"
    );
    assert!(transport.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_text_names_field_and_reason() {
    let (_, client) = client();
    let error = client
        .create_voice_channel(guild_id(), "")
        .request_id("r")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "createVoiceChannel: invalid input, name: must have 1 to 100 characters, has 0 [request r, attempts: 0]"
    );
}
