//! REST and Gateway through HTTP/1.1: on a pipe, and on a real port.

use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::{RestFault, RestFaultKind, Sim};
use tokio::net::TcpStream;

use super::support::{Client, Http, INTENTS, scene};

#[tokio::test(start_paused = true)]
async fn many_requests_on_one_connection() {
    let scene = scene();
    let mut http = Http::connect(&scene.sim).await;
    for _ in 0..3 {
        let (status, headers, body) = http
            .call("GET", "/api/v10/users/@me", &scene.bot.token, None)
            .await
            .unwrap();
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["via"], "1.1 google");
        assert_eq!(headers.get_all("date").iter().count(), 1);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["username"], "bot");
    }
    let path = format!("/api/v10/guilds/{}/channels", scene.guild);
    let room = json!({"name": "x", "type": 2});
    let (status, ..) = http
        .call("POST", &path, &scene.bot.token, Some(&room))
        .await
        .unwrap();
    assert_eq!(status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_gives_no_answer_though_the_thing_was_done() {
    let scene = scene();
    scene
        .sim
        .fail_rest(RestFault::once("POST", RestFaultKind::HangUp).after_execution());
    let mut http = Http::connect(&scene.sim).await;
    let path = format!("/api/v10/guilds/{}/channels", scene.guild);
    let room = json!({"name": "x", "type": 2});
    assert!(
        http.call("POST", &path, &scene.bot.token, Some(&room))
            .await
            .is_err()
    );
    assert_eq!(scene.sim.channels(scene.guild).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn delays_and_hangs_take_virtual_time() {
    let scene = scene();
    let mut http = Http::connect(&scene.sim).await;
    scene.sim.set_delay_rest(Duration::from_secs(3));
    let begin = scene.sim.now();
    http.call("GET", "/api/v10/users/@me", &scene.bot.token, None)
        .await
        .unwrap();
    assert!(scene.sim.now() - begin >= Duration::from_secs(3));
    scene.sim.set_delay_rest(Duration::ZERO);
    scene.sim.fail_rest(RestFault::once(
        "*",
        RestFaultKind::Hang(Duration::from_secs(60)),
    ));
    let begin = scene.sim.now();
    assert!(
        http.call("GET", "/api/v10/users/@me", &scene.bot.token, None)
            .await
            .is_err()
    );
    assert!(scene.sim.now() - begin >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn the_event_can_come_before_the_answer() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.set_delay_rest(Duration::from_secs(2));
    let sim = scene.sim.clone();
    let (path, token) = (
        format!("/api/v10/guilds/{}/channels", scene.guild),
        scene.bot.token.clone(),
    );
    let answer = tokio::spawn(async move {
        let mut http = Http::connect(&sim).await;
        let made = http
            .call(
                "POST",
                &path,
                &token,
                Some(&json!({"name": "x", "type": 2})),
            )
            .await
            .unwrap();
        (made.0, sim.now())
    });
    client.expect("CHANNEL_CREATE").await;
    let event = scene.sim.now();
    let (status, answered) = answer.await.unwrap();
    assert_eq!(status, 201);
    assert!(answered >= event + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_elsewhere_than_at_the_root_is_no_gateway() {
    let scene = scene();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let serving = scene.sim.clone();
    tokio::spawn(async move { serving.serve_connection(theirs).await });
    let io = tokio_util::compat::TokioAsyncReadCompatExt::compat(ours);
    let refused =
        async_tungstenite::client_async("ws://discord.invalid/api/v10/users/@me", io).await;
    assert!(refused.is_err());
    for path in ["", "//", "/?encoding=json&v=10", "?v=10"] {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = scene.sim.clone();
        tokio::spawn(async move { serving.serve_connection(theirs).await });
        let io = tokio_util::compat::TokioAsyncReadCompatExt::compat(ours);
        async_tungstenite::client_async(format!("ws://discord.invalid{path}"), io)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn over_loopback_tcp() {
    let sim = Sim::builder().seed(3).build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let lobby = sim.add_voice_channel(guild, "Lobby");
    let alice = sim.add_person("alice", guild);
    let server = sim.listen("127.0.0.1:0").await.unwrap();
    assert_eq!(
        server.api_base(),
        format!("http://{}/api/v10", server.addr())
    );

    let mut http = Http::over(TcpStream::connect(server.addr()).await.unwrap()).await;
    let (_, _, body) = http
        .call("GET", "/api/v10/gateway/bot", &bot.token, None)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["url"], server.gateway_url());

    let mut client = Client::over(TcpStream::connect(server.addr()).await.unwrap(), "v=10").await;
    client.hello().await;
    client.identify(&bot.token, INTENTS).await;
    assert_eq!(
        client.expect("READY").await["resume_gateway_url"],
        server.gateway_url()
    );
    client.expect("GUILD_CREATE").await;
    for _ in 0..200 {
        sim.join(alice, lobby).unwrap();
        assert_eq!(
            client.expect("VOICE_STATE_UPDATE").await["channel_id"],
            json!(lobby)
        );
        sim.leave(alice).unwrap();
        client.expect("VOICE_STATE_UPDATE").await;
    }
    let addr = server.addr();
    server.shutdown().await;
    assert!(matches!(client.read().await, super::support::Read::Dropped));
    assert!(TcpStream::connect(addr).await.is_err());
    assert_eq!(sim.with(|w| w.session_count(bot.user_id)), (1, 0));
}
