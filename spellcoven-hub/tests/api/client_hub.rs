//! Forwarder, hub and client together, over in-memory pipes and paused time:
//! whatever breaks in between, the client ends with the truth and sees every
//! number once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use spellcoven_hub::client::{
    Connector, DialError, HubClient, HubClientBuilder, IoStream, RoomsView, Update,
};
use spellcoven_hub::forward::{Forwarder, PostAnswer, PostError, Poster};
use spellcoven_hub::server::{
    ChannelInfo, CreateRoom, CreatedRoom, JwtConfig, KeySource, KeySourceError, Limits, RoomError,
    RoomService,
};
use spellcoven_hub::wire::{RoomDeleted, RoomPayload, VoiceJoined, VoiceLeft, VoiceUpdated};
use spellcoven_hub::{BoxFuture, Clock, GuildSnapshot, Hub, HubEvent, HubSecret, Snowflake};
use tower_service::Service;

const GUILD: Snowflake = Snowflake::new(1);
const NOW_MS: u64 = 1_700_000_000_000;

/// Wall time that goes with tokio's.
#[derive(Clone)]
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        NOW_MS + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// The API is not used here.
struct NoRooms;

impl RoomService for NoRooms {
    fn create_voice_channel(&self, _: CreateRoom) -> BoxFuture<'_, Result<CreatedRoom, RoomError>> {
        Box::pin(async { Err(RoomError::Forbidden) })
    }

    fn delete_channel<'a>(
        &'a self,
        _: Snowflake,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), RoomError>> {
        Box::pin(async { Err(RoomError::Forbidden) })
    }

    fn channel(&self, _: Snowflake) -> BoxFuture<'_, Result<Option<ChannelInfo>, RoomError>> {
        Box::pin(async { Ok(None) })
    }
}

/// An identity provider with one ES256 key.
struct Identity {
    key: EcdsaKeyPair,
}

#[derive(Clone)]
struct Jwks(String);

impl KeySource for Jwks {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeySourceError>> {
        Box::pin(std::future::ready(Ok(self.0.clone().into_bytes())))
    }
}

impl Identity {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        Self { key }
    }

    fn jwks(&self) -> Jwks {
        let point = self.key.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        Jwks(format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig","x":"{x}","y":"{y}"}}]}}"#
        ))
    }

    fn token(&self, expires_in_s: u64) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"iss":"issuer","aud":"app","sub":"user","exp":{}}}"#,
            NOW_MS / 1000 + expires_in_s
        );
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// The hub that stands at the moment, and the way to it.
#[derive(Clone)]
struct Site {
    hub: Arc<Mutex<Option<Hub>>>,
    clock: TokioClock,
    jwks: Jwks,
    cuts: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    ring_events: usize,
}

impl Site {
    fn new(identity: &Identity, ring_events: usize) -> Self {
        let site = Self {
            hub: Arc::default(),
            clock: TokioClock(tokio::time::Instant::now()),
            jwks: identity.jwks(),
            cuts: Arc::default(),
            ring_events,
        };
        site.start();
        site
    }

    fn start(&self) {
        let hub = Hub::builder(GUILD)
            .rooms(NoRooms)
            .key_source(self.jwks.clone())
            .jwt(JwtConfig {
                issuer: "issuer".into(),
                audience: "app".into(),
            })
            .hub_secret(secret())
            .clock(self.clock.clone())
            .limits(Limits {
                ring_events: self.ring_events,
                ..Limits::default()
            })
            .build()
            .unwrap();
        *self.hub.lock().unwrap() = Some(hub);
    }

    /// The hub is gone, without a word.
    fn stop(&self) {
        self.cut();
        self.hub.lock().unwrap().take();
    }

    fn hub(&self) -> Option<Hub> {
        self.hub.lock().unwrap().clone()
    }

    /// Breaks every WebSocket.
    fn cut(&self) {
        self.cuts
            .lock()
            .unwrap()
            .drain(..)
            .for_each(|cut| cut.abort());
    }
}

impl Connector for Site {
    fn dial<'a>(&'a self, _: &'a Uri) -> BoxFuture<'a, Result<Box<dyn IoStream>, DialError>> {
        Box::pin(async {
            let refused = || DialError::Connect(std::io::ErrorKind::ConnectionRefused.into());
            let hub = self.hub().ok_or_else(refused)?;
            let (near, mut wire) = tokio::io::duplex(16 * 1024);
            let (far, mut other_wire) = tokio::io::duplex(16 * 1024);
            let relay = tokio::spawn(async move {
                tokio::io::copy_bidirectional(&mut wire, &mut other_wire).await
            });
            self.cuts.lock().unwrap().push(relay.abort_handle());
            tokio::spawn(async move { hub.serve_connection(far).await });
            Ok(Box::new(near) as Box<dyn IoStream>)
        })
    }
}

impl Poster for Site {
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
        Box::pin(async {
            let hub = self
                .hub()
                .ok_or_else(|| PostError::Transport("the hub is away".into()))?;
            let mut request = Request::new(Full::new(body));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from_static("/api/internal/events");
            *request.headers_mut() = headers;
            let answer = hub
                .service()
                .call(request)
                .await
                .unwrap_or_else(|never| match never {});
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok(PostAnswer::from_parts(&parts, body))
        })
    }
}

fn secret() -> HubSecret {
    HubSecret::new("change-me").unwrap()
}

fn forwarder(site: &Site) -> Forwarder {
    Forwarder::builder("http://hub.test/api/internal/events", secret(), GUILD)
        .poster(site.clone())
        .clock(site.clock.clone())
        .outbox_limit(8)
        .seed(1)
        .start()
        .unwrap()
}

fn client(site: &Site, token: String) -> HubClientBuilder {
    HubClient::builder("ws://hub.test/api/ws", token)
        .connector(site.clone())
        .seed(1)
}

/// The guild as it truly is, and what happens in it.
struct World {
    rng: fastrand::Rng,
    next_channel: u64,
    rooms: Vec<u64>,
    people: BTreeMap<u64, (u64, bool)>,
    view: RoomsView,
}

impl World {
    fn new(seed: u64) -> Self {
        let empty = GuildSnapshot {
            guild_id: GUILD,
            rooms: vec![],
        };
        let mut view = RoomsView::new();
        view.apply(&Update::Snapshot {
            epoch: "".into(),
            seq: 0,
            snapshot: empty,
        });
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            rng,
            next_channel: 100,
            rooms: vec![],
            people: BTreeMap::new(),
            view,
        }
    }

    fn snapshot(&self) -> GuildSnapshot {
        self.view.snapshot().unwrap()
    }

    fn tell(&mut self, forwarder: &Forwarder, event: HubEvent) {
        self.view.apply(&Update::Event {
            seq: 0,
            epoch: "".into(),
            ts: 0,
            event: event.clone(),
        });
        forwarder.send(event);
    }

    fn leave(&mut self, forwarder: &Forwarder, user: u64) {
        if let Some((channel, _)) = self.people.remove(&user) {
            let (channel_id, user_id) = (Some(channel.into()), user.into());
            self.tell(
                forwarder,
                HubEvent::VoiceLeft(VoiceLeft {
                    guild_id: GUILD,
                    channel_id,
                    user_id,
                }),
            );
        }
    }

    fn step(&mut self, forwarder: &Forwarder) {
        let user = self.rng.u64(10..16);
        match self.rng.u8(..10) {
            0 | 1 if self.rooms.len() < 6 => {
                self.next_channel += 1;
                self.rooms.push(self.next_channel);
                let room = RoomPayload {
                    channel_id: self.next_channel.into(),
                    name: format!("room {}", self.next_channel),
                    guild_id: GUILD,
                    parent_id: None,
                    user_limit: 4,
                };
                self.tell(forwarder, HubEvent::RoomCreated(room));
            }
            2 if !self.rooms.is_empty() => {
                let room = self.rooms.swap_remove(self.rng.usize(..self.rooms.len()));
                let inside: Vec<u64> = self
                    .people
                    .iter()
                    .filter(|(_, at)| at.0 == room)
                    .map(|(user, _)| *user)
                    .collect();
                inside
                    .into_iter()
                    .for_each(|user| self.leave(forwarder, user));
                self.tell(
                    forwarder,
                    HubEvent::RoomDeleted(RoomDeleted {
                        channel_id: room.into(),
                        guild_id: GUILD,
                    }),
                );
            }
            3 | 4 => self.leave(forwarder, user),
            5 => {
                if let Some((channel, mute)) = self.people.get_mut(&user) {
                    *mute = !*mute;
                    let updated = VoiceUpdated {
                        guild_id: GUILD,
                        channel_id: (*channel).into(),
                        user_id: user.into(),
                        self_mute: *mute,
                        self_deaf: false,
                        self_video: false,
                    };
                    self.tell(forwarder, HubEvent::VoiceUpdated(updated));
                }
            }
            _ if !self.rooms.is_empty() => {
                let room = self.rooms[self.rng.usize(..self.rooms.len())];
                if self.people.get(&user).is_some_and(|at| at.0 == room) {
                    return;
                }
                self.leave(forwarder, user);
                self.people.insert(user, (room, false));
                let joined = VoiceJoined {
                    guild_id: GUILD,
                    channel_id: room.into(),
                    user_id: user.into(),
                    self_mute: Some(false),
                    self_deaf: Some(false),
                    self_video: Some(false),
                };
                self.tell(forwarder, HubEvent::VoiceJoined(joined));
            }
            _ => {}
        }
    }
}

/// Checks that within an epoch every number comes once and in order.
#[derive(Default)]
struct Sequence {
    at: Option<(Arc<str>, u64)>,
    events: u64,
    resumes: u64,
}

impl Sequence {
    fn check(&mut self, update: &Update) {
        match update {
            Update::Snapshot { epoch, seq, .. } => {
                if let Some((known, at)) = &self.at
                    && known == epoch
                {
                    assert!(seq >= at, "a snapshot from before: {seq} after {at}");
                }
                self.at = Some((Arc::clone(epoch), *seq));
            }
            Update::Event { epoch, seq, .. } => {
                let (known, at) = self.at.as_ref().expect("a snapshot came first");
                assert_eq!(
                    (epoch, *seq),
                    (known, at + 1),
                    "each number once and in order"
                );
                self.at = Some((Arc::clone(epoch), *seq));
                self.events += 1;
            }
            Update::Connected { resumed: true, .. } => self.resumes += 1,
            Update::Unauthorized { .. } | Update::Raw { .. } => {
                panic!("{update:?}")
            }
            _ => {}
        }
    }
}

/// Takes updates until none comes for this long.
async fn drain(client: &mut HubClient, sequence: &mut Sequence, quiet: Duration) {
    while let Ok(update) = tokio::time::timeout(quiet, client.next()).await {
        let update = update.expect("the client runs");
        sequence.check(&update);
        if matches!(update, Update::GaveUp { .. }) {
            // The person.
            client.reconnect();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_the_client_at_once() {
    let identity = Identity::new();
    let site = Site::new(&identity, 100);
    let forwarder = forwarder(&site);
    let mut world = World::new(1);
    forwarder.snapshot(world.snapshot());
    let mut client = client(&site, identity.token(3600)).start().unwrap();
    let mut sequence = Sequence::default();
    drain(&mut client, &mut sequence, Duration::from_secs(1)).await;
    let room = RoomPayload {
        channel_id: Snowflake::new(2),
        name: "two".into(),
        guild_id: GUILD,
        parent_id: None,
        user_limit: 4,
    };
    let before = tokio::time::Instant::now();
    world.tell(&forwarder, HubEvent::RoomCreated(room.clone()));
    let update = client.next().await.unwrap();
    assert!(
        matches!(&update, Update::Event { seq: 1, event: HubEvent::RoomCreated(told), .. } if *told == room)
    );
    assert_eq!(before.elapsed(), Duration::ZERO, "no timer is in the way");
    assert_eq!(client.view().snapshot(), Some(world.snapshot()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_told_as_such() {
    let identity = Identity::new();
    let site = Site::new(&identity, 100);
    let mut client = client(&site, Identity::new().token(3600)).start().unwrap();
    assert!(matches!(
        client.next().await,
        Some(Update::Disconnected {
            code: Some(4401),
            retry_in: None,
            ..
        })
    ));
    assert_eq!(
        client.next().await,
        Some(Update::Unauthorized {
            reason: "unauthorized".into()
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_ends_the_connection() {
    let identity = Identity::new();
    let site = Site::new(&identity, 100);
    let mut client = client(&site, identity.token(60)).start().unwrap();
    let mut last = client.next().await;
    while !matches!(last, Some(Update::Unauthorized { .. })) {
        last = client.next().await;
    }
    assert_eq!(
        last,
        Some(Update::Unauthorized {
            reason: "token_expired".into()
        })
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_breaks_the_client_ends_with_the_truth() {
    let mut resumes = 0;
    for seed in 0..30 {
        eprintln!("seed {seed}");
        let identity = Identity::new();
        let mut rng = fastrand::Rng::with_seed(seed);
        let site = Site::new(&identity, rng.usize(1..20));
        let forwarder = forwarder(&site);
        let mut world = World::new(seed);
        forwarder.snapshot(world.snapshot());
        let mut client = client(&site, identity.token(86_400))
            .buffer(rng.usize(1..8))
            .start()
            .unwrap();
        let mut sequence = Sequence::default();
        for _ in 0..80 {
            match rng.u8(..24) {
                0 => site.cut(),
                1 => {
                    site.stop();
                    tokio::time::sleep(Duration::from_millis(rng.u64(..3000))).await;
                    site.start();
                }
                2..5 => {
                    drain(
                        &mut client,
                        &mut sequence,
                        Duration::from_millis(rng.u64(..1500)),
                    )
                    .await
                }
                _ => (0..rng.usize(1..6)).for_each(|_| world.step(&forwarder)),
            }
        }
        drain(&mut client, &mut sequence, Duration::from_secs(20)).await;
        assert_eq!(
            client.view().snapshot(),
            Some(world.snapshot()),
            "seed {seed}"
        );
        assert!(client.view().is_whole());
        assert!(sequence.events > 0);
        resumes += sequence.resumes;
        assert!(forwarder.status().healthy, "{:?}", forwarder.status());
    }
    assert!(
        resumes > 10,
        "only {resumes} resumes: the test has lost its point"
    );
}

/// The default poster and the default connector over real sockets.
#[tokio::test]
async fn it_works_over_tcp() {
    let identity = Identity::new();
    let hub = Hub::builder(GUILD)
        .rooms(NoRooms)
        .key_source(identity.jwks())
        .jwt(JwtConfig {
            issuer: "issuer".into(),
            audience: "app".into(),
        })
        .hub_secret(secret())
        .clock(TokioClock(tokio::time::Instant::now()))
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server =
        tokio::spawn(async move { hub.serve(listener, async { drop(stopped.await) }).await });

    let forwarder = Forwarder::builder(
        format!("http://{address}/api/internal/events"),
        secret(),
        GUILD,
    )
    .clock(TokioClock(tokio::time::Instant::now()))
    .start()
    .unwrap();
    let mut world = World::new(1);
    forwarder.snapshot(world.snapshot());
    let mut client = HubClient::builder(format!("ws://{address}/api/ws"), identity.token(3600))
        .start()
        .unwrap();
    while !matches!(client.next().await, Some(Update::Snapshot { .. })) {}
    (0..200).for_each(|_| world.step(&forwarder));
    while client.view().snapshot() != Some(world.snapshot()) {
        assert!(client.next().await.is_some());
    }
    assert!(forwarder.shutdown(Duration::from_secs(10)).await);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    while !matches!(
        client.next().await,
        Some(Update::Disconnected {
            code: Some(1001),
            ..
        })
    ) {}
}
