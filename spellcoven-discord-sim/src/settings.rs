//! Every number and switch of a simulated Discord.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::intents::Intents;

/// In which order a voice channel with people in it is deleted. Discord's order is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeleteOrder {
    /// VOICE_STATE_UPDATE with a null channel for each occupant, then CHANNEL_DELETE.
    #[default]
    VoiceStatesFirst,
    /// CHANNEL_DELETE, then the voice states.
    ChannelFirst,
}

/// A fixed window: so many requests from the first one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in a window. At least 1.
    pub limit: u32,
    /// Length of the window, counted from its first request.
    pub window: Duration,
}

impl RateLimit {
    /// `limit` requests in `seconds`.
    #[must_use]
    pub const fn per_seconds(limit: u32, seconds: u64) -> Self {
        Self {
            limit,
            window: Duration::from_secs(seconds),
        }
    }
}

/// What a banned address is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ban {
    /// Cloudflare's HTML with `error code: 1015`, without `Via`.
    Cloudflare {
        /// Whether `Retry-After` tells the rest of the ban; it is not always there.
        retry_after: bool,
    },
    /// Discord's own JSON, which tells no wait.
    Json,
}

/// Routes that tell one hash in `X-RateLimit-Bucket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedHash {
    /// Name of the bucket, of which the hash is made. With `one_budget` its limit is the one of this name in
    /// [`Settings::route_limits`].
    pub name: String,
    /// The routes, as `"PUT /channels/{channel.id}/permissions/{overwrite.id}"`.
    pub routes: Vec<String>,
    /// Whether they share one counter. If not, only the hash is the same (observed for making and editing messages).
    pub one_budget: bool,
}

/// The bucket of a route.
pub(crate) struct Bucket<'a> {
    /// What the hash is made of.
    pub(crate) hash: &'a str,
    /// What is counted together.
    pub(crate) counter: &'a str,
    pub(crate) limit: RateLimit,
}

/// Settings of a simulated Discord, with Discord's values as defaults where they are known.
///
/// Changed through [`SimBuilder`](crate::SimBuilder), or directly for a [`World`](crate::core::World) without tokio.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Time between heartbeats that HELLO asks for. Default 41.25 s (observed). A client that stays silent for 1.5 of
    /// it is closed.
    pub heartbeat_interval: Duration,
    /// Unix milliseconds at the simulator's start; `None` reads the machine's clock once.
    pub start_unix_ms: Option<u64>,
    /// How long a session without a connection can be resumed. Default 120 s; Discord says "a few minutes".
    pub resume_window: Duration,
    /// Dispatches kept per session for a resume. Default 10 000. A client that is further behind gets op 9 `false`.
    pub replay_limit: usize,
    /// Delay of every dispatch after its cause. Default none.
    pub event_delay: Duration,
    /// Delay of every REST answer after its execution. Default none.
    pub rest_delay: Duration,
    /// Frames that may wait for one slow Gateway client. Default 65 536, and never below `replay_limit` + 1024. A
    /// client over it is cut; its session stays resumable.
    pub outgoing_limit: usize,
    /// Entries kept in the journal. Default 100 000; the oldest go first, and their number is told.
    pub journal_limit: usize,
    /// Whether each heartbeat is a journal entry. Default no.
    pub journal_heartbeats: bool,
    /// `http://HOST:PORT` of this simulator, without a trailing slash: told by `/gateway`, `/gateway/bot` and READY,
    /// as `ws://`. Default `http://discord.invalid`.
    pub public_url: String,
    /// The same for clients that come over TLS, as `https://HOST:PORT`; `None` tells them `public_url`. Set by
    /// `Sim::listen_tls`.
    pub secure_url: Option<String>,
    /// Another base for READY's `resume_gateway_url` (`ws://…`); `None`: the same as the main one. What listens there
    /// must hand its connections to [`Sim::serve_resume_connection`](crate::Sim::serve_resume_connection);
    /// [`SimServer::listen_resume`](crate::SimServer::listen_resume) does both.
    pub resume_url: Option<String>,
    /// Time between the WebSocket pings that the server sends; `None` for none. Default 60 s. An answer is not waited for.
    pub ping_interval: Option<Duration>,
    /// Messages over so many bytes, as they are on the wire, go out in several WebSocket frames of that size. Default
    /// `None`: each in one.
    pub fragment_over: Option<usize>,
    /// With payload compression (`compress: true` in Identify, no transport compression) payloads from so many bytes on
    /// are compressed. Default 1024; Discord's number is not known.
    pub payload_compression_from: usize,
    /// How long half of a session's guilds, drawn by chance and at least one, stay unavailable after READY: GUILD_DELETE
    /// with `unavailable`, then nothing of them, then GUILD_CREATE. Default `None`: none.
    pub unavailable_at_start: Option<Duration>,
    /// With `unavailable_at_start`: a GUILD_CREATE that holds nothing but `id` and `unavailable` in the place of
    /// GUILD_DELETE. Default no.
    pub unavailable_stub: bool,
    /// Time between op 7 and the close that follows it. Default 5 s.
    pub reconnect_grace: Duration,
    /// Identifies in 24 h. Default 1000.
    pub identify_total: u32,
    /// Identifies per 5 s and key. Default 1.
    pub max_concurrency: u32,
    /// Recommended shard count of `/gateway/bot`. Default 1.
    pub shards: u32,
    /// Guilds on one shard; over it an Identify is closed with 4011. Default 2500.
    pub guilds_per_shard: usize,
    /// The shard count of an Identify must be a multiple of this, as for large bots, or it is closed with 4010. Default 1.
    pub shard_multiple: u32,
    /// Messages a client may send in 60 s on one connection. Default 120. Heartbeats are left out while the heartbeat
    /// interval is under a second.
    pub send_limit: u32,
    /// Bytes of one message from a client. Default 4096 (documented).
    pub max_payload: usize,
    /// Whether channels that the bot cannot view arrive obfuscated, as announced for 2026-11-16. Default yes.
    pub obfuscation: bool,
    /// Order of events when a voice channel with people in it is deleted.
    pub delete_order: DeleteOrder,
    /// `host:port` told by VOICE_SERVER_UPDATE; `None` tells null. Default `127.0.0.1:2`.
    pub voice_endpoint: Option<String>,
    /// The voice servers.
    #[cfg(feature = "voice")]
    pub voice: crate::core::VoiceSettings,
    /// Close code for missed heartbeats. Default 4000; Discord's is not known.
    pub missed_heartbeat_code: u16,
    /// Privileged intents that bots may use. Default none.
    pub privileged_intents: Intents,
    /// Whether REST is limited at all. Default yes.
    pub rate_limits: bool,
    /// Bucket sizes by method and route, as `"PATCH /channels/{channel.id}"`; others have `default_limit`.
    pub route_limits: BTreeMap<String, RateLimit>,
    /// Bucket of routes that are not named. Default 50 in 1 s.
    pub default_limit: RateLimit,
    /// Routes that share a hash. Default: making and editing messages, which count apart (observed), and setting and
    /// deleting a permission overwrite, which count together (guessed). The first group with a route holds.
    pub shared_hashes: Vec<SharedHash>,
    /// Limits of a resource over all bots, by route and major parameter, as Discord has them with scope `shared`.
    /// Default none.
    pub shared_limits: BTreeMap<String, RateLimit>,
    /// Answers with 401, 403 or 429 (but for scope `shared`) before the address is banned. Default 10 000 in 600 s
    /// (documented). All clients of a simulator have one address.
    pub invalid_limit: RateLimit,
    /// Length of that ban. Default 1 h (observed; others have seen 24 h).
    pub ban_time: Duration,
    /// What a banned address is answered. Default Cloudflare's HTML with `Retry-After`.
    pub ban: Ban,
    /// Requests of one bot over all routes. Default 50 in 1 s.
    pub global_limit: RateLimit,
    /// Hidden limit of name changes, and apart from it of topic changes, per channel. Default 2 in 600 s (observed).
    pub rename_limit: RateLimit,
    /// Whether `X-RateLimit-Scope` is on every answer rather than on 429s alone. Default no.
    pub scope_on_all: bool,
    /// Channels a guild may have. Default 500.
    pub channels_per_guild: usize,
    /// Channels a category may have. Default 50.
    pub channels_per_category: usize,
    /// Whether a request without a valid `User-Agent` is refused (403, code 40333). Default no: it is only told in the
    /// journal.
    pub strict_user_agent: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let route_limits = [
            (
                "PATCH /channels/{channel.id}",
                RateLimit::per_seconds(5, 15),
            ),
            (
                "POST /channels/{channel.id}/messages",
                RateLimit::per_seconds(5, 5),
            ),
            (
                "PATCH /channels/{channel.id}/messages/{message.id}",
                RateLimit::per_seconds(5, 5),
            ),
            (
                "PATCH /guilds/{guild.id}/members/{user.id}",
                RateLimit::per_seconds(10, 10),
            ),
            ("GET /gateway/bot", RateLimit::per_seconds(10, 5)),
        ];
        Self {
            heartbeat_interval: Duration::from_millis(41_250),
            start_unix_ms: None,
            resume_window: Duration::from_secs(120),
            replay_limit: 10_000,
            event_delay: Duration::ZERO,
            rest_delay: Duration::ZERO,
            outgoing_limit: 65_536,
            journal_limit: 100_000,
            journal_heartbeats: false,
            public_url: "http://discord.invalid".to_owned(),
            secure_url: None,
            resume_url: None,
            ping_interval: Some(Duration::from_secs(60)),
            fragment_over: None,
            payload_compression_from: 1024,
            unavailable_at_start: None,
            unavailable_stub: false,
            reconnect_grace: Duration::from_secs(5),
            identify_total: 1000,
            max_concurrency: 1,
            shards: 1,
            guilds_per_shard: 2500,
            shard_multiple: 1,
            send_limit: 120,
            max_payload: 4096,
            obfuscation: true,
            delete_order: DeleteOrder::default(),
            voice_endpoint: Some("127.0.0.1:2".to_owned()),
            #[cfg(feature = "voice")]
            voice: crate::core::VoiceSettings::default(),
            missed_heartbeat_code: 4000,
            privileged_intents: Intents::empty(),
            rate_limits: true,
            route_limits: route_limits
                .map(|(route, limit)| (route.to_owned(), limit))
                .into(),
            default_limit: RateLimit::per_seconds(50, 1),
            shared_hashes: vec![
                SharedHash {
                    name: "messages".to_owned(),
                    routes: vec![
                        "POST /channels/{channel.id}/messages".to_owned(),
                        "PATCH /channels/{channel.id}/messages/{message.id}".to_owned(),
                    ],
                    one_budget: false,
                },
                SharedHash {
                    name: "overwrites".to_owned(),
                    routes: vec![
                        "PUT /channels/{channel.id}/permissions/{overwrite.id}".to_owned(),
                        "DELETE /channels/{channel.id}/permissions/{overwrite.id}".to_owned(),
                    ],
                    one_budget: true,
                },
            ],
            shared_limits: BTreeMap::new(),
            invalid_limit: RateLimit::per_seconds(10_000, 600),
            ban_time: Duration::from_secs(3600),
            ban: Ban::Cloudflare { retry_after: true },
            global_limit: RateLimit::per_seconds(50, 1),
            rename_limit: RateLimit::per_seconds(2, 600),
            scope_on_all: false,
            channels_per_guild: 500,
            channels_per_category: 50,
            strict_user_agent: false,
        }
    }
}

impl Settings {
    /// The Gateway's base URL: `public_url` with the scheme `ws` (or `wss`).
    #[must_use]
    pub fn gateway_url(&self) -> String {
        let base = self.public_url.trim_end_matches('/');
        match base.strip_prefix("http") {
            Some(rest) => format!("ws{rest}"),
            None => base.to_owned(),
        }
    }

    /// The Gateway's URL as told to a client that came over TLS, or not.
    pub(crate) fn gateway_url_for(&self, secure: bool) -> String {
        match &self.secure_url {
            Some(url) if secure => url.replacen("http", "ws", 1),
            _ => self.gateway_url(),
        }
    }

    pub(crate) fn bucket_of<'a>(&'a self, route: &'a str) -> Bucket<'a> {
        let group = self
            .shared_hashes
            .iter()
            .find(|group| group.routes.iter().any(|name| name == route));
        let counter = match group {
            Some(group) if group.one_budget => group.name.as_str(),
            _ => route,
        };
        Bucket {
            hash: group.map_or(route, |group| group.name.as_str()),
            counter,
            limit: self
                .route_limits
                .get(counter)
                .copied()
                .unwrap_or(self.default_limit),
        }
    }

    pub(crate) fn outgoing_bound(&self) -> usize {
        self.outgoing_limit
            .max(self.replay_limit.saturating_add(1024))
    }
}
