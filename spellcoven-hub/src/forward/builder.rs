//! Setting a forwarder up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use super::backoff::Backoff;
use super::driver::Driver;
use super::outbox::{Outbox, OutboxConfig};
use super::poster::{EndpointError, HyperPoster, Poster};
use super::shell::{Forwarder, Shared};
use crate::clock::{Clock, SystemClock};
use crate::wire::{HubSecret, Snowflake};

const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of queued bodies at most, whatever their number.
const OUTBOX_BYTES: usize = 16 * 1024 * 1024;

/// Sets up a [`Forwarder`]. Made by [`Forwarder::builder`].
pub struct ForwarderBuilder {
    endpoint: String,
    secret: HubSecret,
    guild_id: Snowflake,
    poster: Option<Arc<dyn Poster>>,
    clock: Arc<dyn Clock>,
    outbox_limit: usize,
    ping_interval: Duration,
    post_timeout: Duration,
    seed: Option<u64>,
}

impl fmt::Debug for ForwarderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwarderBuilder")
            .field("guild_id", &self.guild_id)
            .finish_non_exhaustive()
    }
}

/// Why a [`Forwarder`] cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The endpoint cannot be posted to; the configuration is at fault.
    #[error("the hub's endpoint cannot be used")]
    Endpoint(#[source] EndpointError),
    /// The operating system gave no random bytes for the delivery ids.
    #[error("the operating system gave no random bytes")]
    Random,
}

impl ForwarderBuilder {
    pub(super) fn new(endpoint: String, secret: HubSecret, guild_id: Snowflake) -> Self {
        Self {
            endpoint,
            secret,
            guild_id,
            poster: None,
            clock: Arc::new(SystemClock),
            outbox_limit: 4096,
            ping_interval: Duration::from_secs(2),
            post_timeout: POST_TIMEOUT,
            seed: None,
        }
    }

    /// Posts through this instead of a [`HyperPoster`]; the endpoint's address
    /// is then not used.
    #[must_use]
    pub fn poster(mut self, poster: impl Poster) -> Self {
        self.poster = Some(Arc::new(poster));
        self
    }

    /// Signs with this wall time instead of the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many posts may wait; default 4096, at least 1. Beyond it the queue
    /// gives way to one `guild.snapshot`. The queued bodies are bounded to
    /// 16 MiB besides, with the same effect.
    #[must_use]
    pub fn outbox_limit(mut self, events: usize) -> Self {
        self.outbox_limit = events.max(1);
        self
    }

    /// How long nothing is posted before a ping asks for the hub's epoch;
    /// default 2 s, at least 10 ms. It bounds how long a restarted hub stays
    /// without the guild's state.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How long one post may take, connecting included; default 10 s. After
    /// that it counts as unanswered and is repeated.
    #[must_use]
    pub fn post_timeout(mut self, timeout: Duration) -> Self {
        self.post_timeout = timeout;
        self
    }

    /// Makes the jitter of the back-off repeatable. Delivery ids stay random:
    /// two workers with the same ones would swallow each other's events.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the forwarder's task on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(self) -> Result<Forwarder, StartError> {
        let poster = match self.poster {
            Some(poster) => poster,
            None => Arc::new(HyperPoster::new(&self.endpoint).map_err(StartError::Endpoint)?),
        };
        let mut prefix = [0; 12];
        SystemRandom::new()
            .fill(&mut prefix)
            .map_err(|_| StartError::Random)?;
        let config = OutboxConfig {
            guild_id: self.guild_id,
            limit: self.outbox_limit,
            byte_limit: OUTBOX_BYTES,
            ping_interval: self.ping_interval,
            delivery_prefix: prefix.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let rng = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let shared = Arc::new(Shared::new(Outbox::new(config, Backoff::new(rng))));
        let driver = Driver {
            shared: Arc::clone(&shared),
            poster,
            clock: self.clock,
            secret: self.secret,
            post_timeout: self.post_timeout,
        };
        let guild_id = self.guild_id;
        tokio::spawn(driver.run());
        Ok(Forwarder::new(guild_id, shared))
    }
}
