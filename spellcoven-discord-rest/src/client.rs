//! The client: what can be called.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker},
};

use crate::{
    BotToken, DiscordRestClientBuilder,
    endpoint::{Endpoint, GetChannel, GetChannels, GetGatewayBot},
    error::ErrorAnswer,
    gate::Gate,
    limit::{Deed, Forbidden},
    lookup::Claims,
    request::{CreateVoiceChannel, DeleteChannel, Execute, SendMessage},
    retry::Backoff,
    transport::Transport,
};

/// A client of Discord's REST API v10 for one bot.
///
/// Cloning is cheap, and clones share everything: the limits, the connections,
/// the memory of an invalid token. Use one for a token in a process, since
/// Discord limits the token.
///
/// Methods return a request that is sent when it is awaited. Each request has a
/// `request_id`: the caller's, or a new one; it stands in the logs, in errors,
/// and (for changes) in the guild's audit log.
#[derive(Clone)]
pub struct DiscordRestClient {
    inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) claims: Mutex<Claims>,
    pub(crate) forbidden: Mutex<Forbidden>,
    pub(crate) token_invalid: AtomicBool,
    pub(crate) sent: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) refused_locally: AtomicU64,
    pub(crate) rng: Mutex<fastrand::Rng>,
}

/// What the builder decided.
pub(crate) struct Config {
    /// Without a slash at the end.
    pub(crate) base_url: String,
    pub(crate) authorization: HeaderValue,
    pub(crate) user_agent: HeaderValue,
    pub(crate) max_retries: u32,
    pub(crate) timeout: Duration,
    pub(crate) max_wait: Duration,
    pub(crate) max_response_bytes: usize,
    pub(crate) backoff: Backoff,
}

/// Figures for those who operate a client, counted since it was built.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestStats {
    /// Requests sent, look-ups and retries included.
    pub requests: u64,
    /// Retries.
    pub retries: u64,
    /// 429s for the bucket of a route.
    pub limited_bucket: u64,
    /// 429s for a limit behind a bucket.
    pub limited_sub_limit: u64,
    /// 429s for a shared resource.
    pub limited_shared: u64,
    /// 429s for the global limit.
    pub limited_global: u64,
    /// 429s of the edge.
    pub limited_edge: u64,
    /// 401, 403 and 429 (not shared) within ten minutes. Discord bans the IP
    /// address at 10,000.
    pub invalid_requests: u32,
    /// Requests not sent because Discord had refused the same a short while ago.
    pub refused_locally: u64,
    /// Calls that wait for their turn now.
    pub waiting: usize,
    /// Requests under way now.
    pub in_flight: usize,
    /// Buckets remembered now.
    pub buckets: usize,
    /// Whether Discord refused the token; nothing is sent any more then.
    pub token_invalid: bool,
}

impl DiscordRestClient {
    /// Begins to configure a client.
    pub fn builder(token: BotToken) -> DiscordRestClientBuilder {
        DiscordRestClientBuilder::new(token)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// `createVoiceChannel`: makes a voice channel in a guild.
    ///
    /// `name`: 1 to 100 characters. Needs MANAGE_CHANNELS; the bot should have
    /// VIEW_AUDIT_LOG too, for the look-up described at [`CreateVoiceChannel`].
    pub fn create_voice_channel(
        &self,
        guild_id: Id<GuildMarker>,
        name: impl Into<String>,
    ) -> CreateVoiceChannel {
        CreateVoiceChannel::new(self.inner.clone(), guild_id, name.into())
    }

    /// `deleteChannel`: deletes a channel. Needs MANAGE_CHANNELS.
    pub fn delete_channel(&self, channel_id: Id<ChannelMarker>) -> DeleteChannel {
        DeleteChannel::new(self.inner.clone(), channel_id)
    }

    /// `sendMessage`: sends a text message. `content`: 1 to 2,000 characters.
    ///
    /// Needs VIEW_CHANNEL and SEND_MESSAGES. Nobody is mentioned unless
    /// [`SendMessage::allowed_mentions`] says so.
    pub fn send_message(
        &self,
        channel_id: Id<ChannelMarker>,
        content: impl Into<String>,
    ) -> SendMessage {
        SendMessage::new(self.inner.clone(), channel_id, content.into())
    }

    /// `getChannels`: a guild's channels that the bot can view, without threads.
    pub fn get_channels(&self, guild_id: Id<GuildMarker>) -> Execute<GetChannels> {
        self.execute(GetChannels::new(guild_id))
    }

    /// `getChannel`: one channel.
    pub fn get_channel(&self, channel_id: Id<ChannelMarker>) -> Execute<GetChannel> {
        self.execute(GetChannel::new(channel_id))
    }

    /// `getGatewayBot`: the Gateway's URL and the session start limit.
    pub fn get_gateway_bot(&self) -> Execute<GetGatewayBot> {
        self.execute(GetGatewayBot)
    }

    /// Any other endpoint, in its typed form.
    pub fn execute<E: Endpoint>(&self, endpoint: E) -> Execute<E> {
        Execute::new(self.inner.clone(), endpoint)
    }

    /// Figures for operation.
    #[must_use]
    pub fn stats(&self) -> RestStats {
        let now = self.inner.gate.now();
        let mut stats = self.inner.gate.with(|limiter| {
            let counters = limiter.counters();
            RestStats {
                limited_bucket: counters.bucket,
                limited_sub_limit: counters.sub_limit,
                limited_shared: counters.shared,
                limited_global: counters.global,
                limited_edge: counters.edge,
                invalid_requests: limiter.invalid_requests(now),
                waiting: limiter.waiting(),
                in_flight: limiter.in_flight(),
                buckets: limiter.buckets(),
                ..RestStats::default()
            }
        });
        stats.requests = self.inner.sent.load(Ordering::Relaxed);
        stats.retries = self.inner.retried.load(Ordering::Relaxed);
        stats.refused_locally = self.inner.refused_locally.load(Ordering::Relaxed);
        stats.token_invalid = self.inner.token_invalid.load(Ordering::Acquire);
        stats
    }
}

impl fmt::Debug for DiscordRestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscordRestClient")
            .field("base_url", &self.inner.config.base_url)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// The wait before retry number `retry`, from 0.
    pub(crate) fn backoff(&self, retry: u32) -> Duration {
        let random = self
            .rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .f64();
        self.config.backoff.delay(retry, random)
    }

    /// Remembers a 403 for want of a permission.
    pub(crate) fn remember_refusal(&self, deed: Deed, answer: &ErrorAnswer) {
        let now = self.gate.now();
        self.forbidden
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remember(deed, answer, now);
    }

    /// What Discord answered to the same a short while ago, if it refused it.
    pub(crate) fn recall_refusal(&self, deed: Deed) -> Option<ErrorAnswer> {
        let now = self.gate.now();
        let answer = self
            .forbidden
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recall(deed, now)?;
        self.refused_locally.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    /// Random hexadecimal digits, two for each byte.
    pub(crate) fn random_hex(&self, bytes: usize) -> String {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        (0..bytes).map(|_| format!("{:02x}", rng.u8(..))).collect()
    }
}
