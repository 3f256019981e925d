//! Error answers: status, code and the tree of 50035.

use serde_json::{Value, json};
use spellcoven_discord_sim::{Request, RestFault, RestFaultKind, Scope};
use std::time::Duration;

use super::support::{USER_AGENT, scene, scene_with};

#[tokio::test(start_paused = true)]
async fn a_request_without_a_good_token_is_401() {
    let scene = scene();
    for authorization in ["", "Bot x", "Bearer y", scene.bot.token.as_str()] {
        let request =
            Request::new("GET", "/api/v10/users/@me").header("authorization", authorization);
        let answer = scene.sim.rest(&request);
        assert_eq!(answer.status, 401, "{authorization}");
        assert_eq!(
            answer.json(),
            json!({"message": "401: Unauthorized", "code": 0})
        );
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_routes_methods_and_versions() {
    let scene = scene();
    let rows = [
        ("GET", "/nothing", 404, 0),
        ("PUT", "/users/@me", 405, 0),
        ("GET", "/guilds/1", 404, 10004),
        ("GET", "/guilds/1/channels", 404, 10004),
        ("GET", "/channels/1", 404, 10003),
        ("DELETE", "/channels/1", 404, 10003),
    ];
    for (method, path, status, code) in rows {
        let answer = scene.sim.rest(&scene.call(method, path));
        assert_eq!(
            (answer.status, answer.json()["code"].as_u64()),
            (status, Some(code)),
            "{method} {path}"
        );
    }
    let old = scene.sim.rest(&Request::new("GET", "/api/v5/gateway"));
    assert_eq!(
        (old.status, old.json()["code"].as_u64()),
        (400, Some(50041))
    );
    for base in ["/api/v10", "/api/v9", "/api", "/v10", "//api/v10/"] {
        assert_eq!(
            scene
                .sim
                .rest(&Request::new("GET", &format!("{base}/gateway")))
                .status,
            200,
            "{base}"
        );
    }
}

fn errors(body: &Value, path: &str) -> Vec<String> {
    let node = path
        .split('.')
        .fold(&body["errors"], |node, key| &node[key]);
    node["_errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| e["code"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn forms_tell_each_wrong_field() {
    let scene = scene_with(|b| b.no_rate_limits());
    let text = scene.sim.add_text_channel(scene.guild, "text");
    let rows = [
        (json!({"type": 2}), "name", "BASE_TYPE_REQUIRED"),
        (json!({"name": ""}), "name", "BASE_TYPE_BAD_LENGTH"),
        (
            json!({"name": "x".repeat(101)}),
            "name",
            "BASE_TYPE_BAD_LENGTH",
        ),
        (json!({"name": 5}), "name", "STRING_TYPE_CONVERT"),
        (
            json!({"name": "x", "type": 99}),
            "type",
            "BASE_TYPE_CHOICES",
        ),
        (
            json!({"name": "x", "type": 2, "user_limit": 100}),
            "user_limit",
            "NUMBER_TYPE_MAX",
        ),
        (
            json!({"name": "x", "type": 2, "user_limit": -1}),
            "user_limit",
            "NUMBER_TYPE_MIN",
        ),
        (
            json!({"name": "x", "type": 2, "user_limit": "many"}),
            "user_limit",
            "NUMBER_TYPE_COERCE",
        ),
        (
            json!({"name": "x", "type": 2, "bitrate": 7999}),
            "bitrate",
            "NUMBER_TYPE_MIN",
        ),
        (
            json!({"name": "x", "topic": "x".repeat(1025)}),
            "topic",
            "BASE_TYPE_MAX_LENGTH",
        ),
        (
            json!({"name": "x", "rate_limit_per_user": 21601}),
            "rate_limit_per_user",
            "NUMBER_TYPE_MAX",
        ),
        (
            json!({"name": "x", "parent_id": "5"}),
            "parent_id",
            "CHANNEL_PARENT_INVALID",
        ),
        (
            json!({"name": "x", "parent_id": text}),
            "parent_id",
            "CHANNEL_PARENT_INVALID",
        ),
        (
            json!({"name": "x", "nsfw": "yes"}),
            "nsfw",
            "BOOLEAN_TYPE_CONVERT",
        ),
        (
            json!({"name": "x", "permission_overwrites": [{"type": 0}]}),
            "permission_overwrites.0.id",
            "BASE_TYPE_REQUIRED",
        ),
        (
            json!({"name": "x", "permission_overwrites": [{"id": "1", "type": 2}]}),
            "permission_overwrites.0.type",
            "BASE_TYPE_CHOICES",
        ),
        (
            json!({"name": "x", "permission_overwrites": vec![json!({"id": "1", "type": 0}); 101]}),
            "permission_overwrites",
            "BASE_TYPE_BAD_LENGTH",
        ),
    ];
    for (body, path, code) in rows {
        let answer = scene.create(&body);
        assert_eq!(answer.status, 400, "{body}");
        let answer = answer.json();
        assert_eq!(answer["code"], 50035);
        assert_eq!(errors(&answer, path), [code], "{body} {answer}");
    }
    assert_eq!(scene.sim.channels(scene.guild).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_no_forms() {
    let scene = scene();
    let path = format!("/guilds/{}/channels", scene.guild);
    let mut request = scene
        .call("POST", &path)
        .header("content-type", "application/json; charset=utf-8");
    request.body = "{".into();
    let broken = scene.sim.rest(&request);
    assert_eq!(
        (broken.status, broken.json()["code"].as_u64()),
        (400, Some(50109))
    );
    let mut request = scene
        .call("POST", &path)
        .header("content-type", "text/plain");
    request.body = r#"{"name":"x"}"#.into();
    let typed = scene.sim.rest(&request);
    assert_eq!(typed.status, 400);
    assert_eq!(errors(&typed.json(), ""), Vec::<String>::new());
    assert_eq!(
        typed.json()["errors"]["_errors"][0]["code"],
        "CONTENT_TYPE_INVALID"
    );
    let long = scene
        .call("DELETE", &format!("/channels/{}", scene.lobby))
        .header("x-audit-log-reason", &"x".repeat(513));
    assert_eq!(scene.sim.rest(&long).status, 400);
}

#[tokio::test(start_paused = true)]
async fn the_user_agent_is_told_and_in_strict_mode_refused() {
    let scene = scene();
    let junk = Request::new("GET", "/api/v10/users/@me")
        .bot(&scene.bot.token)
        .header("user-agent", "curl/8");
    assert_eq!(scene.sim.rest(&junk).status, 200);
    assert_eq!(scene.sim.complaints().len(), 1);
    scene
        .sim
        .with(|w| w.settings_mut().strict_user_agent = true);
    let refused = scene.sim.rest(&junk);
    assert_eq!(
        (refused.status, refused.json()["code"].as_u64()),
        (403, Some(40333))
    );
    // The second is what discord.py sends.
    for agent in [
        USER_AGENT,
        "DiscordBot (https://example.org 2.7.1) Python/3.11 aiohttp/3.14.5",
    ] {
        let good = Request::new("GET", "/api/v10/users/@me")
            .bot(&scene.bot.token)
            .header("user-agent", agent);
        assert_eq!(scene.sim.rest(&good).status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn faults_before_and_after_execution() {
    let scene = scene();
    let room = json!({"name": "x", "type": 2});
    scene
        .sim
        .fail_rest(RestFault::once("POST /guilds/", RestFaultKind::Status(502)).times(2));
    scene
        .sim
        .fail_rest(RestFault::once("POST /guilds/", RestFaultKind::HangUp).after_execution());
    assert_eq!(
        scene.get("/users/@me").status,
        200,
        "another route is not struck"
    );
    assert_eq!(scene.create(&room).status, 502);
    assert_eq!(scene.create(&room).status, 502);
    assert_eq!(scene.sim.channels(scene.guild).len(), 1);
    let hung = scene.create(&room);
    assert!(hung.hang_up);
    assert_eq!(scene.sim.channels(scene.guild).len(), 2);
    assert_eq!(scene.create(&room).status, 201);
    let journal = scene.sim.journal();
    let executed: Vec<(u16, bool)> = journal
        .requests()
        .filter(|r| r.method == "POST")
        .map(|r| (r.status, r.executed))
        .collect();
    assert_eq!(
        executed,
        [(502, false), (502, false), (0, true), (201, true)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_other_faults() {
    let scene = scene();
    let wait = Duration::from_millis(2500);
    for (scope, name) in [
        (Scope::User, "user"),
        (Scope::Shared, "shared"),
        (Scope::Global, "global"),
    ] {
        scene.sim.fail_rest(RestFault::once(
            "*",
            RestFaultKind::TooManyRequests {
                retry_after: wait,
                scope,
            },
        ));
        let answer = scene.get("/users/@me");
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), Some("3"));
        assert_eq!(answer.header("x-ratelimit-scope"), Some(name));
        assert_eq!(answer.json()["retry_after"], 2.5);
        assert_eq!(
            answer.header("x-ratelimit-global").is_some(),
            scope == Scope::Global
        );
        assert_eq!(
            answer.header("x-ratelimit-remaining"),
            (scope == Scope::User).then_some("0")
        );
    }
    let html = RestFaultKind::Body {
        status: 429,
        content_type: "text/html".into(),
        body: "error code: 1015".into(),
    };
    scene.sim.fail_rest(RestFault::once("", html));
    let answer = scene.get("/users/@me");
    assert_eq!(
        (
            answer.status,
            answer.header("via"),
            answer.header("content-type")
        ),
        (429, None, Some("text/html"))
    );
    scene
        .sim
        .fail_rest(RestFault::once("GET", RestFaultKind::Hang(wait)));
    let answer = scene.get("/users/@me");
    assert!(answer.hang_up && answer.delay == wait);
    scene
        .sim
        .fail_rest(RestFault::once("GET /users", RestFaultKind::Delay(wait)));
    let answer = scene.get("/users/@me");
    assert!(!answer.hang_up && answer.delay == wait && answer.status == 200);
    scene
        .sim
        .fail_rest(RestFault::once("GET", RestFaultKind::HangUp));
    scene.sim.clear_rest_faults();
    assert!(!scene.get("/users/@me").hang_up);
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_405_and_head_is_get_without_a_body() {
    let scene = scene();
    let path = format!("/channels/{}", scene.lobby);
    let refused = scene.send("POST", &path, &json!({}));
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET, PATCH, DELETE"));
    assert_eq!(refused.json()["message"], "405: Method Not Allowed");
    let mut http = super::support::Http::connect(&scene.sim).await;
    let (status, headers, body) = http
        .call("HEAD", "/api/v10/users/@me", &scene.bot.token, None)
        .await
        .unwrap();
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(headers["content-type"], "application/json");
    let nothing = scene.send("HEAD", "/nothing", &json!({}));
    assert_eq!(nothing.status, 404);
}
