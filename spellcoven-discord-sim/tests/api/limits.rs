//! REST rate limits.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::{Ban, RateLimit, Request, SharedHash};

use super::support::{scene, scene_with};

#[tokio::test(start_paused = true)]
async fn a_fixed_window_with_headers_that_agree() {
    let scene = scene();
    let path = format!("/channels/{}", scene.lobby);
    let patch = || scene.send("PATCH", &path, &json!({"user_limit": 3}));
    let first = patch();
    assert_eq!(first.header("x-ratelimit-limit"), Some("5"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("4"));
    assert_eq!(first.header("x-ratelimit-reset-after"), Some("15.000"));
    assert_eq!(first.header("x-ratelimit-reset"), Some("1795392015.000"));
    assert_eq!(first.header("date"), Some("Mon, 23 Nov 2026 00:00:00 GMT"));
    assert_eq!(first.header("via"), Some("1.1 google"));
    assert_eq!(first.header("x-ratelimit-scope"), None);
    assert_eq!(first.header("x-ratelimit-bucket").unwrap().len(), 32);
    tokio::time::advance(Duration::from_millis(5500)).await;
    for left in ["3", "2", "1", "0"] {
        assert_eq!(patch().header("x-ratelimit-remaining"), Some(left));
    }
    let over = patch();
    assert_eq!(over.status, 429);
    assert_eq!(over.header("retry-after"), Some("10"), "rounded up");
    assert_eq!(over.header("x-ratelimit-scope"), Some("user"));
    assert_eq!(over.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(
        over.json(),
        json!({"message": "You are being rate limited.", "retry_after": 9.5, "global": false})
    );
    assert_eq!(scene.sim.complaints().len(), 1);
    tokio::time::advance(Duration::from_millis(9_500)).await;
    assert_eq!(patch().status, 200);
}

#[tokio::test(start_paused = true)]
async fn errors_count_too_and_each_channel_has_its_own_bucket() {
    let scene = scene();
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    let patch = |channel, limit| {
        scene.send(
            "PATCH",
            &format!("/channels/{channel}"),
            &json!({"user_limit": limit}),
        )
    };
    let refused = patch(scene.lobby, 100);
    assert_eq!(
        (refused.status, refused.header("x-ratelimit-remaining")),
        (400, Some("4"))
    );
    for _ in 0..4 {
        patch(scene.lobby, 5);
    }
    assert_eq!(patch(scene.lobby, 5).status, 429);
    assert_eq!(patch(hall, 5).status, 200);
}

#[tokio::test(start_paused = true)]
async fn making_and_editing_messages_share_a_hash_and_count_apart() {
    let scene = scene();
    let path = format!("/channels/{}/messages", scene.lobby);
    let mut last = scene.send("POST", &path, &json!({"content": "x"}));
    for _ in 0..4 {
        last = scene.send("POST", &path, &json!({"content": "x"}));
    }
    assert_eq!(last.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(
        scene.send("POST", &path, &json!({"content": "x"})).status,
        429
    );
    let id = last.json()["id"].as_str().unwrap().to_owned();
    let edit = scene.send("PATCH", &format!("{path}/{id}"), &json!({"content": "y"}));
    assert_eq!(
        (edit.status, edit.header("x-ratelimit-remaining")),
        (200, Some("4"))
    );
    assert_eq!(
        edit.header("x-ratelimit-bucket"),
        last.header("x-ratelimit-bucket")
    );
    let other = scene.get(&format!("/channels/{}", scene.lobby));
    assert_ne!(
        edit.header("x-ratelimit-bucket"),
        other.header("x-ratelimit-bucket")
    );
}

#[tokio::test(start_paused = true)]
async fn the_third_rename_meets_the_hidden_limit_and_other_edits_do_not() {
    let scene = scene();
    let path = format!("/channels/{}", scene.lobby);
    let patch = |body| scene.send("PATCH", &path, &body);
    assert_eq!(patch(json!({"name": "a"})).status, 200);
    assert_eq!(patch(json!({"name": "b"})).status, 200);
    let third = patch(json!({"name": "c"}));
    assert_eq!(
        (third.status, third.header("x-ratelimit-remaining")),
        (429, Some("2"))
    );
    assert_eq!(third.header("retry-after"), Some("600"));
    assert_eq!(third.json()["retry_after"], 600.0);
    assert_eq!(patch(json!({"user_limit": 2})).status, 200);
    assert_eq!(
        patch(json!({"name": "b"})).status,
        200,
        "the same name is no change"
    );
    assert_eq!(scene.sim.channels(scene.guild)[0].name, "b");
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(patch(json!({"name": "c"})).status, 200);
}

#[tokio::test(start_paused = true)]
async fn names_and_topics_count_apart_in_each_channel() {
    let scene = scene_with(|b| {
        let wide = RateLimit::per_seconds(100, 15);
        b.rate_limit("PATCH /channels/{channel.id}", wide)
    });
    let patch = |channel, body| {
        scene
            .send("PATCH", &format!("/channels/{channel}"), &body)
            .status
    };
    let text = scene.sim.add_text_channel(scene.guild, "t");
    for n in 0..2 {
        assert_eq!(patch(text, json!({"name": format!("n{n}")})), 200);
    }
    assert_eq!(patch(text, json!({"name": "n2"})), 429);
    for n in 0..2 {
        assert_eq!(patch(text, json!({"topic": format!("t{n}")})), 200);
    }
    assert_eq!(patch(text, json!({"topic": "t2"})), 429);
    assert_eq!(patch(text, json!({"nsfw": true})), 200);
    let other = scene.sim.add_text_channel(scene.guild, "u");
    assert_eq!(patch(other, json!({"name": "n2", "topic": "t2"})), 200);
}

#[tokio::test(start_paused = true)]
async fn fifty_in_a_second_over_all_routes() {
    let scene = scene_with(|b| b.settings(|s| s.default_limit = RateLimit::per_seconds(1000, 1)));
    let lobby = format!("/channels/{}", scene.lobby);
    for n in 0..50 {
        let path = if n % 2 == 0 {
            "/users/@me"
        } else {
            lobby.as_str()
        };
        assert_eq!(scene.get(path).status, 200, "{n}");
    }
    let over = scene.get("/users/@me");
    assert_eq!(
        (over.status, over.header("x-ratelimit-global")),
        (429, Some("true"))
    );
    assert_eq!(over.header("x-ratelimit-scope"), Some("global"));
    assert_eq!(over.json()["global"], true);
    let other = scene.sim.add_bot("other", scene.guild);
    assert_eq!(
        scene
            .sim
            .rest(&Request::new("GET", "/api/v10/users/@me").bot(&other.token))
            .status,
        200
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(scene.get("/users/@me").status, 200);
}

#[tokio::test(start_paused = true)]
async fn limits_are_settings() {
    let scene = scene_with(|b| b.rate_limit("GET /users/@me", RateLimit::per_seconds(1, 9)));
    assert_eq!(scene.get("/users/@me").status, 200);
    assert_eq!(scene.get("/users/@me").status, 429);
    scene.sim.with(|w| w.settings_mut().rate_limits = false);
    let free = scene.get("/users/@me");
    assert_eq!((free.status, free.header("x-ratelimit-limit")), (200, None));
    scene
        .sim
        .with(|w| (w.settings_mut().rate_limits, w.settings_mut().scope_on_all) = (true, true));
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(
        scene.get("/users/@me").header("x-ratelimit-scope"),
        Some("user")
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]

    /// Whatever the pace: a window never lets more through than its limit, and waiting as told is enough.
    #[test]
    fn windows_hold_and_waits_suffice(steps in proptest::collection::vec(0_u64..4000, 1..60)) {
        use spellcoven_discord_sim::core::World;
        use spellcoven_discord_sim::Settings;
        let mut settings = Settings::default();
        settings.route_limits.insert("GET /users/@me".to_owned(), RateLimit::per_seconds(3, 5));
        let mut world = World::new(settings, Some(1));
        let guild = world.add_guild("g");
        let bot = world.add_bot("bot", guild);
        let request = Request::new("GET", "/api/v10/users/@me").bot(&bot.token);
        let mut now = Duration::ZERO;
        let mut passed: Vec<Duration> = Vec::new();
        for step in steps {
            now += Duration::from_millis(step);
            let answer = world.handle_rest(now, &request);
            if answer.status == 429 {
                now += Duration::from_secs_f64(answer.json()["retry_after"].as_f64().unwrap());
                proptest::prop_assert_eq!(world.handle_rest(now, &request).status, 200);
            }
            passed.push(now);
        }
        // Two fixed windows may meet: at most twice the limit in any window's time.
        for (index, start) in passed.iter().enumerate() {
            let inside = passed[index..].iter().filter(|at| **at < *start + Duration::from_secs(5)).count();
            proptest::prop_assert!(inside <= 6, "{}", inside);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn routes_can_be_made_to_share_a_budget() {
    let scene = scene_with(|b| {
        b.rate_limit("both", RateLimit::per_seconds(3, 10))
            .settings(|s| {
                s.shared_hashes.push(SharedHash {
                    name: "both".to_owned(),
                    routes: vec![
                        "GET /channels/{channel.id}".to_owned(),
                        "GET /channels/{channel.id}/messages".to_owned(),
                    ],
                    one_budget: true,
                });
            })
    });
    let channel = format!("/channels/{}", scene.lobby);
    let messages = format!("{channel}/messages");
    let mut hashes = Vec::new();
    for (path, left) in [(&channel, "2"), (&messages, "1"), (&channel, "0")] {
        let answer = scene.get(path);
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
        hashes.push(answer.header("x-ratelimit-bucket").map(str::to_owned));
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 1);
    assert_eq!(scene.get(&messages).status, 429);
    let hall = scene.sim.add_voice_channel(scene.guild, "Hall");
    assert_eq!(scene.get(&format!("/channels/{hall}")).status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_shared_limit_is_over_all_bots_and_no_invalid_request() {
    let scene = scene_with(|b| {
        b.settings(|s| {
            let limit = RateLimit::per_seconds(2, 10);
            s.shared_limits
                .insert("GET /channels/{channel.id}".to_owned(), limit);
        })
    });
    let other = scene.sim.add_bot("other", scene.guild);
    let path = format!("/channels/{}", scene.lobby);
    assert_eq!(scene.get(&path).status, 200);
    let request = Request::new("GET", &format!("/api/v10{path}")).bot(&other.token);
    assert_eq!(scene.sim.rest(&request).status, 200);
    let over = scene.sim.rest(&request);
    assert_eq!(
        (over.status, over.header("x-ratelimit-scope")),
        (429, Some("shared"))
    );
    assert_eq!(
        over.json()["message"],
        "The resource is being rate limited."
    );
    assert_eq!(scene.sim.stats().invalid_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn interactions_and_webhooks_are_outside_the_global_limit() {
    let scene = scene_with(|b| b.settings(|s| s.global_limit = RateLimit::per_seconds(2, 1)));
    for _ in 0..2 {
        assert_eq!(scene.get("/users/@me").status, 200);
    }
    assert_eq!(scene.get("/users/@me").status, 429);
    for (path, code) in [
        ("/api/v10/interactions/1/token-of-it/callback", 10062),
        ("/api/v10/webhooks/1/token-of-it", 10015),
    ] {
        for _ in 0..60 {
            let answer = scene.sim.rest(&Request::new("POST", path).json(&json!({})));
            assert_eq!(
                (answer.status, answer.json()["code"].as_u64()),
                (404, Some(code))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_windows_of_the_global_limit_can_meet() {
    let scene = scene_with(|b| b.settings(|s| s.default_limit = RateLimit::per_seconds(1000, 1)));
    assert_eq!(scene.get("/users/@me").status, 200);
    tokio::time::advance(Duration::from_millis(990)).await;
    for _ in 0..49 {
        assert_eq!(scene.get("/users/@me").status, 200);
    }
    tokio::time::advance(Duration::from_millis(10)).await;
    for _ in 0..50 {
        assert_eq!(scene.get("/users/@me").status, 200, "99 in 10 ms");
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_invalid_requests_ban_the_address() {
    for ban in [
        Ban::Cloudflare { retry_after: true },
        Ban::Cloudflare { retry_after: false },
        Ban::Json,
    ] {
        let scene = scene_with(|b| {
            b.settings(|s| {
                s.invalid_limit = RateLimit::per_seconds(3, 600);
                s.ban_time = Duration::from_secs(60);
                s.ban = ban;
            })
        });
        let wrong = Request::new("GET", "/api/v10/users/@me").bot("nobody's");
        for _ in 0..2 {
            assert_eq!(scene.sim.rest(&wrong).status, 401);
            assert_eq!(scene.get("/nowhere").status, 404, "a 404 is not invalid");
        }
        assert_eq!(scene.sim.stats().invalid_requests, 2);
        assert_eq!(scene.sim.rest(&wrong).status, 401);
        tokio::time::advance(Duration::from_secs(20)).await;
        let banned = scene.get("/users/@me");
        assert_eq!(
            (banned.status, banned.header("via")),
            (429, None),
            "also with a good token"
        );
        assert_eq!(banned.header("x-ratelimit-limit"), None);
        let html = String::from_utf8_lossy(&banned.body).contains("error code: 1015");
        assert_eq!(html, ban != Ban::Json);
        let told = (ban == Ban::Cloudflare { retry_after: true }).then_some("40");
        assert_eq!(banned.header("retry-after"), told);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(scene.get("/users/@me").status, 200);
        let complaints = scene.sim.complaints();
        assert!(
            complaints
                .iter()
                .any(|entry| entry.to_string().contains("banned"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_set_by_a_test_is_taken_back() {
    let scene = scene();
    let path = format!("/channels/{}", scene.lobby);
    assert_eq!(
        scene
            .sim
            .limit_route("GET /channels/{id}", RateLimit::per_seconds(1, 60)),
        1
    );
    assert_eq!(
        scene
            .sim
            .limit_route("/nothing", RateLimit::per_seconds(1, 60)),
        0
    );
    assert_eq!(scene.get(&path).status, 200);
    assert_eq!(scene.get(&path).status, 429);
    scene.sim.clear_rate_limits();
    let answer = scene.get(&path);
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-limit")),
        (200, Some("50"))
    );
    scene.sim.ban_address(Duration::from_secs(5));
    assert_eq!(scene.get(&path).status, 429);
    scene.sim.ban_address(Duration::ZERO);
    assert_eq!(scene.get(&path).status, 200);
}
