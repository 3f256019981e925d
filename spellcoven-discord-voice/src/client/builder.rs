use std::{fmt, sync::Arc, time::Duration};

use super::{
    DiscordRtcClient, VoicePool,
    driver::Driver,
    pool,
    shared::{Settings, Shared},
};
use crate::{
    DaveIdentity, E2eePolicy, GuildMarker, Id, JitterConfig, Signalling, TcpTlsUdp, UserMarker,
    VoiceConnector, session::SessionConfig,
};

/// What a client does with the others' audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReceiveMode {
    /// Nothing: received packets are dropped before they are decrypted, and the socket's receive buffer is small.
    #[default]
    Off,
    /// Opus frames as they arrive: each at most once, perhaps out of order. For those who record or forward.
    Raw,
    /// Opus frames, each user's in order and at their pace, through a jitter buffer.
    Opus,
    /// Decoded audio, each user's in order and at their pace; what was lost is rebuilt or concealed.
    #[cfg(feature = "opus")]
    Pcm,
}

/// Settings of a [`DiscordRtcClient`]; guild, user and signalling are required.
pub struct DiscordRtcClientBuilder {
    pub(super) session: SessionConfig,
    pub(super) signalling: Box<dyn Signalling>,
    pub(super) connector: Arc<dyn VoiceConnector>,
    pub(super) settings: Settings,
    pool: Option<VoicePool>,
}

impl fmt::Debug for DiscordRtcClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscordRtcClientBuilder")
            .field("session", &self.session)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl DiscordRtcClientBuilder {
    pub(super) fn new(
        guild_id: Id<GuildMarker>,
        user_id: Id<UserMarker>,
        signalling: Box<dyn Signalling>,
    ) -> Self {
        Self {
            session: SessionConfig {
                guild_id,
                user_id,
                receive: false,
                self_mute: false,
                self_deaf: false,
                rejoin: true,
                policy: E2eePolicy::default(),
                identity: None,
                seed: None,
            },
            signalling,
            connector: Arc::new(TcpTlsUdp::new()),
            settings: Settings {
                receive: ReceiveMode::Off,
                sink_buffer: Duration::from_millis(500),
                audio_buffer: 512,
                event_buffer: 256,
                jitter: JitterConfig::default(),
            },
            pool: None,
        }
    }

    /// How voice servers are reached. Default: a [`TcpTlsUdp`] of this client's own; clients of one process may share
    /// an `Arc` of one.
    #[must_use]
    pub fn connector(mut self, connector: impl VoiceConnector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// What happens in a call that is not end-to-end encrypted. Default: it is not joined, and `connect` says why;
    /// one that ceases to be encrypted goes on without audio in either direction, and an event says why.
    #[must_use]
    pub fn e2ee_policy(mut self, policy: E2eePolicy) -> Self {
        self.session.policy = policy;
        self
    }

    /// The key pair that stands for the user in end-to-end encryption. Default: one that this process makes and keeps
    /// for the user. Who stores one keeps the same [verification codes](DiscordRtcClient::verification_code) over
    /// restarts.
    #[must_use]
    pub fn identity(mut self, identity: DaveIdentity) -> Self {
        self.session.identity = Some(identity);
        self
    }

    /// What is done with the others' audio. Default: nothing.
    #[must_use]
    pub fn receive(mut self, mode: ReceiveMode) -> Self {
        self.settings.receive = mode;
        self.session.receive = mode != ReceiveMode::Off;
        self
    }

    /// Whether the client joins muted. Default: not. See [`DiscordRtcClient::set_self_mute`].
    #[must_use]
    pub fn self_mute(mut self, muted: bool) -> Self {
        self.session.self_mute = muted;
        self
    }

    /// Whether the client joins deafened, which others see; it does not change what is received. Default: not.
    #[must_use]
    pub fn self_deaf(mut self, deafened: bool) -> Self {
        self.session.self_deaf = deafened;
        self
    }

    /// Whether to join again by itself after the main gateway had to begin a new session, with which Discord drops the
    /// voice connection. Default: yes. A restart of the process is another matter: nothing is stored.
    #[must_use]
    pub fn rejoin(mut self, rejoin: bool) -> Self {
        self.session.rejoin = rejoin;
        self
    }

    /// How much audio waits in an [`AudioSink`](crate::AudioSink); at least 20 ms, default 500 ms. What is in it is
    /// also how long it takes until new audio is heard.
    #[must_use]
    pub fn sink_buffer(mut self, audio: Duration) -> Self {
        self.settings.sink_buffer = audio;
        self
    }

    /// How many frames wait for an [`AudioStream`](crate::AudioStream), of all users together; at least 1, default 512,
    /// about ten seconds of one who talks. When it is full the oldest are dropped, and counted.
    #[must_use]
    pub fn audio_buffer(mut self, frames: usize) -> Self {
        self.settings.audio_buffer = frames.max(1);
        self
    }

    /// The bounds of the delay that jitter buffers add. Default: 40 to 200 ms.
    #[must_use]
    pub fn jitter(mut self, config: JitterConfig) -> Self {
        self.settings.jitter = config;
        self
    }

    /// How many events wait for an [`EventStream`](crate::EventStream); at least 1, default 256. When it is full the
    /// oldest are dropped, and [`VoiceEvent::Lagged`](crate::VoiceEvent::Lagged) says how many.
    #[must_use]
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.settings.event_buffer = events.max(1);
        self
    }

    /// Has the client driven by a pool, together with others. Default: by a task of its own, which is what fits up to
    /// some dozens of clients.
    #[must_use]
    pub fn pool(mut self, pool: &VoicePool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Makes waits and first sequence numbers repeatable, for tests. Default: random. Keys are never made from it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.session.seed = Some(seed);
        self
    }

    /// Starts the client: in its [`pool`](Self::pool), or as one task on the current tokio runtime. Nothing is sent
    /// before [`connect`](DiscordRtcClient::connect).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(mut self) -> DiscordRtcClient {
        let span = tracing::info_span!("voice", guild = %self.session.guild_id);
        let shared = Arc::new(Shared::new(self.settings.clone()));
        let client = DiscordRtcClient::new(Arc::clone(&shared));
        let pool = self.pool.take();
        let driver = Driver::new(self, shared);
        match pool {
            Some(pool) => pool.adopt(driver, span),
            None => pool::alone(driver, span),
        }
        client
    }
}
