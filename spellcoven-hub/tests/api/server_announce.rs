//! What is made or ended through the API is announced exactly once, whichever comes first.

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
async fn an_unconfirmed_room_ends_after_its_grace() {
    let world = World::new();
    let (mut socket, _) = world.authed_socket("alice").await;
    world.create(r#"{"name":"duel"}"#).await;
    world
        .post("guild.snapshot", json!({ "guildId": "1", "rooms": [] }))
        .await;
    assert_eq!(socket.next().await["event"], "room.created");
    // Paused time runs to the end of the grace by itself.
    assert_eq!(socket.next().await["event"], "room.deleted");
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
