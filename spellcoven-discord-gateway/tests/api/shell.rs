//! The tokio shell against a scripted server over in-memory pipes, under
//! paused time.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use spellcoven_discord_gateway::{
    BoxFuture, CommandError, Compression, ConnectionState, Connector, Event, GatewayError,
    GatewayStream, IdentifyQueue, Shard, ShardBuilder, Shutdown,
};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::support::*;

/// A connector of another kind than the default: each dial makes a pipe, whose
/// other end the test gets together with the URL.
#[derive(Clone)]
struct Pipes {
    dials: mpsc::UnboundedSender<(String, DuplexStream)>,
    capacity: usize,
}

impl Connector for Pipes {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn GatewayStream>>> {
        let (near, far) = tokio::io::duplex(self.capacity);
        let sent = self.dials.send((url.to_string(), far));
        Box::pin(async move {
            sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Box::new(near) as Box<dyn GatewayStream>)
        })
    }
}

struct Server {
    dials: mpsc::UnboundedReceiver<(String, DuplexStream)>,
}

struct Connection {
    url: String,
    path: String,
    socket: WebSocketStream<Compat<DuplexStream>>,
}

fn pipes(capacity: usize) -> (Pipes, Server) {
    let (sender, dials) = mpsc::unbounded_channel();
    (
        Pipes {
            dials: sender,
            capacity,
        },
        Server { dials },
    )
}

fn builder(pipes: Pipes) -> ShardBuilder {
    Shard::builder("secret.token")
        .gateway_url(MAIN)
        .connector(pipes)
        // The server of these tests speaks text.
        .compression(Compression::None)
        .seed(1)
}

impl Server {
    async fn accept(&mut self) -> Connection {
        let (url, stream) = self.dials.recv().await.unwrap();
        let path = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&path);
        #[expect(
            clippy::result_large_err,
            reason = "the callback's type is tungstenite's"
        )]
        let note = move |request: &Request, response: Response| {
            *seen.lock().unwrap() = request.uri().to_string();
            Ok(response)
        };
        let socket = accept_hdr_async(stream.compat(), note).await.unwrap();
        let path = path.lock().unwrap().clone();
        Connection { url, path, socket }
    }

    /// Accepts, greets and gives the first session.
    async fn session(&mut self) -> Connection {
        let mut connection = self.accept().await;
        connection.say(&hello(INTERVAL)).await;
        assert_eq!(connection.hear(2).await["d"]["token"], "secret.token");
        connection.say(&ready(1, "session-1", &[5])).await;
        connection
    }
}

impl Connection {
    async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next payload with this opcode; heartbeats on the way are acked.
    async fn hear(&mut self, op: u64) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let payload: Value = serde_json::from_str(&text).unwrap();
                    if payload["op"] == op {
                        return payload;
                    }
                    assert_eq!(payload["op"], 1, "{payload}");
                    self.say(ACK).await;
                }
                other => panic!("waiting for op {op}: {other:?}"),
            }
        }
    }

    async fn hear_close(&mut self) -> Option<u16> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    }

    async fn close(mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.socket.close(Some(frame)).await.unwrap();
        while self
            .socket
            .next()
            .await
            .is_some_and(|message| message.is_ok())
        {}
    }
}

async fn next(shard: &mut Shard) -> Event {
    shard.next_event().await.unwrap().unwrap().event
}

#[tokio::test(start_paused = true)]
async fn from_the_dial_to_events_and_a_resume_after_a_cut() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).start();
    let handle = shard.handle();
    let mut connection = server.session().await;
    assert_eq!(connection.url, MAIN_URL);
    assert_eq!(connection.path, "/?v=10&encoding=json");
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    connection
        .say(&dispatch(
            2,
            "GUILD_DELETE",
            json!({"id": "5", "unavailable": true}),
        ))
        .await;
    assert!(matches!(
        next(&mut shard).await,
        Event::GuildUnavailable { .. }
    ));
    let status = handle.status();
    assert_eq!(status.state, ConnectionState::Active);
    assert_eq!(
        (status.identifies, status.reconnects, status.last_event_seq),
        (1, 0, Some(2))
    );
    assert_eq!(handle.session().unwrap().seq, 2);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(handle.status().session_age >= Some(Duration::from_secs(30)));

    drop(connection);
    let mut connection = server.accept().await;
    assert_eq!(connection.url, RESUME_URL);
    connection.say(&hello(INTERVAL)).await;
    assert_eq!(connection.hear(6).await["d"]["seq"], 2);
    connection
        .say(&dispatch(3, "GUILD_DELETE", json!({"id": "5"})))
        .await;
    connection.say(&resumed(4)).await;
    assert!(matches!(next(&mut shard).await, Event::GuildDelete { .. }));
    assert!(matches!(next(&mut shard).await, Event::Resumed));
    let status = handle.status();
    assert_eq!(
        (status.resumes, status.reconnects, status.identifies),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn state_changes_can_be_watched_and_latency_read() {
    let (pipes, mut server) = pipes(1 << 16);
    let shard = builder(pipes).start();
    let mut watch = shard.handle().watch();
    let mut connection = server.session().await;
    assert!(watch.wait_for(ConnectionState::Active).await);
    assert_eq!(watch.current(), ConnectionState::Active);
    let beat = tokio::spawn(async move {
        connection.hear(1).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
        connection.say(ACK).await;
        connection
    });
    let connection = beat.await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        shard.handle().status().heartbeat_latency,
        Some(Duration::from_millis(40))
    );
    connection.close(4004).await;
    assert!(
        !watch.wait_for(ConnectionState::Active).await
            || watch.current() != ConnectionState::Active
    );
}

#[tokio::test(start_paused = true)]
async fn a_fatal_close_is_the_last_thing_that_is_said() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).start();
    server.session().await.close(4014).await;
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    assert!(matches!(
        shard.next_event().await,
        Some(Err(GatewayError::DisallowedIntents { .. }))
    ));
    assert!(shard.next_event().await.is_none());
    let handle = shard.handle();
    assert_eq!(handle.status().state, ConnectionState::Failed);
    assert_eq!(
        handle.command(crate::commands::leave()),
        Err(CommandError::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_come_as_the_last_event() {
    let mut shard = Shard::builder("t").gateway_url("nonsense").start();
    assert!(matches!(
        shard.next_event().await,
        Some(Err(GatewayError::Configuration { .. }))
    ));
    assert!(shard.next_event().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn shutdown_says_goodbye_with_the_right_code() {
    for (how, code) in [(Shutdown::KeepSession, 4000), (Shutdown::EndSession, 1000)] {
        let (pipes, mut server) = pipes(1 << 16);
        let mut shard = builder(pipes).start();
        let mut connection = server.session().await;
        assert!(matches!(next(&mut shard).await, Event::Ready(_)));
        let goodbye = tokio::spawn(async move { connection.hear_close().await });
        let session = shard.shutdown(how).await;
        assert_eq!(goodbye.await.unwrap(), Some(code));
        assert_eq!(
            session.map(|session| session.seq),
            (code == 4000).then_some(1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_shard_says_goodbye_and_keeps_the_session() {
    let (pipes, mut server) = pipes(1 << 16);
    let shard = builder(pipes).start();
    let handle = shard.handle();
    let mut connection = server.session().await;
    drop(shard);
    assert_eq!(connection.hear_close().await, Some(4000));
    assert!(handle.watch().wait_for(ConnectionState::Stopped).await);
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_the_session_at_the_last_event_that_was_taken() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).start();
    let mut connection = server.session().await;
    for seq in 2..=9 {
        connection
            .say(&dispatch(seq, "GUILD_DELETE", json!({"id": "5"})))
            .await;
    }
    for _ in 0..4 {
        next(&mut shard).await;
    }
    let reader = tokio::spawn(async move { connection.hear_close().await });
    let session = shard.shutdown(Shutdown::KeepSession).await.unwrap();
    assert_eq!(
        session.seq, 4,
        "events 5 to 9 were never taken and will be replayed"
    );
    assert_eq!(reader.await.unwrap(), Some(4000));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_stops_the_reading_but_not_the_heart_and_loses_nothing() {
    const EVENTS: u64 = 400;
    let (pipes, mut server) = pipes(4096);
    let mut shard = builder(pipes).event_buffer(8).start();
    let handle = shard.handle();
    let connection = server.session().await;
    let (mut sender, mut receiver) = connection.socket.split();
    let beats = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&beats);
    tokio::spawn(async move {
        while let Some(Ok(message)) = receiver.next().await {
            if message
                .to_text()
                .is_ok_and(|text| text.contains(r#""op":1,"#))
            {
                *counted.lock().unwrap() += 1;
            }
        }
    });
    let writer = tokio::spawn(async move {
        for seq in 2..=EVENTS {
            let text = dispatch(seq, "GUILD_DELETE", json!({"id": "5"}));
            sender.send(Message::text(text)).await.unwrap();
        }
        sender
    });
    // Nobody takes an event for ten minutes; no ack can be read either.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!writer.is_finished(), "the shard must have stopped reading");
    assert!(*beats.lock().unwrap() >= 14);
    let status = handle.status();
    assert!(status.consumer_is_slow);
    assert_eq!(
        (status.state, status.reconnects),
        (ConnectionState::Active, 0)
    );
    assert_eq!(status.last_event_seq, Some(8), "the last in the buffer");
    assert_eq!(handle.session(), None, "nobody has taken READY yet");

    for seq in 1..=EVENTS {
        assert_eq!(shard.next_event().await.unwrap().unwrap().seq, seq);
        assert_eq!(handle.session().unwrap().seq, seq);
    }
    let _sender = writer.await.unwrap();
    assert!(!handle.status().consumer_is_slow);
    assert_eq!(handle.status().reconnects, 0);
}

/// A consumer that lags must not store the number of an event of one session
/// with the id of the next one.
#[tokio::test(start_paused = true)]
async fn the_session_to_store_follows_the_consumer() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).start();
    let handle = shard.handle();
    let mut connection = server.session().await;
    for seq in 2..=50 {
        connection
            .say(&dispatch(seq, "GUILD_DELETE", json!({"id": "5"})))
            .await;
    }
    connection.say(&invalid_session(false)).await;
    let mut connection = server.accept().await;
    connection.say(&hello(INTERVAL)).await;
    connection.hear(2).await;
    connection.say(&ready(1, "session-2", &[5])).await;
    assert!(handle.watch().wait_for(ConnectionState::Active).await);
    for seq in 1..=50 {
        assert_eq!(shard.next_event().await.unwrap().unwrap().seq, seq);
        let session = handle.session().unwrap();
        assert_eq!(
            (session.session_id.as_str(), session.seq),
            ("session-1", seq)
        );
    }
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    let session = handle.session().unwrap();
    assert_eq!((session.session_id.as_str(), session.seq), ("session-2", 1));
}

/// A process that resumed behind an event which nobody could read would never
/// get the snapshot that makes up for it.
#[tokio::test(start_paused = true)]
async fn a_session_with_a_hole_is_not_given_out_for_storage() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).resync_interval(None).start();
    let handle = shard.handle();
    let mut connection = server.session().await;
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    for (seq, name) in [(2, "VOICE_STATE_UPDATE"), (3, "GUILD_DELETE")] {
        assert!(handle.session().is_some() == (seq == 2));
        let data = if seq == 2 {
            json!({})
        } else {
            json!({"id": "5"})
        };
        connection.say(&dispatch(seq, name, data)).await;
        next(&mut shard).await;
    }
    assert_eq!(handle.session(), None);
    connection.say(&invalid_session(false)).await;
    let mut connection = server.accept().await;
    connection.say(&hello(INTERVAL)).await;
    connection.hear(2).await;
    connection.say(&ready(1, "session-2", &[5])).await;
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    assert_eq!(handle.session().unwrap().session_id, "session-2");
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_ends_the_connection_and_is_never_held() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).max_message_size(10_000).start();
    let mut connection = server.session().await;
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    let huge = dispatch(
        2,
        "GUILD_CREATE",
        json!({"id": "5", "name": "x".repeat(20_000)}),
    );
    let _ = connection.socket.send(Message::text(huge)).await;
    let again = server.accept().await;
    assert_eq!(again.url, RESUME_URL);
    assert_eq!(shard.handle().session().unwrap().seq, 1);
}

#[tokio::test(start_paused = true)]
async fn binary_frames_and_pings_are_understood() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).start();
    let mut connection = server.session().await;
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    connection
        .socket
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    let text = dispatch(2, "GUILD_DELETE", json!({"id": "5"}));
    connection
        .socket
        .send(Message::binary(text.into_bytes()))
        .await
        .unwrap();
    assert!(matches!(next(&mut shard).await, Event::GuildDelete { .. }));
    assert!(matches!(
        connection.socket.next().await,
        Some(Ok(Message::Pong(_)))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_nobody_answers_times_out() {
    let (pipes, mut server) = pipes(1 << 16);
    let shard = builder(pipes).start();
    let start = tokio::time::Instant::now();
    let (_, _silent) = server.dials.recv().await.unwrap();
    let _connection = server.session().await;
    assert!(start.elapsed() >= Duration::from_secs(20));
    assert_eq!(shard.handle().status().stats.timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_tried_again_until_it_is_up() {
    let (pipes, mut server) = pipes(1 << 16);
    let mut shard = builder(pipes).start();
    for _ in 0..6 {
        drop(server.dials.recv().await.unwrap());
    }
    let _connection = server.session().await;
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
    assert_eq!(shard.handle().status().reconnects, 6);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_cannot_hold_the_shard() {
    let (pipes, mut server) = pipes(256);
    let shard = builder(pipes).start();
    let connection = server.session().await;
    for _ in 0..60 {
        shard.handle().command(crate::commands::leave()).unwrap();
    }
    // Nothing is read, so nothing is acked: a zombie, and a new connection
    // although the old one cannot be told goodbye.
    let again = server.accept().await;
    assert_eq!(again.url, RESUME_URL);
    drop(connection);
}

#[tokio::test(start_paused = true)]
async fn commands_reach_the_wire_and_a_full_queue_says_so() {
    let (pipes, mut server) = pipes(1 << 16);
    let shard = builder(pipes).start();
    let handle = shard.handle();
    handle.command(crate::commands::leave()).unwrap();
    let mut connection = server.session().await;
    assert_eq!(connection.hear(4).await["d"]["guild_id"], "1");
    let mut taken = 0;
    while handle.command(crate::commands::leave()).is_ok() {
        taken += 1;
        assert!(taken < 1000);
    }
    assert_eq!(
        handle.command(crate::commands::leave()),
        Err(CommandError::QueueFull)
    );
}

/// Another kind of identify queue: it notes who asked, and waits to be told.
struct Gate {
    asked: mpsc::UnboundedSender<u32>,
    open: Arc<tokio::sync::Semaphore>,
}

impl IdentifyQueue for Gate {
    fn acquire(&self, shard_id: u32) -> BoxFuture<'_, ()> {
        let _ = self.asked.send(shard_id);
        Box::pin(async {
            if let Ok(permit) = self.open.acquire().await {
                permit.forget();
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn identify_waits_for_the_queue_and_the_heart_beats_meanwhile() {
    let (pipes, mut server) = pipes(1 << 16);
    let (asked, mut who) = mpsc::unbounded_channel();
    let open = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Gate {
        asked,
        open: Arc::clone(&open),
    };
    let shard = builder(pipes).shard_id(3, 4).identify_queue(gate).start();
    let mut connection = server.accept().await;
    connection.say(&hello(INTERVAL)).await;
    assert_eq!(who.recv().await, Some(3));
    for _ in 0..5 {
        assert_eq!(connection.hear(1).await["op"], 1);
        connection.say(ACK).await;
    }
    assert_eq!(
        shard.handle().status().state,
        ConnectionState::AwaitingIdentify
    );
    // A cut withdraws the request, and the next connection asks anew.
    drop(connection);
    let mut connection = server.accept().await;
    connection.say(&hello(INTERVAL)).await;
    assert_eq!(who.recv().await, Some(3));
    open.add_permits(1);
    assert_eq!(connection.hear(2).await["d"]["shard"], json!([3, 4]));
}

#[tokio::test]
async fn the_default_connector_speaks_over_real_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut shard = Shard::builder("secret.token")
        .gateway_url(format!("ws://{address}"))
        .start();
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = async_tungstenite::accept_async(stream.compat())
        .await
        .unwrap();
    socket.send(Message::text(hello(INTERVAL))).await.unwrap();
    let identify = socket.next().await.unwrap().unwrap();
    assert!(identify.to_text().unwrap().starts_with(r#"{"op":2,"#));
    socket
        .send(Message::text(ready(1, "s", &[])))
        .await
        .unwrap();
    assert!(matches!(next(&mut shard).await, Event::Ready(_)));
}
