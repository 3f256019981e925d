//! Messages.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::{Overwrite, OverwriteTarget, Permissions, Request};

use super::support::{scene, scene_with};

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_told_and_edited() {
    let scene = scene();
    let mut client = scene.ready_with(129 | 512).await;
    let path = format!("/channels/{}/messages", scene.lobby);
    let sent = scene.send("POST", &path, &json!({"content": "hi", "nonce": "n"}));
    assert_eq!(sent.status, 200);
    let body = sent.json();
    assert_eq!(
        (body["content"].clone(), body["nonce"].clone()),
        (json!("hi"), json!("n"))
    );
    assert_eq!(client.expect("MESSAGE_CREATE").await, body);
    let one = format!("{path}/{}", body["id"].as_str().unwrap());
    let edited = scene.send("PATCH", &one, &json!({"content": "ho"})).json();
    assert!(edited["edited_timestamp"].is_string());
    assert_eq!(client.expect("MESSAGE_UPDATE").await["content"], "ho");
    assert_eq!(scene.sim.messages(scene.lobby)[0].content, "ho");
    assert_eq!(
        scene.send("PATCH", &format!("{path}/5"), &json!({})).json()["code"],
        10008
    );
    let other = scene.sim.add_bot("other", scene.guild);
    let theirs = Request::new("PATCH", &format!("/api/v10{one}"))
        .bot(&other.token)
        .json(&json!({"content": "x"}));
    assert_eq!(scene.sim.rest(&theirs).json()["code"], 50005);
}

#[tokio::test(start_paused = true)]
async fn an_enforced_nonce_gives_the_first_message_for_a_few_minutes() {
    let scene = scene_with(|b| b.no_rate_limits());
    let path = format!("/channels/{}/messages", scene.lobby);
    let id = |content: &str, enforce: bool| {
        let body = json!({"content": content, "nonce": "n", "enforce_nonce": enforce});
        scene.send("POST", &path, &body).json()["id"].clone()
    };
    let first = id("a", true);
    assert_eq!(id("a", true), first);
    assert_ne!(id("a", false), first);
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_ne!(id("a", true), first);
    assert_eq!(scene.sim.messages(scene.lobby).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent() {
    let scene = scene_with(|b| b.no_rate_limits());
    let path = format!("/channels/{}/messages", scene.lobby);
    let rows = [
        (json!({}), 400, 50006),
        (json!({"content": "  "}), 400, 50006),
        (json!({"content": "x".repeat(2001)}), 400, 50035),
        (json!({"content": "x", "nonce": "n".repeat(26)}), 400, 50035),
        (
            json!({"content": "x", "embeds": vec![json!({}); 11]}),
            400,
            50035,
        ),
        (
            json!({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}),
            400,
            50035,
        ),
    ];
    for (body, status, code) in rows {
        let answer = scene.send("POST", &path, &body);
        assert_eq!(
            (answer.status, answer.json()["code"].as_u64()),
            (status, Some(code)),
            "{body}"
        );
    }
    let category = scene.sim.add_category(scene.guild, "c");
    let hello = json!({"content": "x"});
    let answer = scene.send("POST", &format!("/channels/{category}/messages"), &hello);
    assert_eq!(answer.json()["code"], 50008);
    for (deny, code) in [
        (Permissions::SEND_MESSAGES, 50013),
        (Permissions::VIEW_CHANNEL, 50001),
    ] {
        let target = OverwriteTarget::Member(scene.bot.user_id);
        let overwrite = Overwrite {
            target,
            allow: Permissions::empty(),
            deny,
        };
        scene
            .sim
            .set_overwrites(scene.lobby, vec![overwrite])
            .unwrap();
        let answer = scene.send("POST", &path, &hello);
        assert_eq!(
            (answer.status, answer.json()["code"].as_u64()),
            (403, Some(code))
        );
    }
    assert!(scene.sim.messages(scene.lobby).is_empty());
}

#[tokio::test(start_paused = true)]
async fn messages_are_listed_read_and_deleted() {
    let scene = scene();
    let mut client = scene.ready_with(129 | 512).await;
    let path = format!("/channels/{}/messages", scene.lobby);
    let mut ids = Vec::new();
    for number in 0..5 {
        let sent = scene.send("POST", &path, &json!({"content": format!("m{number}")}));
        ids.push(sent.json()["id"].as_str().unwrap().to_owned());
        client.expect("MESSAGE_CREATE").await;
    }
    let list = |query: &str| -> Vec<String> {
        let answer = scene.get(&format!("{path}{query}"));
        assert_eq!(answer.status, 200, "{query}");
        let list = answer.json();
        let list = list.as_array().unwrap().iter();
        list.map(|m| m["content"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(list(""), ["m4", "m3", "m2", "m1", "m0"]);
    assert_eq!(list("?limit=2"), ["m4", "m3"]);
    assert_eq!(list(&format!("?before={}&limit=2", ids[2])), ["m1", "m0"]);
    assert_eq!(list(&format!("?after={}&limit=2", ids[1])), ["m3", "m2"]);
    assert_eq!(
        list(&format!("?around={}&limit=3", ids[2])),
        ["m3", "m2", "m1"]
    );
    assert_eq!(scene.get(&format!("{path}?limit=101")).status, 400);
    let one = format!("{path}/{}", ids[2]);
    assert_eq!(scene.get(&one).json()["content"], "m2");
    assert_eq!(scene.delete(&one).status, 204);
    assert_eq!(client.expect("MESSAGE_DELETE").await["id"], ids[2]);
    for gone in [scene.get(&one), scene.delete(&one)] {
        assert_eq!(
            (gone.status, gone.json()["code"].as_u64()),
            (404, Some(10008))
        );
    }
    let other = scene.sim.add_bot("other", scene.guild);
    let request = scene.call("DELETE", &format!("{path}/{}", ids[0]));
    let foreign = Request::new("DELETE", &request.path).bot(&other.token);
    assert_eq!(scene.sim.rest(&foreign).status, 403, "another's");
}
