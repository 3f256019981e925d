//! Ops 3, 4, 8, 31 and 43.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::{GuildId, Intents, Overwrite, OverwriteTarget, Permissions, RoleId};

use super::support::{INTENTS, scene, scene_with};

#[tokio::test(start_paused = true)]
async fn op_4_joins_moves_and_leaves() {
    let scene = scene();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let mut client = scene.ready().await;
    // Numbers are taken as well as texts.
    client
        .send(4, &json!({"guild_id": scene.guild.get(), "channel_id": scene.lobby.get(), "self_mute": true, "self_deaf": false}))
        .await;
    let state = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        state["session_id"], client.session,
        "the Gateway session's id"
    );
    assert_eq!(
        (state["self_mute"].clone(), state["user_id"].clone()),
        (json!(true), json!(scene.bot.user_id))
    );
    let server = client.expect("VOICE_SERVER_UPDATE").await;
    assert_eq!(server["endpoint"], "127.0.0.1:2");
    assert_eq!(server["guild_id"], json!(scene.guild));
    let to = |channel| json!({"guild_id": scene.guild, "channel_id": channel, "self_mute": false, "self_deaf": false});
    client.send(4, &to(Some(hall))).await;
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("VOICE_SERVER_UPDATE").await;
    client.send(4, &to(None)).await;
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        json!(null)
    );
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_not_allowed_has_no_answer() {
    let scene = scene();
    let full = scene.sim.add_voice_channel(scene.guild, "Full");
    scene.sim.set_user_limit(full, 1).unwrap();
    scene.sim.join(scene.alice, full).unwrap();
    let mut client = scene.ready().await;
    let to = json!({"guild_id": scene.guild, "channel_id": full, "self_mute": false, "self_deaf": false});
    client.send(4, &to).await;
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("VOICE_SERVER_UPDATE").await;
    client.send(4, &json!({"guild_id": scene.guild, "channel_id": null, "self_mute": false, "self_deaf": false})).await;
    client.expect("VOICE_STATE_UPDATE").await;
    // MOVE_MEMBERS let it in; without it the channel is full.
    let bits = Permissions::DEFAULT_BOT & !Permissions::MOVE_MEMBERS;
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, bits)
        .unwrap();
    client.expect("GUILD_ROLE_UPDATE").await;
    client.send(4, &to).await;
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn the_bot_leaves_voice_when_its_session_ends_and_stays_through_a_resume() {
    let scene = scene();
    let mut client = scene.ready().await;
    client
        .send(4, &json!({"guild_id": scene.guild, "channel_id": scene.lobby, "self_mute": false, "self_deaf": false}))
        .await;
    client.expect("VOICE_STATE_UPDATE").await;
    scene.sim.cut(&scene.bot);
    assert_eq!(scene.sim.voice_states(scene.guild).len(), 1);
    tokio::time::sleep(Duration::from_secs(121)).await;
    scene.sim.with(|_| ());
    assert_eq!(scene.sim.voice_states(scene.guild).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn wrong_fields_are_4001() {
    for (op, d) in [
        (
            3,
            json!({"activities": [], "status": "online", "afk": false}),
        ),
        (3, json!({"since": null, "status": "online", "afk": false})),
        (
            3,
            json!({"since": null, "activities": [], "status": "away", "afk": false}),
        ),
        (
            4,
            json!({"channel_id": null, "self_mute": false, "self_deaf": false}),
        ),
        (
            4,
            json!({"guild_id": "1", "self_mute": false, "self_deaf": false}),
        ),
        (4, json!({"guild_id": "1", "channel_id": null})),
        (8, json!({"guild_id": "1"})),
        (8, json!({"guild_id": "1", "query": "", "limit": 0})),
        (31, json!({})),
        (43, json!({"guild_id": "1"})),
        (40, json!({})),
    ] {
        let scene = scene();
        let mut client = scene.ready().await;
        client.send(op, &d).await;
        assert_eq!(client.closed().await, 4001, "op {op} {d}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_presence_is_silent() {
    let scene = scene();
    let mut client = scene.ready().await;
    client
        .send(
            3,
            &json!({"since": null, "activities": [], "status": "online", "afk": false}),
        )
        .await;
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn members_come_in_chunks_and_a_whole_guild_only_every_30_s() {
    let scene = scene_with(|b| b.privileged_intents(Intents::GUILD_MEMBERS));
    for n in 0..1100 {
        scene.sim.add_person(&format!("p{n}"), scene.guild);
    }
    let mut client = scene.ready_with(INTENTS | 2).await;
    let whole = json!({"guild_id": scene.guild, "query": "", "limit": 0, "nonce": "n"});
    client.send(8, &whole).await;
    let first = client.expect("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(first["members"].as_array().unwrap().len(), 1000);
    assert_eq!(
        (first["chunk_index"].clone(), first["chunk_count"].clone()),
        (json!(0), json!(2))
    );
    assert_eq!(first["nonce"], "n");
    assert_eq!(
        client.expect("GUILD_MEMBERS_CHUNK").await["members"]
            .as_array()
            .unwrap()
            .len(),
        103
    );
    client.send(8, &whole).await;
    let limited = client.expect("RATE_LIMITED").await;
    assert_eq!(
        (limited["opcode"].clone(), limited["meta"]["nonce"].clone()),
        (json!(8), json!("n"))
    );
    assert!((limited["retry_after"].as_f64().unwrap() - 30.0).abs() < 1.0);
    client
        .send(
            8,
            &json!({"guild_id": scene.guild, "user_ids": [scene.alice.get(), 5]}),
        )
        .await;
    let one = client.expect("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(one["members"][0]["user"]["username"], "alice");
    assert_eq!(one["not_found"], json!(["5"]));
    client
        .send(
            8,
            &json!({"guild_id": scene.guild, "query": "P10", "limit": 3}),
        )
        .await;
    assert_eq!(
        client.expect("GUILD_MEMBERS_CHUNK").await["members"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_sound_is_told_and_part_of_the_guild() {
    let scene = scene();
    let mut client = scene
        .ready_with(INTENTS | Intents::GUILD_EXPRESSIONS.0)
        .await;
    let id = scene.sim.add_sound(scene.guild, "Quack").unwrap();
    let told = client.expect("GUILD_SOUNDBOARD_SOUND_CREATE").await;
    assert_eq!(told["sound_id"], id.to_string());
    assert_eq!(told["guild_id"], scene.guild.to_string());
    tokio::time::advance(Duration::from_secs(5)).await;
    let mut later = scene.connect().await;
    later.hello().await;
    later.identify(&scene.bot.token, INTENTS).await;
    later.expect("READY").await;
    let guild = later.expect("GUILD_CREATE").await;
    assert_eq!(guild["soundboard_sounds"], json!([told]));
}

#[tokio::test(start_paused = true)]
async fn sounds_and_channel_info() {
    let scene = scene();
    let mut client = scene.ready().await;
    client.send(31, &json!({"guild_ids": [scene.guild]})).await;
    let none = json!({"guild_id": scene.guild, "soundboard_sounds": []});
    assert_eq!(client.expect("SOUNDBOARD_SOUNDS").await, none);
    // This bot lacks the intent for the event of a new sound.
    let id = scene.sim.add_sound(scene.guild, "Quack").unwrap();
    client
        .send(31, &json!({"guild_ids": [scene.guild, "1"]}))
        .await;
    let sounds = client.expect("SOUNDBOARD_SOUNDS").await;
    let quack = &sounds["soundboard_sounds"][0];
    assert_eq!(quack["sound_id"], id.to_string());
    assert_eq!(quack["name"], "Quack");
    assert!(scene.sim.add_sound(GuildId(1), "nowhere").is_err());
    client
        .send(43, &json!({"guild_id": scene.guild, "fields": ["status"]}))
        .await;
    let info = client.expect("CHANNEL_INFO").await;
    assert_eq!(
        info["channels"],
        json!([{"id": scene.lobby, "status": null}])
    );
}

#[tokio::test(start_paused = true)]
async fn voice_channels_have_a_status_and_a_start_time() {
    const START: &str = "VOICE_CHANNEL_START_TIME_UPDATE";
    const STATUS: &str = "VOICE_CHANNEL_STATUS_UPDATE";
    let scene = scene();
    let bob = scene.sim.add_person("bob", scene.guild);
    let mut client = scene.ready().await;
    client.start_times = true;
    tokio::time::advance(Duration::from_secs(5)).await;
    let (guild, lobby) = (scene.guild, scene.lobby);
    scene.sim.join(scene.alice, lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    let start = scene.sim.unix_ms() / 1000;
    assert_eq!(
        client.expect(START).await,
        json!({"id": lobby, "guild_id": guild, "voice_start_time": start})
    );
    scene
        .sim
        .set_voice_status(lobby, Some("game on".into()))
        .unwrap();
    scene
        .sim
        .set_voice_status(lobby, Some("game on".into()))
        .unwrap();
    assert_eq!(
        client.expect(STATUS).await,
        json!({"id": lobby, "guild_id": guild, "status": "game on"})
    );
    // A second one changes nothing, and neither does the first one's leaving.
    scene.sim.join(bob, lobby).unwrap();
    scene.sim.leave(scene.alice).unwrap();
    for _ in 0..2 {
        assert_eq!(client.payload().await["t"], "VOICE_STATE_UPDATE");
    }
    client.silent().await;
    let fields = json!({"guild_id": guild, "fields": ["status", "voice_start_time"]});
    client.send(43, &fields).await;
    assert_eq!(
        client.expect("CHANNEL_INFO").await["channels"],
        json!([{"id": lobby, "status": "game on", "voice_start_time": start}])
    );
    scene.sim.leave(bob).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(client.expect(START).await["voice_start_time"], json!(null));
    assert_eq!(client.expect(STATUS).await["status"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_viewed_has_no_info() {
    let scene = scene();
    scene
        .sim
        .set_overwrites(
            scene.lobby,
            vec![Overwrite {
                target: OverwriteTarget::Role(RoleId(scene.guild.0)),
                allow: Permissions::empty(),
                deny: Permissions::VIEW_CHANNEL,
            }],
        )
        .unwrap();
    scene
        .sim
        .set_permissions(&scene.bot, scene.guild, Permissions::empty())
        .unwrap();
    let mut client = scene.ready().await;
    scene
        .sim
        .set_voice_status(scene.lobby, Some("x".into()))
        .unwrap();
    client
        .send(43, &json!({"guild_id": scene.guild, "fields": ["status"]}))
        .await;
    assert_eq!(client.expect("CHANNEL_INFO").await["channels"], json!([]));
}
