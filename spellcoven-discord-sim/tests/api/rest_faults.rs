//! Every kind of REST fault, before and after execution, over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::{RestFault, RestFaultKind, Scope, When};

use super::support::{Http, Scene, scene};

type Answer = Result<(u16, hyper::HeaderMap, bytes::Bytes), hyper::Error>;

async fn create(scene: &Scene) -> Answer {
    let mut http = Http::connect(&scene.sim).await;
    let path = format!("/api/v10/guilds/{}/channels", scene.guild);
    let room = json!({"name": "Room", "type": 2});
    http.call("POST", &path, &scene.bot.token, Some(&room))
        .await
}

/// What a client gets to see of a fault on a call that makes a channel, and how many channels there are then.
async fn struck(what: &RestFaultKind, when: When) -> (Answer, usize, Duration) {
    let scene = scene();
    let mut fault = RestFault::once("POST /guilds/{guild.id}/channels", what.clone());
    fault.when = when;
    scene.sim.fail_rest(fault);
    let begin = scene.sim.now();
    let answer = create(&scene).await;
    let taken = scene.sim.now() - begin;
    let journal = scene.sim.journal();
    let request = journal.requests().last().unwrap();
    let rooms = scene.sim.channels(scene.guild).len() - 1;
    assert_eq!(request.executed, rooms == 1, "{what:?}");
    assert!(request.fault.is_some());
    // The fault struck once, and the next call is not struck.
    assert_eq!(create(&scene).await.unwrap().0, 201, "{what:?}");
    (answer, rooms, taken)
}

#[tokio::test(start_paused = true)]
async fn each_kind_strikes_once_before_or_after_execution() {
    for what in RestFaultKind::one_of_each() {
        for when in [When::Before, When::After] {
            let (_, rooms, _) = struck(&what, when).await;
            let mut fault = RestFault::once("", what.clone());
            fault.when = when;
            let executed = fault.executes();
            assert_eq!(rooms, usize::from(executed), "{what:?} {when:?}");
        }
        // A 429 or 202 comes instead of execution, always.
        let limit = matches!(what.kind(), 3..=7);
        let late = RestFault::once("", what).after_execution();
        assert_eq!(late.executes(), !limit);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_discord_have_its_shape() {
    for status in [500, 502, 503, 504, 520, 524] {
        let (answer, ..) = struck(&RestFaultKind::Status(status), When::Before).await;
        let (told, headers, body) = answer.unwrap();
        assert_eq!(
            (told, &headers["content-type"]),
            (status, &"application/json".parse().unwrap())
        );
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_at_all() {
    let (answer, _, taken) = struck(&RestFaultKind::HangUp, When::Before).await;
    assert!(answer.is_err() && taken < Duration::from_secs(1));
    let long = Duration::from_secs(60);
    let (answer, _, taken) = struck(&RestFaultKind::Hang(long), When::After).await;
    assert!(answer.is_err() && taken >= long);
    let (answer, _, taken) = struck(&RestFaultKind::Delay(long), When::Before).await;
    assert!(answer.unwrap().0 == 201 && taken >= long);
}

#[tokio::test(start_paused = true)]
async fn bans_are_html_or_json_without_via_and_limit_headers() {
    let second = Some(Duration::from_millis(1500));
    for (retry_after, told) in [(second, Some("2")), (None, None)] {
        let kind = RestFaultKind::CloudflareBan { retry_after };
        let (status, headers, body) = struck(&kind, When::Before).await.0.unwrap();
        assert_eq!(status, 429);
        assert!(
            headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(String::from_utf8_lossy(&body).contains("error code: 1015"));
        let after = headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap());
        assert_eq!(after, told);
        assert!(!headers.contains_key("via") && !headers.contains_key("x-ratelimit-limit"));
    }
    let (status, headers, body) = struck(&RestFaultKind::IpBan, When::Before).await.0.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["code"]), (429, &json!(0)));
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .starts_with("You are being blocked from accessing our API")
    );
    for name in [
        "via",
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-scope",
    ] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_made_up() {
    let retry_after = Duration::from_millis(1500);
    for (scope, name) in [
        (Scope::User, "user"),
        (Scope::Shared, "shared"),
        (Scope::Global, "global"),
    ] {
        let kind = RestFaultKind::TooManyRequests { retry_after, scope };
        let (status, headers, body) = struck(&kind, When::Before).await.0.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &body["retry_after"]), (429, &json!(1.5)));
        assert_eq!(
            (&headers["retry-after"], &headers["x-ratelimit-scope"]),
            (&"2".parse().unwrap(), &name.parse().unwrap())
        );
        assert_eq!(
            headers.contains_key("x-ratelimit-global"),
            scope == Scope::Global
        );
        assert!(headers.contains_key("via"));
    }
    let kind = RestFaultKind::WrongRetryAfter {
        header: Duration::from_secs(219),
        body: Duration::from_secs(145),
    };
    let (status, headers, body) = struck(&kind, When::Before).await.0.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, headers["retry-after"].to_str().unwrap()),
        (429, "219")
    );
    assert_eq!(headers.get_all("retry-after").iter().count(), 1);
    assert_eq!(body["retry_after"], 145.0);
    let kind = RestFaultKind::Accepted { retry_after };
    let (status, _, body) = struck(&kind, When::Before).await.0.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["retry_after"]), (202, &json!(1.5)));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_go_wrong() {
    let kind = RestFaultKind::WrongContentType("text/plain".to_owned());
    let (status, headers, body) = struck(&kind, When::Before).await.0.unwrap();
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (201, "text/plain")
    );
    let whole = body.len();
    assert!(serde_json::from_slice::<Value>(&body).is_ok());

    let (status, headers, body) = struck(&RestFaultKind::TruncatedBody, When::Before)
        .await
        .0
        .unwrap();
    assert_eq!((status, body.len()), (201, whole / 2));
    assert_eq!(
        headers["content-length"].to_str().unwrap(),
        (whole / 2).to_string()
    );
    assert!(serde_json::from_slice::<Value>(&body).is_err());

    let (answer, ..) = struck(&RestFaultKind::ResetMidBody, When::Before).await;
    assert!(answer.is_err());

    let kind = RestFaultKind::SlowBody {
        chunk: 16,
        pause: Duration::from_secs(1),
    };
    let (answer, _, taken) = struck(&kind, When::Before).await;
    let (status, _, body) = answer.unwrap();
    assert_eq!((status, body.len()), (201, whole));
    assert!(
        taken >= Duration::from_secs((whole / 16) as u64),
        "{taken:?}"
    );

    let kind = RestFaultKind::Body {
        status: 502,
        content_type: "text/html".to_owned(),
        body: "<html>".to_owned(),
    };
    let (status, headers, body) = struck(&kind, When::Before).await.0.unwrap();
    assert_eq!((status, &body[..]), (502, &b"<html>"[..]));
    assert!(!headers.contains_key("via"));
}

#[tokio::test(start_paused = true)]
async fn a_reset_comes_after_the_head_and_half_of_the_body() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let scene = scene();
    scene
        .sim
        .fail_rest(RestFault::once("GET", RestFaultKind::ResetMidBody));
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let serving = scene.sim.clone();
    tokio::spawn(async move { serving.serve_connection(theirs).await });
    let request = format!(
        "GET /api/v10/users/@me HTTP/1.1\r\nhost: x\r\nauthorization: Bot {}\r\n\r\n",
        scene.bot.token
    );
    ours.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let told: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(body.len(), told / 2);
}
