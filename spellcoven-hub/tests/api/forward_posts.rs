//! The forwarder over a scripted hub: what goes out, when, and how it is signed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use spellcoven_hub::forward::{
    Forwarder, PostAnswer, PostError, Poster, StartError, UnhealthyReason,
};
use spellcoven_hub::wire::signature::verify;
use spellcoven_hub::wire::{RoomDeleted, WebhookEvent};
use spellcoven_hub::{BoxFuture, Clock, GuildSnapshot, HubEvent, HubSecret, Snowflake};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

const GUILD: Snowflake = Snowflake::new(1);

/// One post as the hub sees it, and the way to answer it.
struct Posted {
    headers: HeaderMap,
    body: Bytes,
    answer: oneshot::Sender<Result<PostAnswer, PostError>>,
}

impl Posted {
    fn event(&self) -> WebhookEvent {
        WebhookEvent::parse(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn answer(self, status: u16, body: &'static str) {
        let _ = self.answer.send(Ok(PostAnswer::new(status, body)));
    }

    fn ok(self) {
        self.answer(200, r#"{"ok":true,"epoch":"e1","synced":true}"#);
    }
}

/// Hands every post to the test.
struct Scripted(mpsc::UnboundedSender<Posted>);

impl Poster for Scripted {
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Posted {
            headers,
            body,
            answer,
        });
        Box::pin(async move {
            match answered.await {
                Ok(answer) => answer,
                Err(_) => Err(PostError::Transport("the connection broke".into())),
            }
        })
    }
}

#[derive(Clone)]
struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Rig {
    forwarder: Forwarder,
    posts: mpsc::UnboundedReceiver<Posted>,
    clock: SetClock,
}

fn secret() -> HubSecret {
    HubSecret::new("change-me").unwrap()
}

fn rig() -> Rig {
    let (sender, posts) = mpsc::unbounded_channel();
    let clock = SetClock(Arc::new(AtomicU64::new(1_700_000_000_999)));
    let forwarder = Forwarder::builder("http://hub.test/api/internal/events", secret(), GUILD)
        .poster(Scripted(sender))
        .clock(clock.clone())
        .seed(7)
        .start()
        .unwrap();
    Rig {
        forwarder,
        posts,
        clock,
    }
}

impl Rig {
    async fn synced() -> Self {
        let mut rig = rig();
        rig.forwarder.snapshot(GuildSnapshot {
            guild_id: GUILD,
            rooms: vec![],
        });
        rig.next().await.ok();
        rig
    }

    async fn next(&mut self) -> Posted {
        self.posts.recv().await.expect("the forwarder runs")
    }
}

fn deleted(channel: u64) -> HubEvent {
    HubEvent::RoomDeleted(RoomDeleted {
        channel_id: Snowflake::new(channel),
        guild_id: GUILD,
    })
}

/// The one result of a future that is ready after all tasks have run.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_millis(1), future)
        .await
        .expect("ready without a wait")
}

#[tokio::test(start_paused = true)]
async fn each_try_is_signed_afresh_and_keeps_its_delivery_id() {
    let mut rig = Rig::synced().await;
    rig.forwarder.send(deleted(2));
    let first = rig.next().await;
    assert_eq!(first.event(), WebhookEvent::Event(deleted(2)));
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("x-hub-timestamp"), "1700000000");
    let check = |posted: &Posted, now| {
        let (timestamp, signature) = (
            posted.header("x-hub-timestamp"),
            posted.header("x-hub-signature"),
        );
        verify(
            [&secret()],
            Some(timestamp),
            Some(signature),
            &posted.body,
            now,
            0,
        )
    };
    assert_eq!(check(&first, 1_700_000_000), Ok(()));
    let (delivery, signature) = (
        first.header("x-hub-delivery").to_owned(),
        first.header("x-hub-signature").to_owned(),
    );
    first.answer(503, "");

    rig.clock.0.store(1_700_000_005_000, Ordering::Relaxed);
    let second = rig.next().await;
    assert_eq!(second.header("x-hub-delivery"), delivery);
    assert_ne!(second.header("x-hub-signature"), signature);
    assert_eq!(check(&second, 1_700_000_005), Ok(()));
    second.ok();

    rig.forwarder.send(deleted(3));
    assert_ne!(rig.next().await.header("x-hub-delivery"), delivery);
}

#[tokio::test(start_paused = true)]
async fn two_forwarders_with_one_seed_have_different_delivery_ids() {
    let ids = [Rig::synced().await, Rig::synced().await].map(|mut rig| async move {
        rig.forwarder.send(deleted(2));
        rig.next().await.header("x-hub-delivery").to_owned()
    });
    let [first, second] = ids;
    assert_ne!(first.await, second.await);
}

#[tokio::test(start_paused = true)]
async fn an_event_on_an_idle_forwarder_is_posted_at_once() {
    let mut rig = Rig::synced().await;
    for channel in 2..20 {
        let before = Instant::now();
        rig.forwarder.send(deleted(channel));
        let posted = rig.next().await;
        assert_eq!(Instant::now(), before, "no timer is in the way");
        posted.ok();
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_without_an_answer_is_repeated_after_ten_seconds() {
    let mut rig = Rig::synced().await;
    rig.forwarder.send(deleted(2));
    let before = Instant::now();
    let silent = rig.next().await;
    let second = rig.next().await;
    let waited = before.elapsed();
    assert!(
        waited >= Duration::from_secs(10) && waited < Duration::from_millis(10_200),
        "{waited:?}"
    );
    assert_eq!(
        second.header("x-hub-delivery"),
        silent.header("x-hub-delivery")
    );
    assert_eq!(
        rig.forwarder.status().reason,
        Some(UnhealthyReason::Unreachable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_restarted_hub_is_found_by_a_ping_and_gets_a_snapshot() {
    let mut rig = Rig::synced().await;
    let before = Instant::now();
    let ping = rig.next().await;
    assert_eq!(ping.event(), WebhookEvent::Ping { guild_id: GUILD });
    assert!(before.elapsed() <= Duration::from_millis(2100));
    ping.answer(200, r#"{"ok":true,"epoch":"e2","synced":false}"#);
    assert!(matches!(
        rig.next().await.event(),
        WebhookEvent::Snapshot(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn other_guilds_are_not_told() {
    let mut rig = rig();
    let other = Snowflake::new(99);
    rig.forwarder.snapshot(GuildSnapshot {
        guild_id: other,
        rooms: vec![],
    });
    assert_eq!(
        rig.forwarder.status().reason,
        Some(UnhealthyReason::NoSnapshotYet)
    );
    rig.forwarder.snapshot(GuildSnapshot {
        guild_id: GUILD,
        rooms: vec![],
    });
    rig.next().await.ok();
    rig.forwarder.send(HubEvent::RoomDeleted(RoomDeleted {
        channel_id: Snowflake::new(2),
        guild_id: other,
    }));
    rig.forwarder.send(deleted(3));
    assert_eq!(rig.next().await.event(), WebhookEvent::Event(deleted(3)));
}

#[tokio::test(start_paused = true)]
async fn shutdown_delivers_what_is_queued_and_takes_no_more() {
    let mut rig = Rig::synced().await;
    (2..5).for_each(|channel| rig.forwarder.send(deleted(channel)));
    let forwarder = rig.forwarder.clone();
    let shutdown = tokio::spawn(async move { forwarder.shutdown(Duration::from_secs(30)).await });
    rig.next().await.answer(500, "");
    rig.forwarder.send(deleted(9));
    for channel in 2..5 {
        let posted = rig.next().await;
        assert_eq!(posted.event(), WebhookEvent::Event(deleted(channel)));
        posted.ok();
    }
    assert!(shutdown.await.unwrap());
    assert!(rig.posts.recv().await.is_none(), "the task is gone");
    assert_eq!(rig.forwarder.status().delivered, 4);
    assert!(
        rig.forwarder.shutdown(Duration::ZERO).await,
        "again is harmless"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_up_at_its_deadline() {
    let mut rig = Rig::synced().await;
    rig.forwarder.send(deleted(2));
    let _silent = rig.next().await;
    let before = Instant::now();
    assert!(!rig.forwarder.shutdown(Duration::from_secs(3)).await);
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert_eq!(rig.forwarder.status().outbox_depth, 1);
    assert!(soon(rig.posts.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_stops_the_task() {
    let Rig {
        forwarder,
        mut posts,
        ..
    } = Rig::synced().await;
    let clone = forwarder.clone();
    drop(forwarder);
    clone.send(deleted(2));
    posts.recv().await.unwrap().ok();
    drop(clone);
    assert!(soon(posts.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_hubs_is_still_an_answer() {
    let mut rig = rig();
    rig.forwarder.snapshot(GuildSnapshot {
        guild_id: GUILD,
        rooms: vec![],
    });
    rig.next().await.answer(200, "<html>welcome</html>");
    rig.forwarder.send(deleted(2));
    rig.next().await.answer(204, "");
    rig.forwarder.send(deleted(3));
    assert_eq!(rig.next().await.event(), WebhookEvent::Event(deleted(3)));
    assert_eq!(rig.forwarder.status().hub_epoch, None);
}

#[tokio::test(start_paused = true)]
async fn the_secret_is_in_no_debug_output() {
    let builder = Forwarder::builder("http://hub.test/", secret(), GUILD);
    let printed = format!("{builder:?}");
    let forwarder = builder.start().unwrap();
    assert!(!format!("{printed}{forwarder:?}{:?}", forwarder.status()).contains("change-me"));
}

#[tokio::test]
async fn a_wrong_endpoint_is_told_at_the_start() {
    let error = Forwarder::builder("hub.test", secret(), GUILD)
        .start()
        .unwrap_err();
    assert!(matches!(error, StartError::Endpoint(_)), "{error:?}");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the endpoint must be an absolute http:// or https:// address"
    );
}

/// The default poster over a real socket: one connection for all posts.
mod over_tcp {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert_ne!(
                stream.read_buf(&mut bytes).await.unwrap(),
                0,
                "the connection ended"
            );
        };
        let text = String::from_utf8(bytes[..head].to_vec())
            .unwrap()
            .to_lowercase();
        let (_, rest) = text.split_once("content-length: ").expect("a length");
        let length: usize = rest.lines().next().unwrap().trim().parse().unwrap();
        while bytes.len() < head + length {
            assert_ne!(
                stream.read_buf(&mut bytes).await.unwrap(),
                0,
                "the connection ended"
            );
        }
        (text, bytes.split_off(head))
    }

    #[tokio::test]
    async fn the_connection_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!(
            "http://{}/api/internal/events",
            listener.local_addr().unwrap()
        );
        let forwarder = Forwarder::builder(endpoint, secret(), GUILD)
            .start()
            .unwrap();
        forwarder.snapshot(GuildSnapshot {
            guild_id: GUILD,
            rooms: vec![],
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        for channel in 2..6 {
            let (head, body) = read_request(&mut stream).await;
            assert!(
                head.starts_with("post /api/internal/events http/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("x-hub-signature: sha256="));
            WebhookEvent::parse(&body).unwrap();
            let body = r#"{"ok":true,"epoch":"e-one"}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            forwarder.send(deleted(channel));
        }
        let (_, body) = read_request(&mut stream).await;
        assert_eq!(
            WebhookEvent::parse(&body).unwrap(),
            WebhookEvent::Event(deleted(5))
        );
        assert_eq!(forwarder.status().hub_epoch.as_deref(), Some("e-one"));
    }
}
