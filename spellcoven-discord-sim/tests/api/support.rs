//! Raw clients: a WebSocket client on a pipe, and a REST client on a pipe.

use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use spellcoven_discord_sim::{Bot, ChannelId, GuildId, Request, Response, Sim, SimBuilder, UserId};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

pub(crate) const USER_AGENT: &str = "DiscordBot (https://example.org, 1.0)";
/// GUILDS and GUILD_VOICE_STATES.
pub(crate) const INTENTS: u64 = 129;

/// A guild with a lobby, a bot and a person.
pub(crate) struct Scene {
    pub(crate) sim: Sim,
    pub(crate) guild: GuildId,
    pub(crate) bot: Bot,
    pub(crate) lobby: ChannelId,
    pub(crate) alice: UserId,
}

pub(crate) fn scene() -> Scene {
    scene_with(|builder| builder)
}

pub(crate) fn scene_with(change: impl FnOnce(SimBuilder) -> SimBuilder) -> Scene {
    let builder = Sim::builder().seed(7).start_time(1_795_392_000_000);
    let sim = change(builder).build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let lobby = sim.add_voice_channel(guild, "Lobby");
    let alice = sim.add_person("alice", guild);
    Scene {
        sim,
        guild,
        bot,
        lobby,
        alice,
    }
}

impl Scene {
    pub(crate) fn call(&self, method: &str, path: &str) -> Request {
        Request::new(method, &format!("/api/v10{path}"))
            .bot(&self.bot.token)
            .header("user-agent", USER_AGENT)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.sim.rest(&self.call("GET", path))
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        self.sim.rest(&self.call(method, path).json(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Response {
        self.sim.rest(&self.call("DELETE", path))
    }

    pub(crate) fn create(&self, body: &Value) -> Response {
        self.send("POST", &format!("/guilds/{}/channels", self.guild), body)
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(&self.sim, "v=10&encoding=json").await
    }

    /// A client that is identified and has read its GUILD_CREATE.
    pub(crate) async fn ready(&self) -> Client {
        self.ready_with(INTENTS).await
    }

    pub(crate) async fn ready_with(&self, intents: u64) -> Client {
        let mut client = self.connect().await;
        client.hello().await;
        client.identify(&self.bot.token, intents).await;
        client.expect("READY").await;
        client.expect("GUILD_CREATE").await;
        client
    }
}

/// What a client reads.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    Payload(Value),
    Closed(u16, String),
    /// A message that is no payload; why.
    Malformed(String),
    Dropped,
}

pub(crate) type Pipe = Compat<DuplexStream>;

pub(crate) struct Client<S = Pipe> {
    pub(crate) ws: WebSocketStream<S>,
    pub(crate) session: String,
    pub(crate) seq: u64,
    /// The raw text of the last payload.
    pub(crate) raw: String,
    inflate: Inflate,
    /// Whether the last payload was a binary message.
    pub(crate) was_binary: bool,
    /// Whether the start times of voice channels are read.
    pub(crate) start_times: bool,
    /// Pings that came.
    pub(crate) pings: u32,
}

/// How a client reads binary messages; of a shape of its own, nothing of the simulator's.
enum Inflate {
    Payloads,
    Zlib(flate2::Decompress, Vec<u8>),
    Zstd(zstd_safe::DCtx<'static>),
}

impl Inflate {
    fn asked_for(query: &str) -> Self {
        if query.contains("compress=zlib-stream") {
            Self::Zlib(flate2::Decompress::new(true), Vec::new())
        } else if query.contains("compress=zstd-stream") {
            Self::Zstd(zstd_safe::DCtx::create())
        } else {
            Self::Payloads
        }
    }

    /// The payload; `None` while it is not complete.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut out = Vec::with_capacity(1 << 20);
        match self {
            Self::Payloads => {
                flate2::Decompress::new(true)
                    .decompress_vec(bytes, &mut out, flate2::FlushDecompress::Finish)
                    .map_err(|error| error.to_string())?;
            }
            Self::Zlib(stream, held) => {
                held.extend_from_slice(bytes);
                if !held.ends_with(&[0, 0, 0xFF, 0xFF]) {
                    return Ok(None);
                }
                stream
                    .decompress_vec(held, &mut out, flate2::FlushDecompress::Sync)
                    .map_err(|error| error.to_string())?;
                held.clear();
            }
            Self::Zstd(context) => {
                let mut input = zstd_safe::InBuffer::around(bytes);
                while input.pos() < bytes.len() {
                    let at = out.len();
                    let mut target = zstd_safe::OutBuffer::around_pos(&mut out, at);
                    context
                        .decompress_stream(&mut target, &mut input)
                        .map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
                }
            }
        }
        Ok(Some(out))
    }
}

impl Client {
    pub(crate) async fn connect(sim: &Sim, query: &str) -> Self {
        Self::connect_with_pipe(sim, query, 1 << 20).await
    }

    pub(crate) async fn connect_with_pipe(sim: &Sim, query: &str, size: usize) -> Self {
        let (ours, theirs) = tokio::io::duplex(size);
        let serving = sim.clone();
        tokio::spawn(async move { serving.serve_connection(theirs).await });
        Self::over(ours, query).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<Compat<S>> {
    pub(crate) async fn over(io: S, query: &str) -> Self {
        let url = format!("ws://discord.invalid/?{query}");
        let (ws, _) = async_tungstenite::client_async(url, io.compat())
            .await
            .unwrap();
        Self {
            ws,
            session: String::new(),
            seq: 0,
            raw: String::new(),
            inflate: Inflate::asked_for(query),
            was_binary: false,
            start_times: false,
            pings: 0,
        }
    }

    /// What comes next. The start times of voice channels, which come with every first and last one in a channel, are
    /// passed over unless the test asks for them.
    pub(crate) async fn read(&mut self) -> Read {
        loop {
            match self.read_all().await {
                Read::Payload(payload)
                    if !self.start_times && payload["t"] == "VOICE_CHANNEL_START_TIME_UPDATE" => {}
                read => return read,
            }
        }
    }

    async fn read_all(&mut self) -> Read {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Text(text))) => {
                    self.was_binary = false;
                    return self.take(text.to_string());
                }
                Some(Ok(Message::Binary(bytes))) => match self.inflate.read(&bytes) {
                    Ok(None) => {}
                    Ok(Some(payload)) => {
                        self.was_binary = true;
                        return self.take(String::from_utf8(payload).unwrap());
                    }
                    Err(error) => return Read::Malformed(error),
                },
                Some(Ok(Message::Ping(_))) => self.pings += 1,
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |f| {
                        (f.code.into(), f.reason.to_string())
                    });
                    return Read::Closed(code, reason);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Read::Dropped,
            }
        }
    }

    fn take(&mut self, text: String) -> Read {
        self.raw = text;
        let value: Value = match serde_json::from_str(&self.raw) {
            Ok(value) => value,
            Err(error) => return Read::Malformed(error.to_string()),
        };
        if let Some(seq) = value["s"].as_u64() {
            self.seq = seq;
        }
        if value["t"] == "READY" {
            self.session = value["d"]["session_id"].as_str().unwrap().to_owned();
        }
        Read::Payload(value)
    }

    pub(crate) async fn payload(&mut self) -> Value {
        match self.read().await {
            Read::Payload(value) => value,
            other => panic!("no payload but {other:?}"),
        }
    }

    /// The next payload, an event of this name; its data.
    pub(crate) async fn expect(&mut self, t: &str) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["t"], t, "{payload}");
        assert_eq!(payload["op"], 0);
        payload["d"].clone()
    }

    /// The next payload, of this opcode; its data.
    pub(crate) async fn expect_op(&mut self, op: u64) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["op"], op, "{payload}");
        payload["d"].clone()
    }

    pub(crate) async fn closed(&mut self) -> u16 {
        match self.read().await {
            Read::Closed(code, _) => code,
            other => panic!("not closed but {other:?}"),
        }
    }

    /// Nothing comes for a second.
    pub(crate) async fn silent(&mut self) {
        let read = tokio::time::timeout(Duration::from_secs(1), self.read()).await;
        assert!(read.is_err(), "not silent: {read:?}");
    }

    pub(crate) async fn send(&mut self, op: u64, d: &Value) {
        self.send_text(json!({"op": op, "d": d}).to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn hello(&mut self) -> u64 {
        self.expect_op(10).await["heartbeat_interval"]
            .as_u64()
            .unwrap()
    }

    pub(crate) async fn identify(&mut self, token: &str, intents: u64) {
        self.send(2, &identify(token, intents)).await;
    }

    pub(crate) async fn resume(&mut self, token: &str, session: &str, seq: u64) {
        self.send(
            6,
            &json!({"token": token, "session_id": session, "seq": seq}),
        )
        .await;
    }

    pub(crate) async fn heartbeat(&mut self) {
        let seq = if self.seq == 0 {
            Value::Null
        } else {
            json!(self.seq)
        };
        self.send(1, &seq).await;
    }

    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.ws.send(Message::Close(Some(frame))).await.unwrap();
        while !matches!(self.read().await, Read::Dropped) {}
    }
}

pub(crate) fn identify(token: &str, intents: u64) -> Value {
    json!({
        "token": token, "intents": intents,
        "properties": {"os": "linux", "browser": "test", "device": "test"},
    })
}

/// REST over a pipe.
pub(crate) struct Http {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Http {
    pub(crate) async fn connect(sim: &Sim) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = sim.clone();
        tokio::spawn(async move { serving.serve_connection(theirs).await });
        Self::over(ours).await
    }

    pub(crate) async fn over<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: T) -> Self {
        let io = hyper_util::rt::TokioIo::new(io);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<(u16, hyper::HeaderMap, Bytes), hyper::Error> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "discord.invalid")
            .header("user-agent", USER_AGENT);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bot {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        self.sender.ready().await?;
        let response = self
            .sender
            .send_request(request.body(body).unwrap())
            .await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((parts.status.as_u16(), parts.headers, body))
    }
}
