//! The client over in-memory pipes and a scripted hub: connecting, resuming,
//! giving up, and what happens when nobody reads.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use futures_util::StreamExt;
use http::Uri;
use spellcoven_hub::client::{
    AccessToken, Connector, DialError, HubClient, HubClientBuilder, IoStream, ResumePoint,
    StartError, TokenError, TokenSource, Update,
};
use spellcoven_hub::{BoxFuture, HubEvent, Snowflake};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Gives the other end of every connection to the test; without a test that
/// takes it, dialling fails.
struct Pipes(mpsc::UnboundedSender<DuplexStream>);

impl Connector for Pipes {
    fn dial<'a>(&'a self, _: &'a Uri) -> BoxFuture<'a, Result<Box<dyn IoStream>, DialError>> {
        Box::pin(async {
            let (near, far) = tokio::io::duplex(4096);
            self.0
                .send(far)
                .map_err(|_| DialError::Connect(std::io::ErrorKind::ConnectionRefused.into()))?;
            Ok(Box::new(near) as Box<dyn IoStream>)
        })
    }
}

struct Hub {
    pipes: mpsc::UnboundedReceiver<DuplexStream>,
}

struct Connection(WebSocketStream<Compat<DuplexStream>>);

fn hub() -> (Hub, Pipes) {
    let (sender, pipes) = mpsc::unbounded_channel();
    (Hub { pipes }, Pipes(sender))
}

fn builder(pipes: Pipes, tokens: impl TokenSource) -> HubClientBuilder {
    HubClient::builder("ws://hub.test/api/ws", tokens)
        .connector(pipes)
        .seed(1)
}

impl Hub {
    async fn accept(&mut self) -> Connection {
        let pipe = self.pipes.recv().await.expect("the client dials");
        Connection(
            async_tungstenite::accept_async(pipe.compat())
                .await
                .unwrap(),
        )
    }
}

impl Connection {
    async fn read(&mut self) -> String {
        loop {
            match self.0.next().await.expect("the client is there").unwrap() {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Close(frame) => {
                    return format!("close {:?}", frame.map(|frame| u16::from(frame.code)));
                }
                _ => {}
            }
        }
    }

    async fn send(&mut self, text: String) {
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.0.close(Some(frame)).await.unwrap();
    }

    /// Takes `auth`, answers, and serves the snapshot at `seq`.
    async fn welcome(&mut self, seq: u64) {
        assert_eq!(self.read().await, r#"{"type":"auth","token":"t1"}"#);
        self.send(auth_ok("e1", seq, "")).await;
        assert_eq!(self.read().await, r#"{"type":"snapshot"}"#);
        self.send(snapshot("e1", seq)).await;
    }
}

fn auth_ok(epoch: &str, seq: u64, more: &str) -> String {
    format!(
        r#"{{"v":1,"type":"ack","event":"auth.ok","payload":{{"guildId":"1","epoch":"{epoch}","seq":{seq}{more}}},"ts":5}}"#
    )
}

fn snapshot(epoch: &str, seq: u64) -> String {
    let room = r#"{"channelId":"2","name":"two","userLimit":4,"members":[{"userId":"7"}]}"#;
    format!(
        r#"{{"v":1,"type":"event","event":"room.snapshot","payload":{{"guildId":"1","rooms":[{room}],"epoch":"{epoch}","seq":{seq}}},"ts":5}}"#
    )
}

fn joined(user: u64, seq: u64) -> String {
    format!(
        r#"{{"v":1,"type":"event","event":"voice.joined","payload":{{"guildId":"1","channelId":"2","userId":"{user}"}},"ts":5,"epoch":"e1","seq":{seq}}}"#
    )
}

fn users(client: &HubClient) -> Vec<u64> {
    let room = client
        .view()
        .room(Snowflake::new(2))
        .expect("the room is known");
    room.members
        .iter()
        .map(|member| member.user_id.get())
        .collect()
}

async fn is_pending(future: impl Future) -> bool {
    tokio::time::timeout(Duration::from_secs(3600), future)
        .await
        .is_err()
}

#[tokio::test(start_paused = true)]
async fn the_view_follows_the_updates_that_were_taken_out() {
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1").start().unwrap();
    assert!(client.view().snapshot().is_none());
    let mut connection = hub.accept().await;
    connection.welcome(7).await;
    connection.send(joined(8, 8)).await;
    assert_eq!(
        client.next().await,
        Some(Update::Connected {
            resumed: false,
            epoch: "e1".into(),
            seq: 7
        })
    );
    assert!(!client.view().is_whole());
    assert!(matches!(
        client.next().await,
        Some(Update::Snapshot { seq: 7, .. })
    ));
    assert!(client.view().is_whole());
    assert_eq!(
        users(&client),
        [7],
        "what is not taken out is not in the view"
    );
    assert!(matches!(
        client.next().await,
        Some(Update::Event {
            seq: 8,
            event: HubEvent::VoiceJoined(_),
            ..
        })
    ));
    assert_eq!(users(&client), [7, 8]);
    assert_eq!(
        client.view().channel_of(Snowflake::new(8)),
        Some(Snowflake::new(2))
    );
    assert_eq!(
        client.view().resume_point(),
        Some(ResumePoint {
            epoch: "e1".into(),
            seq: 8
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_is_resumed_and_nothing_comes_twice() {
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1").start().unwrap();
    let mut connection = hub.accept().await;
    connection.welcome(7).await;
    connection.send(joined(8, 8)).await;
    // The client's buffer holds them; the cut does not touch that.
    drop(connection);
    let mut connection = hub.accept().await;
    assert_eq!(
        connection.read().await,
        r#"{"type":"auth","token":"t1","resume":{"epoch":"e1","seq":8}}"#
    );
    connection
        .send(auth_ok("e1", 8, r#","resumed":true"#))
        .await;
    connection.send(joined(8, 8)).await;
    connection.send(joined(9, 9)).await;
    let mut seqs = Vec::new();
    while seqs.last() != Some(&9) {
        if let Some(Update::Event { seq, .. }) = client.next().await {
            seqs.push(seq);
        }
    }
    assert_eq!(seqs, [8, 9]);
    assert_eq!(users(&client), [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_given_resume_point_is_asked_for_and_the_view_says_that_it_is_not_whole() {
    let (mut hub, pipes) = hub();
    let point = ResumePoint {
        epoch: "e1".into(),
        seq: 3,
    };
    let mut client = builder(pipes, "t1").resume(Some(point)).start().unwrap();
    let mut connection = hub.accept().await;
    assert_eq!(
        connection.read().await,
        r#"{"type":"auth","token":"t1","resume":{"epoch":"e1","seq":3}}"#
    );
    connection
        .send(auth_ok("e1", 3, r#","resumed":true"#))
        .await;
    connection.send(joined(9, 4)).await;
    assert!(matches!(
        client.next().await,
        Some(Update::Connected { resumed: true, .. })
    ));
    assert!(matches!(
        client.next().await,
        Some(Update::Event { seq: 4, .. })
    ));
    assert!(!client.view().is_whole());
    client.request_snapshot();
    assert_eq!(connection.read().await, r#"{"type":"snapshot"}"#);
    connection.send(snapshot("e1", 4)).await;
    assert!(matches!(
        client.next().await,
        Some(Update::Snapshot { seq: 4, .. })
    ));
    assert!(client.view().is_whole());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stops_the_reading_and_loses_nothing() {
    const EVENTS: u64 = 2000;
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1").buffer(4).start().unwrap();
    let mut connection = hub.accept().await;
    connection.welcome(0).await;
    let flood = tokio::spawn(async move {
        for seq in 1..=EVENTS {
            connection.send(joined(100 + seq, seq)).await;
        }
        connection
    });
    // An hour goes by without a reader: the hub stays blocked, the client keeps
    // the connection.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!flood.is_finished(), "the client does not read ahead");
    let mut next = 1;
    while next <= EVENTS {
        match client.next().await.unwrap() {
            Update::Event { seq, .. } => {
                assert_eq!(seq, next);
                next += 1;
            }
            Update::Disconnected { .. } => panic!("disconnected"),
            _ => {}
        }
    }
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_five_attempts_and_a_person_can_try_again() {
    let (hub, pipes) = hub();
    drop(hub);
    let mut client = builder(pipes, "t1").start().unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let mut failures = 0;
        loop {
            match client.next().await.unwrap() {
                Update::Disconnected {
                    code: None, reason, ..
                } => {
                    assert!(
                        reason.starts_with("the hub could not be reached: "),
                        "{reason}"
                    );
                    failures += 1;
                }
                Update::GaveUp { attempts } => {
                    assert_eq!(attempts, 5);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failures, 6, "the first dial and five attempts");
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(7750) && took <= Duration::from_millis(15_500),
            "{took:?}"
        );
        assert!(is_pending(client.next()).await);
        client.reconnect();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_answers_no_websocket_is_named() {
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1").start().unwrap();
    let mut pipe = hub.pipes.recv().await.unwrap();
    let mut request = [0; 1024];
    let read = pipe.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    assert!(request.starts_with("GET /api/ws HTTP/1.1\r\n"), "{request}");
    assert!(!request.contains("t1"), "the token is not in the handshake");
    pipe.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let Some(Update::Disconnected {
        reason,
        retry_in: Some(_),
        ..
    }) = client.next().await
    else {
        panic!("disconnected");
    };
    assert_eq!(reason, "the hub answered 503 to the WebSocket request");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_never_answers_is_left_after_ten_seconds() {
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1").start().unwrap();
    let _silent = hub.pipes.recv().await.unwrap();
    let begun = Instant::now();
    assert!(matches!(
        client.next().await,
        Some(Update::Disconnected { code: None, .. })
    ));
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_that_cannot_be_replaced_stops_the_client() {
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1").start().unwrap();
    let mut connection = hub.accept().await;
    connection.welcome(0).await;
    connection.close(4401, "token_expired").await;
    let mut last = None;
    while !matches!(last, Some(Update::Unauthorized { .. })) {
        last = client.next().await;
    }
    assert_eq!(
        last,
        Some(Update::Unauthorized {
            reason: "token_expired".into()
        })
    );
    assert!(
        is_pending(hub.pipes.recv()).await,
        "nothing is dialled any more"
    );
}

/// Gives one token after the other, then errors.
struct Tokens(Arc<Mutex<VecDeque<&'static str>>>);

impl TokenSource for Tokens {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        let token = self.0.lock().unwrap().pop_front();
        Box::pin(std::future::ready(match token {
            Some(token) => Ok(AccessToken::new(token)),
            None => Err(TokenError("no more".into())),
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn another_token_takes_the_place_of_a_refused_one() {
    let (mut hub, pipes) = hub();
    let tokens = Arc::new(Mutex::new(VecDeque::from(["t1", "t2", "t3"])));
    let mut client = builder(pipes, Tokens(Arc::clone(&tokens))).start().unwrap();
    let mut connection = hub.accept().await;
    connection.welcome(5).await;
    connection.close(4401, "token_expired").await;
    let mut connection = hub.accept().await;
    assert_eq!(
        connection.read().await,
        r#"{"type":"auth","token":"t2","resume":{"epoch":"e1","seq":5}}"#
    );
    connection
        .send(auth_ok("e1", 5, r#","resumed":true"#))
        .await;
    while !matches!(
        client.next().await,
        Some(Update::Connected { resumed: true, .. })
    ) {}
    // A fresh one before the old one ends.
    client.refresh_token();
    assert_eq!(connection.read().await, r#"{"type":"auth","token":"t3"}"#);
    connection.send(auth_ok("e1", 5, "")).await;
    connection.send(joined(9, 6)).await;
    assert!(matches!(
        client.next().await,
        Some(Update::Event { seq: 6, .. })
    ));
    // A source that has none leaves the connection alone.
    client.refresh_token();
    connection.send(joined(10, 7)).await;
    assert!(matches!(
        client.next().await,
        Some(Update::Event { seq: 7, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn closing_and_dropping_say_goodbye() {
    for close in [true, false] {
        let (mut hub, pipes) = hub();
        let mut client = builder(pipes, "t1").start().unwrap();
        let mut connection = hub.accept().await;
        connection.welcome(0).await;
        assert!(matches!(
            client.next().await,
            Some(Update::Connected { .. })
        ));
        if close {
            client.close();
            assert_eq!(connection.read().await, "close Some(1000)");
            while client.next().await.is_some() {}
        } else {
            drop(client);
            assert_eq!(connection.read().await, "close Some(1000)");
        }
        assert!(hub.pipes.recv().await.is_none(), "the task is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn an_oversized_message_ends_the_connection() {
    let (mut hub, pipes) = hub();
    let mut client = builder(pipes, "t1")
        .max_message_size(10_000)
        .start()
        .unwrap();
    let mut connection = hub.accept().await;
    connection.welcome(0).await;
    let _ = connection
        .0
        .send(Message::Text("x".repeat(10_001).into()))
        .await;
    while !matches!(client.next().await, Some(Update::Disconnected { .. })) {}
}

#[tokio::test]
async fn wrong_addresses_are_told_at_the_start() {
    for wrong in [
        "",
        "/api/ws",
        "http://hub.test/api/ws",
        "ws:///x",
        "ws://user:pw@hub.test/api/ws",
    ] {
        let error = HubClient::builder(wrong, "t1").start().unwrap_err();
        assert!(matches!(error, StartError::Address), "{wrong:?}: {error:?}");
    }
}

#[test]
fn promises_in_types() {
    fn sent<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn object_safe(_: &dyn TokenSource, _: &dyn Connector) {}
    sent::<HubClient>();
    shared::<spellcoven_hub::client::HubClientHandle>();
    object_safe(&"token", &spellcoven_hub::client::TcpTlsConnector::plain());
}
