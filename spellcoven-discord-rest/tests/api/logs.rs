//! What is logged, and what is not.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tracing::{Level, subscriber::DefaultGuard};

use super::support::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Logs of this thread, which is where a test's runtime runs.
    fn begin(&self, level: Level) -> DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_request_says_nothing_at_info() {
    let log = Log::default();
    let _guard = log.begin(Level::INFO);
    let transport = Scripted::new(|_, _| reply(200, channel(2, "x")));
    transport.client().get_channel(channel_id()).await.unwrap();
    assert_eq!(log.text(), "");
}

#[tokio::test(start_paused = true)]
async fn retries_are_warned_of_with_request_id_and_delay() {
    let log = Log::default();
    let _guard = log.begin(Level::INFO);
    let transport = Scripted::replies(vec![|| reply(502, json!(null)), || {
        reply(200, channel(2, "x"))
    }]);
    transport
        .client()
        .get_channel(channel_id())
        .request_id("req-9")
        .await
        .unwrap();
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "WARN",
        "retrying",
        "request_id=\"req-9\"",
        "operation=\"getChannel\"",
        "delay_ms=",
        "cause=",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_logs_the_token() {
    let log = Log::default();
    let _guard = log.begin(Level::TRACE);
    let transport = Scripted::new(|n, _| match n {
        0 => Reply::Lost,
        1 => reply(503, json!(null)),
        2 => Reply::Answer(too_many("user", 1.0)),
        _ => reply(401, json!({"message": "401: Unauthorized", "code": 0})),
    });
    let client = transport.client();
    client.get_channel(channel_id()).await.unwrap_err();
    client
        .create_voice_channel(guild_id(), "x")
        .await
        .unwrap_err();
    assert!(log.text().contains("getChannel"));
    assert!(!log.text().contains("secret-token"), "{}", log.text());
}
