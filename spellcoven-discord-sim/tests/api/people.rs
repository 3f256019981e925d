//! People in voice, as a test moves them.

use serde_json::json;
use spellcoven_discord_sim::{DeleteOrder, SimError, UserId};

use super::support::{scene, scene_with};

#[tokio::test(start_paused = true)]
async fn join_move_update_leave() {
    let scene = scene();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let mut client = scene.ready().await;
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let joined = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(joined["member"]["user"]["username"], "alice");
    scene.sim.set_self_mute(scene.alice, true).unwrap();
    assert_eq!(client.expect("VOICE_STATE_UPDATE").await["self_mute"], true);
    scene.sim.set_self_deaf(scene.alice, true).unwrap();
    assert_eq!(client.expect("VOICE_STATE_UPDATE").await["self_deaf"], true);
    scene.sim.set_self_video(scene.alice, true).unwrap();
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["self_video"],
        true
    );
    scene.sim.join(scene.alice, hall).unwrap();
    let moved = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(moved["channel_id"], json!(hall));
    assert_eq!(
        (moved["self_mute"].clone(), moved["self_video"].clone()),
        (json!(true), json!(false))
    );
    let states = scene.sim.voice_states(scene.guild);
    assert_eq!(states[&scene.alice].channel_id, hall);
    scene.sim.leave(scene.alice).unwrap();
    let left = client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(
        (left["channel_id"].clone(), left["session_id"].clone()),
        (json!(null), joined["session_id"].clone())
    );
    assert!(scene.sim.voice_states(scene.guild).is_empty());
}

#[tokio::test(start_paused = true)]
async fn refusals_change_nothing() {
    let scene = scene();
    let text = scene.sim.add_text_channel(scene.guild, "text");
    let bob = scene.sim.add_person("bob", scene.guild);
    scene.sim.set_user_limit(scene.lobby, 1).unwrap();
    assert_eq!(
        scene.sim.leave(scene.alice),
        Err(SimError::NotInVoice(scene.alice))
    );
    assert_eq!(
        scene.sim.join(scene.alice, text),
        Err(SimError::NotVoice(text))
    );
    assert_eq!(
        scene.sim.join(UserId(1), scene.lobby),
        Err(SimError::UnknownUser(UserId(1)))
    );
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    assert_eq!(
        scene.sim.join(bob, scene.lobby),
        Err(SimError::ChannelFull(scene.lobby))
    );
    assert_eq!(scene.sim.voice_states(scene.guild).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_person_is_in_one_channel_of_all_guilds() {
    let scene = scene();
    let other = scene.sim.add_guild("other");
    let there = scene.sim.add_voice_channel(other, "there");
    assert_eq!(
        scene.sim.join(scene.alice, there),
        Err(SimError::NotAMember(scene.alice, other))
    );
    scene.sim.add_member(scene.alice, other).unwrap();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    scene.sim.join(scene.alice, there).unwrap();
    assert!(scene.sim.voice_states(scene.guild).is_empty());
    assert_eq!(scene.sim.voice_states(other).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_channel_empties_in_either_order() {
    for (order, events) in [
        (
            DeleteOrder::VoiceStatesFirst,
            ["VOICE_STATE_UPDATE", "CHANNEL_DELETE"],
        ),
        (
            DeleteOrder::ChannelFirst,
            ["CHANNEL_DELETE", "VOICE_STATE_UPDATE"],
        ),
    ] {
        let scene = scene_with(|b| b.settings(|s| s.delete_order = order));
        scene.sim.join(scene.alice, scene.lobby).unwrap();
        let mut client = scene.ready().await;
        scene.sim.delete_channel(scene.lobby).unwrap();
        for event in events {
            client.expect(event).await;
        }
        assert!(scene.sim.channels(scene.guild).is_empty());
        assert_eq!(
            scene.sim.delete_channel(scene.lobby),
            Err(SimError::UnknownChannel(scene.lobby))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_category_frees_its_children() {
    let scene = scene();
    let category = scene.sim.add_category(scene.guild, "Games");
    let room = scene
        .sim
        .add_voice_channel_in(scene.guild, category, "Room");
    let mut client = scene.ready().await;
    scene.sim.delete_channel(category).unwrap();
    client.expect("CHANNEL_DELETE").await;
    let update = client.expect("CHANNEL_UPDATE").await;
    assert_eq!(
        (update["id"].clone(), update["parent_id"].clone()),
        (json!(room), json!(null))
    );
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_guild_leaves_voice() {
    let scene = scene();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let mut client = scene.ready().await;
    scene.sim.remove_member(scene.alice, scene.guild).unwrap();
    assert_eq!(
        client.expect("VOICE_STATE_UPDATE").await["channel_id"],
        json!(null)
    );
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn guild_create_holds_those_in_voice_and_the_bot() {
    let scene = scene();
    scene.sim.add_person("bob", scene.guild);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    let mut client = scene.connect().await;
    client.hello().await;
    client.identify(&scene.bot.token, 129).await;
    client.expect("READY").await;
    let guild = client.expect("GUILD_CREATE").await;
    let names: Vec<&str> = guild["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["user"]["username"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bot", "alice"]);
    assert_eq!(guild["member_count"], 4);
    let state = &guild["voice_states"][0];
    assert_eq!(state["user_id"], json!(scene.alice));
    assert!(state.get("guild_id").is_none() && state.get("member").is_none());
}
