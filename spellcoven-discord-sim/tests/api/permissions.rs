//! Permissions in REST answers.

use serde_json::{Value, json};
use spellcoven_discord_sim::{Overwrite, OverwriteTarget, Permissions, Response, RoleId};

use super::support::{Scene, scene, scene_with};

fn code(answer: &Response) -> (u16, u64) {
    (answer.status, answer.json()["code"].as_u64().unwrap_or(0))
}

fn deny(scene: &Scene, target: OverwriteTarget, deny: Permissions) {
    let overwrite = Overwrite {
        target,
        allow: Permissions::empty(),
        deny,
    };
    scene
        .sim
        .set_overwrites(scene.lobby, vec![overwrite])
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_manage_channels_nothing_is_changed() {
    let scene = scene();
    let bits = Permissions::DEFAULT_BOT & !Permissions::MANAGE_CHANNELS;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    let path = format!("/channels/{}", scene.lobby);
    assert_eq!(code(&scene.create(&json!({"name": "x"}))), (403, 50013));
    assert_eq!(
        code(&scene.send("PATCH", &path, &json!({"name": "x"}))),
        (403, 50013)
    );
    assert_eq!(code(&scene.delete(&path)), (403, 50013));
    assert_eq!(scene.sim.channels(scene.guild)[0].name, "Lobby");
}

#[tokio::test(start_paused = true)]
async fn a_denied_connect_takes_the_channel_away_unless_the_bot_is_allowed() {
    let scene = scene();
    let path = format!("/channels/{}", scene.lobby);
    let everyone = OverwriteTarget::Role(RoleId(scene.guild.get()));
    deny(&scene, everyone, Permissions::CONNECT);
    assert_eq!(code(&scene.delete(&path)), (403, 50001));
    assert_eq!(scene.get(&path).status, 200, "it stays in sight");
    let deny = Overwrite {
        target: everyone,
        allow: Permissions::empty(),
        deny: Permissions::CONNECT,
    };
    let own = Overwrite {
        target: OverwriteTarget::Member(scene.bot.user_id),
        allow: Permissions::CONNECT,
        deny: Permissions::empty(),
    };
    scene
        .sim
        .set_overwrites(scene.lobby, vec![deny, own])
        .unwrap();
    assert_eq!(scene.delete(&path).status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_hidden_channel_is_50001() {
    let scene = scene();
    deny(
        &scene,
        OverwriteTarget::Member(scene.bot.user_id),
        Permissions::VIEW_CHANNEL,
    );
    let path = format!("/channels/{}", scene.lobby);
    for method in ["GET", "DELETE"] {
        assert_eq!(
            code(&scene.sim.rest(&scene.call(method, &path))),
            (403, 50001)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn overwrites_name_only_what_the_bot_has() {
    let scene = scene_with(|b| b.no_rate_limits());
    let room = |allow: u64, deny: u64| -> Value {
        let overwrite =
            json!({"id": scene.guild, "type": 0, "allow": allow.to_string(), "deny": deny});
        json!({"name": "x", "type": 2, "permission_overwrites": [overwrite]})
    };
    assert_eq!(
        scene
            .create(&room(Permissions::CONNECT.0, Permissions::SPEAK.0))
            .status,
        201
    );
    assert_eq!(
        code(&scene.create(&room(Permissions::MUTE_MEMBERS.0, 0))),
        (403, 50013)
    );
    let with_roles = Permissions::DEFAULT_BOT | Permissions::MANAGE_ROLES;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, with_roles)
        .unwrap();
    assert_eq!(
        code(&scene.create(&room(Permissions::MANAGE_ROLES.0, 0))),
        (403, 50013),
        "administrators only"
    );
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, Permissions::ADMINISTRATOR)
        .unwrap();
    assert_eq!(
        scene.create(&room(Permissions::MANAGE_ROLES.0, 0)).status,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn changing_overwrites_needs_manage_roles() {
    let scene = scene();
    let path = format!("/channels/{}", scene.lobby);
    let body = json!({"permission_overwrites": [{"id": scene.guild, "type": 0, "allow": "0", "deny": "2097152"}]});
    assert_eq!(code(&scene.send("PATCH", &path, &body)), (403, 50013));
    let bits = Permissions::DEFAULT_BOT | Permissions::MANAGE_ROLES;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    assert_eq!(scene.send("PATCH", &path, &body).status, 200);
    assert_eq!(scene.sim.channels(scene.guild)[0].overwrites.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_guild_without_the_bot_is_not_there() {
    let scene = scene();
    let other = scene.sim.add_guild("other");
    let room = scene.sim.add_voice_channel(other, "room");
    assert_eq!(
        code(&scene.get(&format!("/guilds/{other}/channels"))),
        (404, 10004)
    );
    assert_eq!(code(&scene.get(&format!("/channels/{room}"))), (403, 50001));
}
