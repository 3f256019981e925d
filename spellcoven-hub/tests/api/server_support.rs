//! A hub with other implementations of each seam: rooms in memory, keys made here, a clock that is set by hand.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use async_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::Request as WsRequest},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use spellcoven_hub::{
    BoxFuture, Clock, Hub, HubSecret, Snowflake,
    server::{
        ChannelInfo, CreateRoom, CreatedRoom, HubBuilder, JwtConfig, KeySource, KeySourceError,
        Limits, RoomError, RoomService, VOICE_CHANNEL,
    },
    wire::signature,
};
use tokio::{io::DuplexStream, sync::Semaphore};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tower_service::Service;

pub(crate) const GUILD: Snowflake = Snowflake::new(1);
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "spell-coven-web";
pub(crate) const ORIGIN: &str = "https://web.example";
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// Wall time that stands still until it is set.
#[derive(Clone)]
pub(crate) struct SetClock(Arc<AtomicU64>);

impl SetClock {
    pub(crate) fn seconds(&self) -> u64 {
        self.0.load(SeqCst) / 1000
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// Rooms in memory. Failures are used up in order; a gate can hold answers back.
#[derive(Clone)]
pub(crate) struct MemoryRooms(Arc<RoomsInner>);

struct RoomsInner {
    channels: Mutex<BTreeMap<Snowflake, ChannelInfo>>,
    failures: Mutex<VecDeque<RoomError>>,
    gate: Semaphore,
    creates: AtomicUsize,
    deletes: AtomicUsize,
    look_ups: AtomicUsize,
    down: Mutex<bool>,
}

impl MemoryRooms {
    fn new() -> Self {
        Self(Arc::new(RoomsInner {
            channels: Mutex::default(),
            failures: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS >> 1),
            creates: AtomicUsize::new(0),
            deletes: AtomicUsize::new(0),
            look_ups: AtomicUsize::new(0),
            down: Mutex::new(false),
        }))
    }

    pub(crate) fn fail_next(&self, error: RoomError) {
        self.0.failures.lock().unwrap().push_back(error);
    }

    pub(crate) fn put(
        &self,
        id: u64,
        kind: u8,
        guild_id: Option<Snowflake>,
        parent_id: Option<Snowflake>,
    ) {
        let channel = ChannelInfo {
            channel_id: id.into(),
            guild_id,
            kind,
            name: "x".into(),
            parent_id,
        };
        self.0.channels.lock().unwrap().insert(id.into(), channel);
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.0.channels.lock().unwrap().contains_key(&id.into())
    }

    pub(crate) fn creates(&self) -> usize {
        self.0.creates.load(SeqCst)
    }

    pub(crate) fn deletes(&self) -> usize {
        self.0.deletes.load(SeqCst)
    }

    pub(crate) fn look_ups(&self) -> usize {
        self.0.look_ups.load(SeqCst)
    }

    /// Deleted in Discord itself.
    pub(crate) fn take(&self, id: u64) {
        self.0.channels.lock().unwrap().remove(&id.into());
    }

    pub(crate) fn set_down(&self, down: bool) {
        *self.0.down.lock().unwrap() = down;
    }

    /// Holds every answer back from now on; the change itself is done at once.
    pub(crate) fn hold(&self) {
        self.0.gate.forget_permits(usize::MAX);
    }

    pub(crate) fn release(&self) {
        self.0.gate.add_permits(1000);
    }

    async fn pass(&self) {
        self.0.gate.acquire().await.unwrap().forget();
    }

    fn failure(&self) -> Result<(), RoomError> {
        self.0
            .failures
            .lock()
            .unwrap()
            .pop_front()
            .map_or(Ok(()), Err)
    }
}

impl RoomService for MemoryRooms {
    fn create_voice_channel(
        &self,
        room: CreateRoom,
    ) -> BoxFuture<'_, Result<CreatedRoom, RoomError>> {
        Box::pin(async move {
            self.failure()?;
            let id = 1000 + self.0.creates.fetch_add(1, SeqCst) as u64;
            self.put(id, VOICE_CHANNEL, Some(GUILD), room.parent_id);
            self.pass().await;
            Ok(CreatedRoom {
                channel_id: id.into(),
                name: room.name,
                parent_id: room.parent_id,
                user_limit: room.user_limit,
            })
        })
    }

    fn delete_channel<'a>(
        &'a self,
        id: Snowflake,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), RoomError>> {
        Box::pin(async move {
            self.failure()?;
            self.0.deletes.fetch_add(1, SeqCst);
            let gone = self.0.channels.lock().unwrap().remove(&id);
            self.pass().await;
            gone.map(|_| ()).ok_or(RoomError::NotFound)
        })
    }

    fn channel(&self, id: Snowflake) -> BoxFuture<'_, Result<Option<ChannelInfo>, RoomError>> {
        Box::pin(async move {
            self.0.look_ups.fetch_add(1, SeqCst);
            if *self.0.down.lock().unwrap() {
                return Err(RoomError::Unavailable { source: None });
            }
            Ok(self.0.channels.lock().unwrap().get(&id).cloned())
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), RoomError>> {
        let down = *self.0.down.lock().unwrap();
        Box::pin(async move {
            if down {
                Err(RoomError::Unavailable { source: None })
            } else {
                Ok(())
            }
        })
    }
}

/// A JWKS that a test can change, and that counts how often it is fetched. `None`: the provider is down.
#[derive(Clone)]
pub(crate) struct Jwks {
    pub(crate) json: Arc<Mutex<Option<String>>>,
    pub(crate) fetches: Arc<AtomicUsize>,
}

impl KeySource for Jwks {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeySourceError>> {
        Box::pin(async move {
            self.fetches.fetch_add(1, SeqCst);
            // As over a network: not in the same poll.
            tokio::task::yield_now().await;
            let json = self.json.lock().unwrap().clone();
            json.map(String::into_bytes)
                .ok_or_else(|| KeySourceError::new("down"))
        })
    }
}

/// An ES256 key with its id.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self {
            kid: kid.into(),
            pair,
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_raw(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn sign_raw(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid })
    }
}

pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A hub and all that belongs to it.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) rooms: MemoryRooms,
    pub(crate) clock: SetClock,
    pub(crate) jwks: Jwks,
    pub(crate) key: SigningKey,
    delivery: AtomicU64,
}

pub(crate) fn secret(text: &str) -> HubSecret {
    HubSecret::new(text).unwrap()
}

/// A small answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with(|builder| builder.limits(limits))
    }

    pub(crate) fn with(change: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        let key = SigningKey::new("key-1");
        let jwks = Jwks {
            json: Arc::new(Mutex::new(Some(jwks(&[key.jwk()])))),
            fetches: Arc::default(),
        };
        let clock = SetClock(Arc::new(AtomicU64::new(START_MS)));
        let rooms = MemoryRooms::new();
        let builder = Hub::builder(GUILD)
            .rooms(rooms.clone())
            .key_source(jwks.clone())
            .jwt(JwtConfig {
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
            })
            .hub_secret(secret("hub-secret"))
            .allowed_origin(ORIGIN)
            .clock(clock.clone())
            .seed(7);
        let hub = change(builder).build().unwrap();
        Self {
            hub,
            rooms,
            clock,
            jwks,
            key,
            delivery: AtomicU64::new(0),
        }
    }

    pub(crate) fn claims(&self, sub: &str) -> Value {
        json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": sub, "exp": self.clock.seconds() + 3600 })
    }

    pub(crate) fn token(&self, sub: &str) -> String {
        self.key.sign(&self.key.header(), &self.claims(sub))
    }

    /// A token that ends so many seconds from now.
    pub(crate) fn token_until(&self, sub: &str, seconds: u64) -> String {
        let mut claims = self.claims(sub);
        claims["exp"] = json!(self.clock.seconds() + seconds);
        self.key.sign(&self.key.header(), &claims)
    }

    pub(crate) async fn call(&self, request: Request<Full<Bytes>>) -> Reply {
        let answer: Response<Full<Bytes>> = self.hub.service().call(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Request::get(path).body(Full::default()).unwrap())
            .await
    }

    /// With a good token.
    pub(crate) async fn authed(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let bearer = format!("Bearer {}", self.token("alice"));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", bearer);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(Full::from(body.to_owned())).unwrap())
            .await
    }

    pub(crate) async fn create(&self, body: &str) -> Reply {
        self.authed("POST", "/api/create-room", &[], body).await
    }

    pub(crate) async fn end(&self, id: u64) -> Reply {
        self.authed("DELETE", &format!("/api/end-room/{id}"), &[], "")
            .await
    }

    /// A signed post with a delivery id of its own.
    pub(crate) async fn post(&self, event: &str, payload: Value) -> Reply {
        let delivery = format!("d{}", self.delivery.fetch_add(1, SeqCst));
        self.post_as(&delivery, event, payload).await
    }

    pub(crate) async fn post_as(&self, delivery: &str, event: &str, payload: Value) -> Reply {
        let body = json!({ "event": event, "payload": payload }).to_string();
        let now = self.clock.seconds();
        let signature = signature::sign(&secret("hub-secret"), now, body.as_bytes());
        self.post_raw(&now.to_string(), &signature, Some(delivery), body)
            .await
    }

    pub(crate) async fn post_raw(
        &self,
        ts: &str,
        signature: &str,
        delivery: Option<&str>,
        body: String,
    ) -> Reply {
        let mut request = Request::post("/api/internal/events")
            .header("content-type", "application/json")
            .header("x-hub-timestamp", ts)
            .header("x-hub-signature", signature);
        if let Some(delivery) = delivery {
            request = request.header("x-hub-delivery", delivery);
        }
        self.call(request.body(Full::from(body)).unwrap()).await
    }

    pub(crate) async fn join(&self, user: u64, channel: u64) {
        let payload =
            json!({ "guildId": "1", "channelId": channel.to_string(), "userId": user.to_string() });
        assert_eq!(self.post("voice.joined", payload).await.status, 200);
    }

    /// One in-memory connection to the hub.
    pub(crate) fn connect(&self, buffer: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(buffer);
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.serve_connection(server).await });
        client
    }

    pub(crate) async fn socket(&self) -> Socket {
        self.socket_with(64 * 1024, |_| {}).await
    }

    pub(crate) async fn socket_with(
        &self,
        buffer: usize,
        change: impl FnOnce(&mut WsRequest<()>),
    ) -> Socket {
        let mut request = "ws://hub.example/api/ws".into_client_request().unwrap();
        change(&mut request);
        let (ws, answer) = client_async(request, self.connect(buffer).compat())
            .await
            .unwrap();
        let protocol = answer.headers().get("sec-websocket-protocol").cloned();
        Socket {
            ws,
            protocol: protocol.map(|value| value.to_str().unwrap().to_owned()),
        }
    }

    /// A socket that has been through `auth`, with the payload of the answer.
    pub(crate) async fn authed_socket(&self, sub: &str) -> (Socket, Value) {
        let mut socket = self.socket().await;
        let ack = socket.auth(&self.token(sub), None).await;
        assert_eq!(ack["event"], "auth.ok", "{ack}");
        let payload = ack["payload"].clone();
        (socket, payload)
    }
}

/// A client's side of `/api/ws`.
pub(crate) struct Socket {
    pub(crate) ws: WebSocketStream<Compat<DuplexStream>>,
    pub(crate) protocol: Option<String>,
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.ws
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    pub(crate) async fn auth(&mut self, token: &str, resume: Option<Value>) -> Value {
        let mut message = json!({ "type": "auth", "token": token });
        if let Some(resume) = resume {
            message["resume"] = resume;
        }
        self.send(message).await;
        self.next().await
    }

    /// The next text message.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text message: {other:?}"),
            }
        }
    }

    /// The close code and reason, whatever comes before.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Asserts that nothing is waiting: a snapshot asked for now is the next thing to come.
    pub(crate) async fn nothing_before_snapshot(&mut self) -> Value {
        self.send(json!({ "type": "snapshot" })).await;
        let message = self.next().await;
        assert_eq!(message["event"], "room.snapshot", "{message}");
        message
    }
}
