//! Discord, hub and worker as hosts on a network in memory. Killing a host is what `kill -9` is.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;
use spellcoven_devkit::{
    clock::VirtualClock,
    idp::IdentityProvider,
    net::{MemoryHost, MemoryHttpError, MemoryNet, MemoryPoster},
};
use spellcoven_discord_gateway::{self as gateway, Compression, GuildTracker, Shard, ShardHandle};
use spellcoven_discord_rest::{self as rest, DiscordRestClient};
use spellcoven_discord_sim::{Bot, ChannelId, GuildId, Sim, SimBuilder, UserId};
use spellcoven_hub::{
    BoxFuture, Clock, HubSecret, Snowflake,
    forward::{ForwardStatus, Forwarder, gateway::run},
    server::{DiscordRooms, Hub, JwtConfig, KeySource, KeySourceError},
};
use tokio::task::{AbortHandle, JoinSet};

use super::observer::{Model, Observer};

/// 2026-11-25, so that ids and certificates look as they would.
const START_MS: u64 = 1_795_600_000_000;
const SECRET: &str = "a secret of the tests and of nothing else";
pub(crate) const ISSUER: &str = "http://identity";
pub(crate) const AUDIENCE: &str = "app";

/// Everything that runs.
pub(crate) struct Cloud {
    pub(crate) sim: Sim,
    pub(crate) guild: GuildId,
    pub(crate) bot: Bot,
    pub(crate) lobby: ChannelId,
    pub(crate) people: Vec<UserId>,
    pub(crate) net: MemoryNet,
    pub(crate) rng: fastrand::Rng,
    /// How workers ask Discord to compress.
    pub(crate) compression: Compression,
    identity: IdentityProvider,
    clock: VirtualClock,
    discord: Process,
    hub: Option<Process>,
    worker: Option<(Process, ShardHandle, Forwarder)>,
}

/// Tasks on a host.
struct Process {
    host: MemoryHost,
    tasks: AbortHandle,
}

impl Process {
    fn start(host: MemoryHost, run: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            host,
            tasks: tokio::spawn(run).abort_handle(),
        }
    }

    fn kill(&self) {
        self.host.kill();
        self.tasks.abort();
    }
}

/// The identity provider's keys without a network between.
struct Keys(IdentityProvider);

impl KeySource for Keys {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeySourceError>> {
        Box::pin(std::future::ready(Ok(self.0.jwks().into_bytes())))
    }
}

impl Cloud {
    /// Discord with a guild, a lobby and four people, and nothing else yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |sim| sim)
    }

    pub(crate) fn with(seed: u64, settings: impl FnOnce(SimBuilder) -> SimBuilder) -> Self {
        let clock = VirtualClock::starting_at(START_MS);
        let sim = settings(
            Sim::builder()
                .seed(seed)
                .start_time(START_MS)
                .public_url("http://discord")
                .settings(|settings| settings.resume_url = Some("ws://resume.discord".to_owned())),
        )
        .build();
        let guild = sim.add_guild("Spellcoven");
        let bot = sim.add_bot("bot", guild);
        let lobby = sim.add_voice_channel(guild, "Lobby");
        let people = ["alice", "bob", "carol", "dave"]
            .map(|name| sim.add_person(name, guild))
            .to_vec();
        let net = MemoryNet::default();
        let discord = serve_discord(&net, &sim);
        let identity =
            IdentityProvider::new(ISSUER, AUDIENCE).expect("the system gives randomness");
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            sim,
            guild,
            bot,
            lobby,
            people,
            net,
            rng,
            compression: Compression::default(),
            identity,
            clock,
            discord,
            hub: None,
            worker: None,
        }
    }

    /// Takes Discord away, REST and Gateway; what it knows stays.
    pub(crate) fn stop_discord(&self) {
        self.discord.kill();
    }

    pub(crate) fn start_discord(&mut self) {
        self.discord = serve_discord(&self.net, &self.sim);
    }

    pub(crate) fn start_hub(&mut self) {
        let keys = Keys(self.identity.clone());
        self.start_hub_with(keys);
    }

    pub(crate) fn start_hub_with(&mut self, keys: impl KeySource) {
        let host = self.net.host();
        let token = rest::BotToken::new(self.bot.token.clone()).unwrap();
        let client = DiscordRestClient::builder(token)
            .base_url("http://discord/api/v10")
            .transport(host.clone())
            .seed(self.rng.u64(..))
            .build()
            .unwrap();
        let guild = Snowflake::new(self.guild.0);
        let hub = Hub::builder(guild)
            .rooms(DiscordRooms::new(client, guild))
            .key_source(keys)
            .jwt(JwtConfig {
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
            })
            .hub_secret(HubSecret::new(SECRET).unwrap())
            .allowed_origin("https://app.example")
            .clock(self.clock)
            .seed(self.rng.u64(..))
            .build()
            .unwrap();
        let mut listener = host.listen("hub");
        self.hub = Some(Process::start(host, async move {
            let mut connections = JoinSet::new();
            while let Some(stream) = listener.accept().await {
                let hub = hub.clone();
                connections.spawn(async move { hub.serve_connection(stream).await });
            }
        }));
    }

    pub(crate) fn kill_hub(&mut self) {
        if let Some(hub) = self.hub.take() {
            hub.kill();
        }
    }

    pub(crate) fn start_worker(&mut self) {
        let host = self.net.host();
        let endpoint = http::Uri::from_static("http://hub/api/internal/events");
        let secret = HubSecret::new(SECRET).unwrap();
        let forwarder =
            Forwarder::builder(endpoint.to_string(), secret, Snowflake::new(self.guild.0))
                .poster(MemoryPoster {
                    host: host.clone(),
                    endpoint,
                })
                .clock(self.clock)
                .seed(self.rng.u64(..))
                .start()
                .unwrap();
        let mut shard = Shard::builder(gateway::BotToken::new(self.bot.token.clone()))
            .gateway_url("ws://discord")
            .connector(host.clone())
            .compression(self.compression)
            .seed(self.rng.u64(..))
            .start();
        let handle = shard.handle();
        let forward = forwarder.clone();
        let process = Process::start(host, async move {
            // It ends where Discord refuses for good; whoever keeps the process running starts it again.
            let _ = run(&mut shard, &mut GuildTracker::default(), &forward).await;
        });
        self.worker = Some((process, handle, forwarder));
    }

    pub(crate) fn kill_worker(&mut self) {
        if let Some((process, ..)) = self.worker.take() {
            process.kill();
        }
    }

    pub(crate) fn shard(&self) -> &ShardHandle {
        &self.worker.as_ref().expect("a worker runs").1
    }

    pub(crate) fn forward_status(&self) -> ForwardStatus {
        self.worker.as_ref().expect("a worker runs").2.status()
    }

    pub(crate) fn token(&self, user: &str) -> String {
        self.identity.issue_at(
            user,
            self.clock.now_ms() / 1000,
            Duration::from_secs(30 * 24 * 3600),
        )
    }

    pub(crate) fn observer(&mut self, user: &str) -> Observer {
        let host = self.net.host();
        let token = self.token(user);
        Observer::start(&host, token, self.rng.u64(..))
    }

    /// One call of the hub's API.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, Value), MemoryHttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://hub{path}"))
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.token("tester")),
            );
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        let answer = self.net.host().request(request).await?;
        Ok((
            answer.status(),
            serde_json::from_slice(answer.body()).unwrap_or_default(),
        ))
    }

    pub(crate) fn truth(&self) -> Model {
        Model::of(&self.sim, self.guild)
    }

    /// Lets virtual time pass until every observer's model is what Discord holds; the time it took, or `None` after
    /// ten minutes.
    pub(crate) async fn settle(&self, observers: &[Observer]) -> Option<Duration> {
        const STEP: Duration = Duration::from_millis(50);
        for step in 0..12_000 {
            let truth = self.truth();
            if observers.iter().all(|observer| observer.agrees(&truth)) {
                return Some(STEP * step);
            }
            tokio::time::sleep(STEP).await;
        }
        None
    }

    /// What a failed test prints: enough to see it happen again.
    pub(crate) fn story(&self) -> String {
        let journal = self.sim.journal();
        let last = journal.entries().iter().rev().take(60).rev();
        last.map(|entry| format!("{entry}\n")).collect()
    }
}

fn serve_discord(net: &MemoryNet, sim: &Sim) -> Process {
    let host = net.host();
    let mut main = host.listen("discord");
    let mut resumes = host.listen("resume.discord");
    let sim = sim.clone();
    Process::start(host, async move {
        let mut connections = JoinSet::new();
        loop {
            let sim = sim.clone();
            tokio::select! {
                biased;
                Some(stream) = main.accept() => {
                    connections.spawn(async move { sim.serve_connection(stream).await });
                }
                Some(stream) = resumes.accept() => {
                    connections.spawn(async move { sim.serve_resume_connection(stream).await });
                }
                else => break,
            }
        }
    })
}
