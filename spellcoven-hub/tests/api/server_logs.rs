//! What is logged, and that secrets are not.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use spellcoven_hub::server::RoomError;
use tracing_subscriber::fmt::MakeWriter;

use crate::server_support::World;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn connections_refusals_and_failures_are_logged_and_secrets_never() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let token = world.token("alice");
    let offer = format!("spellcoven.v1, spellcoven.token.{token}");
    let mut socket = world
        .socket_with(64 * 1024, |request| {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", offer.parse().unwrap());
        })
        .await;
    socket.next().await;
    socket
        .send(json!({ "type": "nonsense", "token": token }))
        .await;
    socket.closed().await;
    drop(socket);
    let mut socket = world.socket().await;
    socket.auth(&token, None).await;
    drop(socket);
    while world.hub.stats().connections > 0 {
        tokio::task::yield_now().await;
    }
    world
        .post_raw("1700000000", "sha256=00", None, "{}".into())
        .await;
    world.post("nonsense", json!({})).await;
    world.rooms.fail_next(RoomError::Upstream {
        source: Some("the cause".into()),
    });
    world.create("{}").await;

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let has = |parts: &[&str]| {
        log.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    for parts in [
        ["INFO", "WebSocket client connected", "user=\"alice\""],
        [
            "INFO",
            "WebSocket client disconnected",
            "reason=\"bad_message\"",
        ],
        [
            "INFO",
            "WebSocket client disconnected",
            "reason=\"client_gone\"",
        ],
        ["WARN", "webhook signature refused", "sha256=<hex>"],
        ["WARN", "Discord did not do it", "the cause"],
        ["WARN", "operation=\"createVoiceChannel\"", "request_id="],
    ] {
        assert!(has(&parts), "{parts:?} is missing in\n{log}");
    }
    let signature = token.rsplit('.').next().unwrap();
    assert!(
        !log.contains(signature) && !log.contains("hub-secret"),
        "{log}"
    );
    assert!(!format!("{:?}", world.hub).contains("secret"));
}
