use std::{fmt, sync::Arc, time::Duration};

use tracing::Instrument as _;
use twilight_model::gateway::Intents;

use super::{Shard, driver::Driver, handle};
use crate::{
    BotToken, Compression, Connector, EventFilter, IdentifyQueue, InMemoryIdentifyQueue,
    ProtocolConfig, SessionState, TcpTls,
};

/// Settings of a [`Shard`]; only the token is required.
pub struct ShardBuilder {
    pub(super) protocol: ProtocolConfig,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) queue: Arc<dyn IdentifyQueue>,
    pub(super) event_buffer: usize,
}

impl fmt::Debug for ShardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardBuilder")
            .field("protocol", &self.protocol)
            .field("event_buffer", &self.event_buffer)
            .finish_non_exhaustive()
    }
}

impl ShardBuilder {
    pub(super) fn new(token: BotToken) -> Self {
        Self {
            protocol: ProtocolConfig::new(token),
            connector: Arc::new(TcpTls::new()),
            queue: Arc::new(InMemoryIdentifyQueue::default()),
            event_buffer: 1024,
        }
    }

    /// The main URL, `wss://host` or `ws://host`, without a query. Plain `ws`
    /// is spoken only where it is given here. Default: Discord's.
    #[must_use]
    pub fn gateway_url(mut self, url: impl Into<String>) -> Self {
        self.protocol.gateway_url = url.into();
        self
    }

    /// Which events Discord sends. Default: exactly GUILDS and
    /// GUILD_VOICE_STATES, none of which is privileged.
    #[must_use]
    pub fn intents(mut self, intents: Intents) -> Self {
        self.protocol.intents = intents;
        self
    }

    /// Which of the events that arrive are parsed and delivered. Default: what
    /// a [`GuildTracker`](crate::GuildTracker) needs.
    #[must_use]
    pub fn wanted_events(mut self, wanted: EventFilter) -> Self {
        self.protocol.wanted = wanted;
        self
    }

    /// Shard `id` of `total`. Default: 0 of 1.
    #[must_use]
    pub fn shard_id(mut self, id: u32, total: u32) -> Self {
        self.protocol.shard = [id, total];
        self
    }

    /// How the Gateway is reached. Default: [`TcpTls`].
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// Who may identify, and when. Default: an [`InMemoryIdentifyQueue`] of
    /// this shard's own; several shards of one bot must share one.
    #[must_use]
    pub fn identify_queue(mut self, queue: impl IdentifyQueue) -> Self {
        self.queue = Arc::new(queue);
        self
    }

    /// A session to resume: see [`SessionState`] for what must be stored with
    /// it. Where Discord no longer has it, the shard identifies. Default: none.
    #[must_use]
    pub fn session(mut self, session: Option<SessionState>) -> Self {
        self.protocol.session = session;
        self
    }

    /// How many events may wait for [`Shard::next_event`]; at least 1, default
    /// 1024. When they do, the shard stops reading the connection (nothing is
    /// lost, Discord waits) and goes on with its heartbeats.
    #[must_use]
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.event_buffer = events.max(1);
        self
    }

    /// Compression of what Discord sends. Default: zstd where the feature is
    /// on, else zlib, else none.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.protocol.compression = compression;
        self
    }

    /// The largest message that is read, in bytes, as it arrives and inflated;
    /// a larger one ends the connection, and the session is resumed. Default
    /// 64 MiB: snapshots of large guilds have been seen over 5 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.protocol.max_message_size = bytes;
        self
    }

    /// The time for dialling and the WebSocket handshake. Default 20 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.protocol.connect_timeout = timeout;
        self
    }

    /// The time from the handshake to HELLO. Default 20 s.
    #[must_use]
    pub fn hello_timeout(mut self, timeout: Duration) -> Self {
        self.protocol.hello_timeout = timeout;
        self
    }

    /// The time from Resume to RESUMED and from Identify to READY; see
    /// [`ProtocolConfig::ready_timeout`]. Default 60 s.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.protocol.ready_timeout = timeout;
        self
    }

    /// How often a new session may be begun because an event could not be read;
    /// see [`ProtocolConfig::resync_interval`]. Default: once an hour.
    #[must_use]
    pub fn resync_interval(mut self, interval: Option<Duration>) -> Self {
        self.protocol.resync_interval = interval;
        self
    }

    /// Makes the jitter repeatable, for tests. Default: random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.protocol.seed = Some(seed);
        self
    }

    /// Starts the shard: one task on the current tokio runtime. Settings that
    /// cannot work show as the first and last event,
    /// [`GatewayError::Configuration`](crate::GatewayError::Configuration).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(self) -> Shard {
        let [id, total] = self.protocol.shard;
        let span = tracing::info_span!("shard", id, total);
        let (events, receiver) = tokio::sync::mpsc::channel(self.event_buffer);
        let (shared, handle, commands) =
            handle::pair(self.protocol.command_queue, self.protocol.session.clone());
        let driver = Driver::new(self, events, commands, shared);
        tokio::spawn(driver.run().instrument(span));
        Shard::new(receiver, handle)
    }
}
