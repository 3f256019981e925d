//! What is made or ended through the API is announced exactly once, whichever comes first.

use std::time::Duration;

use serde_json::json;

use crate::server_support::World;

fn created(id: u64) -> serde_json::Value {
    json!({ "channelId": id.to_string(), "name": "duel", "guildId": "1", "userLimit": 4 })
}

fn deleted(id: u64) -> serde_json::Value {
    json!({ "channelId": id.to_string(), "guildId": "1" })
}

#[tokio::test(start_paused = true)]
async fn api_answer_first() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    let answer = world.create(r#"{"name":"duel"}"#).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (200, json!({"channelId":"1000","name":"duel","guildId":"1"}))
    );
    world.post("room.created", created(1000)).await;
    assert_eq!(world.end(1000).await.json(), json!({ "ok": true }));
    world.post("room.deleted", deleted(1000)).await;

    let first = socket.next().await;
    assert_eq!(
        (&first["event"], &first["payload"]),
        (&json!("room.created"), &created(1000))
    );
    assert_eq!(
        (&first["v"], &first["type"], &first["seq"]),
        (&json!(1), &json!("event"), &json!(1))
    );
    assert_eq!(socket.next().await["event"], "room.deleted");
    socket.nothing_before_snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn gateway_event_first() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.rooms.hold();
    let create = async {
        let answer = world.create(r#"{"name":"duel"}"#).await;
        assert_eq!(answer.status, 200);
    };
    let gateway = async {
        while !world.rooms.has(1000) {
            tokio::task::yield_now().await;
        }
        world.post("room.created", created(1000)).await;
        assert_eq!(socket.next().await["event"], "room.created");
        world.rooms.release();
    };
    tokio::join!(create, gateway);
    world.rooms.hold();
    let end = async { assert_eq!(world.end(1000).await.status, 200) };
    let gateway = async {
        while world.rooms.has(1000) {
            tokio::task::yield_now().await;
        }
        world.post("room.deleted", deleted(1000)).await;
        assert_eq!(socket.next().await["event"], "room.deleted");
        world.rooms.release();
    };
    tokio::join!(end, gateway);
    socket.nothing_before_snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_answered_404() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.create(r#"{"name":"duel"}"#).await;
    assert_eq!(socket.next().await["event"], "room.created");
    // The client lost the answer of its first try.
    assert_eq!(world.end(1000).await.status, 200);
    let again = world.end(1000).await;
    assert_eq!(
        (again.status.as_u16(), again.code().as_str()),
        (404, "NOT_FOUND")
    );
    world.post("room.deleted", deleted(1000)).await;
    assert_eq!(socket.next().await["event"], "room.deleted");
    socket.nothing_before_snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn a_404_of_a_known_room_tells_that_it_is_gone() {
    let world = World::new();
    world.post("room.created", created(500)).await;
    let (mut socket, _) = world.authed_socket("alice").await;
    assert_eq!(world.end(500).await.status, 404);
    assert_eq!(socket.next().await["event"], "room.deleted");
    world.post("room.deleted", deleted(500)).await;
    socket.nothing_before_snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_does_not_hide_the_room() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.rooms.hold();
    {
        let call = world.create(r#"{"name":"duel"}"#);
        tokio::pin!(call);
        tokio::select! {
            biased;
            _ = &mut call => panic!("the answer is held back"),
            () = async { while !world.rooms.has(1000) { tokio::task::yield_now().await } } => {}
        }
    }
    world.rooms.release();
    assert_eq!(socket.next().await["event"], "room.created");
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_room_ends_when_discord_says_so_after_its_grace() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.create(r#"{"name":"duel"}"#).await;
    assert_eq!(socket.next().await["event"], "room.created");
    // A worker that has not seen it yet, or never tells of rooms at all.
    world
        .post("guild.snapshot", json!({ "guildId": "1", "rooms": [] }))
        .await;
    world.rooms.take(1000);
    world.rooms.set_down(true);
    // Nobody can tell for two graces: the room stays.
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(world.rooms.look_ups(), 0);
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!(world.rooms.look_ups(), 2);
    let (mut socket, _) = world.authed_socket("bob").await;
    socket.nothing_before_snapshot().await;
    world.rooms.set_down(false);
    assert_eq!(socket.next().await["event"], "room.deleted");
    assert_eq!(world.rooms.look_ups(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_room_that_discord_knows_outlives_snapshots_without_it() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.create(r#"{"name":"duel"}"#).await;
    assert_eq!(socket.next().await["event"], "room.created");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.rooms.look_ups(), 1);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.rooms.look_ups(), 1);
    let empty = json!({ "guildId": "1", "rooms": [] });
    let (mut socket, _) = world.authed_socket("bob").await;
    world.post("guild.snapshot", empty.clone()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.rooms.look_ups(), 2);
    let snapshot = socket.nothing_before_snapshot().await;
    assert_eq!(snapshot["payload"]["rooms"][0]["channelId"], "1000");
    // Gone in Discord while the worker was away: the next snapshot brings the question.
    world.rooms.take(1000);
    world.post("guild.snapshot", empty).await;
    assert_eq!(socket.next().await["event"], "room.deleted");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_a_heard_worker_told_of_is_ended_without_a_look_up() {
    let world = World::new();
    let snapshot = json!({ "guildId": "1", "rooms": [
        { "channelId": "500", "name": "duel", "userLimit": 4, "members": [] },
        { "channelId": "501", "name": "other", "userLimit": 4, "members": [] },
    ] });
    world.rooms.put(500, 2, Some(1.into()), None);
    world.rooms.put(501, 2, Some(1.into()), None);
    world.post("guild.snapshot", snapshot).await;
    assert_eq!(world.end(500).await.status, 200);
    assert_eq!((world.rooms.look_ups(), world.rooms.deletes()), (0, 1));
    // What the worker did not tell of is looked up.
    assert_eq!(world.end(502).await.status, 404);
    assert_eq!(world.rooms.look_ups(), 1);
    // So is everything once the worker is not heard any more.
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(world.end(501).await.status, 200);
    assert_eq!((world.rooms.look_ups(), world.rooms.deletes()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_post_that_its_snapshot_overtook_changes_nothing() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    let join = json!({ "guildId": "1", "channelId": "9", "userId": "5" });
    let snapshot = |members: serde_json::Value| {
        json!({ "guildId": "1", "rooms": [
            { "channelId": "9", "name": "duel", "userLimit": 4, "members": members },
        ] })
    };
    world
        .post_as("w1-3", "guild.snapshot", snapshot(json!([])))
        .await;
    assert_eq!(socket.next().await["event"], "room.created");
    // Timed out on its way, given up for the snapshot, and here at last.
    assert_eq!(
        world
            .post_as("w1-2", "voice.joined", join.clone())
            .await
            .status,
        200
    );
    let member =
        json!([{ "userId": "6", "selfMute": false, "selfDeaf": false, "selfVideo": false }]);
    assert_eq!(
        world
            .post_as("w1-1", "guild.snapshot", snapshot(member))
            .await
            .status,
        200
    );
    socket.nothing_before_snapshot().await;
    // What follows counts, and so does another forwarder, and an id without a number.
    world.post_as("w1-4", "voice.joined", join).await;
    assert_eq!(socket.next().await["event"], "voice.joined");
    for (delivery, user) in [("w2-1", "7"), ("w1", "8"), ("w1-+1", "9"), ("w1-", "10")] {
        let join = json!({ "guildId": "1", "channelId": "9", "userId": user });
        world.post_as(delivery, "voice.joined", join).await;
        assert_eq!(socket.next().await["payload"]["userId"], user);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_applied_once() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    let join = json!({ "guildId": "1", "channelId": "9", "userId": "5" });
    let leave = json!({ "guildId": "1", "channelId": null, "userId": "5" });
    world.post_as("a", "voice.joined", join.clone()).await;
    world.post_as("b", "voice.left", leave).await;
    assert_eq!(world.post_as("a", "voice.joined", join).await.status, 200);
    assert_eq!(socket.next().await["event"], "voice.joined");
    let left = socket.next().await;
    assert_eq!(
        (&left["event"], &left["payload"]["channelId"]),
        (&json!("voice.left"), &json!("9"))
    );
    socket.nothing_before_snapshot().await;
}
