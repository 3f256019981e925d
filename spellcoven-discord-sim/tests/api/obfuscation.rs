//! Channels that a bot cannot view.

use serde_json::json;
use spellcoven_discord_sim::{Overwrite, OverwriteTarget, Permissions, RoleId};

use super::support::{Scene, scene, scene_with};

fn hide(scene: &Scene) {
    let deny = Overwrite {
        target: OverwriteTarget::Role(RoleId(scene.guild.get())),
        allow: Permissions::empty(),
        deny: Permissions::VIEW_CHANNEL,
    };
    let bot = Overwrite {
        target: OverwriteTarget::Member(scene.bot.user_id),
        ..deny
    };
    scene
        .sim
        .set_overwrites(scene.lobby, vec![deny, bot])
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hidden_channel_shows_only_what_it_may() {
    let scene = scene();
    hide(&scene);
    let mut client = scene.connect().await;
    client.hello().await;
    client.identify(&scene.bot.token, 129).await;
    client.expect("READY").await;
    let channel = client.expect("GUILD_CREATE").await["channels"][0].clone();
    assert_eq!(channel["name"], "___hidden___");
    assert_eq!(channel["flags"], 1 << 17);
    assert_eq!(
        channel["permission_overwrites"],
        json!([{"id": scene.guild, "type": 0, "allow": "0", "deny": "1024"}])
    );
    for key in ["bitrate", "user_limit", "position", "parent_id", "topic"] {
        assert!(channel.get(key).is_some(), "{key}");
    }
    assert_eq!(
        scene
            .get(&format!("/guilds/{}/channels", scene.guild))
            .json(),
        json!([])
    );
    let refused = scene.get(&format!("/channels/{}", scene.lobby));
    assert_eq!(
        (refused.status, refused.json()["code"].as_u64()),
        (403, Some(50001))
    );
    scene.sim.rename_channel(scene.lobby, "secret").unwrap();
    assert_eq!(
        client.expect("CHANNEL_UPDATE").await["name"],
        "___hidden___"
    );
}

#[tokio::test(start_paused = true)]
async fn gaining_and_losing_sight_sends_the_channel() {
    let scene = scene();
    let mut client = scene.ready().await;
    hide(&scene);
    assert_eq!(
        client.expect("CHANNEL_UPDATE").await["name"],
        "___hidden___"
    );
    scene.sim.set_overwrites(scene.lobby, Vec::new()).unwrap();
    assert_eq!(client.expect("CHANNEL_UPDATE").await["name"], "Lobby");
    // By a role.
    let none = Permissions::empty();
    scene
        .sim
        .set_everyone_permissions(scene.guild, none)
        .unwrap();
    client.expect("GUILD_ROLE_UPDATE").await;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, none)
        .unwrap();
    client.expect("GUILD_ROLE_UPDATE").await;
    assert_eq!(
        client.expect("CHANNEL_UPDATE").await["name"],
        "___hidden___"
    );
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, Permissions::DEFAULT_BOT)
        .unwrap();
    client.expect("GUILD_ROLE_UPDATE").await;
    assert_eq!(client.expect("CHANNEL_UPDATE").await["name"], "Lobby");
}

#[tokio::test(start_paused = true)]
async fn a_category_is_in_view_with_any_of_its_channels() {
    let scene = scene();
    let category = scene.sim.add_category(scene.guild, "Games");
    let deny = Overwrite {
        target: OverwriteTarget::Member(scene.bot.user_id),
        allow: Permissions::empty(),
        deny: Permissions::VIEW_CHANNEL,
    };
    scene.sim.set_overwrites(category, vec![deny]).unwrap();
    let mut client = scene.ready().await;
    let room = scene
        .sim
        .add_voice_channel_in(scene.guild, category, "Room");
    assert_eq!(client.expect("CHANNEL_CREATE").await["name"], "Room");
    assert_eq!(client.expect("CHANNEL_UPDATE").await["name"], "Games");
    scene.sim.delete_channel(room).unwrap();
    client.expect("CHANNEL_DELETE").await;
    assert_eq!(
        client.expect("CHANNEL_UPDATE").await["name"],
        "___hidden___"
    );
}

#[tokio::test(start_paused = true)]
async fn the_switch_brings_the_old_behaviour() {
    let scene = scene_with(|b| b.obfuscation(false));
    hide(&scene);
    let listed = scene
        .get(&format!("/guilds/{}/channels", scene.guild))
        .json();
    assert_eq!(listed[0]["name"], "Lobby");
    let mut client = scene.ready().await;
    scene.sim.rename_channel(scene.lobby, "secret").unwrap();
    assert_eq!(client.expect("CHANNEL_UPDATE").await["name"], "secret");
}
