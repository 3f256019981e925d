use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

use super::{
    auth::{KeySource, Rules, Verifier},
    builder::{BuildError, HubBuilder},
    core::Core,
    discord_health::DiscordHealth,
    http::HubService,
    idempotency::Idempotency,
    limits::Limits,
    log::Head,
    metrics::{Metrics, Stats},
    policy::RoomPolicy,
    registry::Registry,
    rooms::{RoomError, RoomService},
};
use crate::Clock;
use crate::wire::{HubEvent, HubSecret, RoomSnapshot, Snowflake, WebhookAnswer, WebhookEvent};

/// The most that one client adds to the time over which all are closed.
const DRAIN_PER_CLIENT: Duration = Duration::from_millis(1);

/// The hub of one guild: HTTP API, webhook receiver and WebSocket fan-out. A handle; clones are the same hub.
///
/// It keeps everything in memory. A new hub begins with a new epoch and learns the rooms from the worker's snapshot.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) guild_id: Snowflake,
    pub(crate) rooms: Arc<dyn RoomService>,
    pub(crate) policy: Box<dyn RoomPolicy>,
    pub(crate) verifier: Verifier,
    pub(crate) secrets: Vec<HubSecret>,
    pub(crate) origin: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) max_attempts: u32,
    pub(crate) require_worker: bool,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Arc<Registry>,
    pub(crate) idempotency: Mutex<Idempotency>,
    pub(crate) api_calls: Arc<Semaphore>,
    pub(crate) discord: DiscordHealth,
    /// Wakes every connection; sent while the core is locked, so that it never goes back.
    pub(crate) head: watch::Sender<Head>,
    /// Once the hub stops: over how long the clients are closed.
    pub(crate) stopping: watch::Sender<Option<Duration>>,
    core: Mutex<Core>,
    rng: Mutex<fastrand::Rng>,
    /// Wakes the timer task when the next deadline may have changed.
    timer: Arc<Notify>,
    timer_runs: AtomicBool,
}

/// What a builder gathered.
pub(crate) struct Parts {
    pub(crate) guild_id: Snowflake,
    pub(crate) rooms: Arc<dyn RoomService>,
    pub(crate) keys: Box<dyn KeySource>,
    pub(crate) rules: Rules,
    pub(crate) secrets: Vec<HubSecret>,
    pub(crate) origin: Option<String>,
    pub(crate) policy: Box<dyn RoomPolicy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) max_attempts: u32,
    pub(crate) require_worker: bool,
    pub(crate) rng: fastrand::Rng,
}

impl Hub {
    /// Begins a hub for one guild.
    #[must_use]
    pub fn builder(guild_id: Snowflake) -> HubBuilder {
        HubBuilder::new(guild_id)
    }

    pub(crate) fn assemble(parts: Parts) -> Result<Self, BuildError> {
        let mut epoch = [0; 16];
        SystemRandom::new()
            .fill(&mut epoch)
            .map_err(|_| BuildError::Random)?;
        let epoch = format!("{:032x}", u128::from_be_bytes(epoch));
        let limits = parts.limits;
        let clock = parts.clock;
        let verifier = Verifier::new(
            parts.keys,
            parts.rules,
            limits.max_token,
            Arc::clone(&clock),
        );
        let shared = Shared {
            guild_id: parts.guild_id,
            rooms: parts.rooms,
            policy: parts.policy,
            verifier,
            secrets: parts.secrets,
            origin: parts.origin,
            clock,
            max_attempts: parts.max_attempts,
            require_worker: parts.require_worker,
            metrics: Metrics::default(),
            registry: Registry::new(limits.max_connections, limits.max_connections_per_user),
            idempotency: Mutex::new(Idempotency::new(
                limits.idempotency_keys,
                limits.idempotency_age,
            )),
            api_calls: Arc::new(Semaphore::new(limits.max_api_calls)),
            discord: DiscordHealth::default(),
            head: watch::Sender::new(Head::default()),
            stopping: watch::Sender::new(None),
            core: Mutex::new(Core::new(parts.guild_id, epoch, &limits)),
            rng: Mutex::new(parts.rng),
            timer: Arc::new(Notify::new()),
            timer_runs: AtomicBool::new(false),
            limits,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The hub as a `tower` service, to be put into another hyper server.
    ///
    /// The server must allow upgrades (hyper's `with_upgrades`), must run on tokio, and should set TCP_NODELAY and a
    /// time-out for heads ([`Limits::header_timeout`] and [`Limits::max_http_connections`] concern
    /// [`serve`](Self::serve) alone). The service answers 404 to a path that is not the hub's, so give it whatever your own
    /// routes do not take, with the path unchanged. The first request starts the fetch of keys. Before the server ends, call
    /// [`shutdown`](Self::shutdown).
    #[must_use]
    pub fn service(&self) -> HubService {
        HubService::new(self.clone())
    }

    /// Everything known, with the epoch and the number of the last event contained in it.
    #[must_use]
    pub fn snapshot(&self) -> RoomSnapshot {
        self.shared.with_core(|core| {
            let snapshot = core.guild_snapshot();
            RoomSnapshot {
                guild_id: snapshot.guild_id,
                rooms: snapshot.rooms,
                epoch: core.epoch.clone(),
                seq: core.head().seq,
            }
        })
    }

    /// Takes what a worker in the same process would post; no signature is needed.
    ///
    /// A `delivery` id that was seen before changes nothing; nor does an event for an `epoch` that is not this hub's,
    /// which a `guild.snapshot` has to follow (see [`wire::headers::EPOCH`](crate::wire::headers::EPOCH)).
    pub fn handle_post(
        &self,
        event: WebhookEvent,
        delivery: Option<&str>,
        epoch: Option<&str>,
    ) -> WebhookAnswer {
        self.shared.handle_post(event, delivery, epoch)
    }

    /// Numbers of this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let metrics = &shared.metrics;
        shared.with_core(|core| Stats {
            connections: shared.registry.count(),
            epoch: core.epoch.clone(),
            seq: core.head().seq,
            rooms: core.state.room_count(),
            members: core.state.member_count(),
            synced: core.state.synced(),
            ring_events: core.log.events(),
            ring_bytes: core.log.bytes(),
            delivered: Metrics::load(&metrics.delivered),
            buffered_bytes: metrics.buffered_bytes(),
            overflow: core.state.overflow(),
            closed: metrics.closed.all(),
            refused_signatures: metrics.signatures.all(),
            errors: metrics.errors.all(),
        })
    }

    /// Closes every WebSocket with 1001, refuses new ones and waits until all are gone or the deadline is over.
    ///
    /// The closing is spread over [`Limits::drain_spread`]; until its turn, a client gets events as before.
    /// Whether all were gone in time. The HTTP API keeps answering; stop the server that carries it.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the sockets are being closed all the same; only nobody waits for them.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let shared = &self.shared;
        let clients = u32::try_from(shared.registry.count()).unwrap_or(u32::MAX);
        let spread = (DRAIN_PER_CLIENT.saturating_mul(clients))
            .min(shared.limits.drain_spread)
            .min(deadline / 2);
        shared.stopping.send_replace(Some(spread));
        tokio::time::timeout(deadline, self.shared.registry.empty())
            .await
            .is_ok()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("guild_id", &self.shared.guild_id)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Runs with the core locked. Never held over an await.
    pub(crate) fn with_core<T>(&self, f: impl FnOnce(&mut Core) -> T) -> T {
        f(&mut self.core.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state and announces what really changed.
    pub(crate) fn apply(
        &self,
        change: impl FnOnce(&mut Core, std::time::Instant) -> Vec<HubEvent>,
    ) {
        let now_ms = self.clock.now_ms();
        self.with_core(|core| {
            let events = change(core, Instant::now().into_std());
            core.publish(&events, now_ms);
            self.announce(core);
        });
    }

    pub(crate) fn handle_post(
        &self,
        event: WebhookEvent,
        delivery: Option<&str>,
        epoch: Option<&str>,
    ) -> WebhookAnswer {
        let now_ms = self.clock.now_ms();
        Metrics::add(&self.metrics.posts, 1);
        self.with_core(|core| {
            let answer =
                core.handle_post(event, delivery, epoch, Instant::now().into_std(), now_ms);
            self.announce(core);
            answer
        })
    }

    /// Discord knows no such channel: where it was a room, it is gone, and whoever looks should know.
    pub(crate) fn channel_gone(&self, id: Snowflake) {
        self.apply(|core, _| {
            if core.state.knows(id) {
                core.state.api_deleted(id)
            } else {
                Vec::new()
            }
        });
    }

    fn announce(&self, core: &Core) {
        let head = core.head();
        self.head
            .send_if_modified(|current| std::mem::replace(current, head) != head);
        if core.state.poll_timeout().is_some() {
            self.timer.notify_one();
        }
    }

    pub(crate) fn with_rng<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn with_idempotency<T>(&self, f: impl FnOnce(&mut Idempotency) -> T) -> T {
        f(&mut self
            .idempotency
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts what must run beside requests: the state's timer, and the first fetch of keys. Once; needs a runtime.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.timer_runs.swap(true, Relaxed) {
            self.verifier.fetch();
            tokio::spawn(run_timer(Arc::downgrade(self), Arc::clone(&self.timer)));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The timer task sees that the hub is gone.
        self.timer.notify_one();
    }
}

/// Asks Discord about rooms of the API that the worker has not reported in time, one after the other.
async fn confirm_rooms(shared: &Shared) {
    let due = shared.with_core(|core| core.state.handle_timeout(Instant::now().into_std()));
    for id in due {
        match shared.rooms.channel(id).await {
            Ok(Some(_)) => shared.with_core(|core| core.state.api_found(id)),
            Ok(None) | Err(RoomError::NotFound) => {
                tracing::info!(channel_id = %id, "a room that the worker never reported is gone");
                shared.channel_gone(id);
            }
            Err(error) => {
                tracing::warn!(%error, channel_id = %id, "cannot tell whether the room is there; asking again later");
            }
        }
    }
}

/// Has unconfirmed rooms asked about in time, as long as the hub lives.
async fn run_timer(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let next = match shared.upgrade() {
            Some(shared) => shared.with_core(|core| core.state.poll_timeout()),
            None => return,
        };
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => {
                if let Some(shared) = shared.upgrade() {
                    // In a task of its own, so that a service that panics does not end the asking.
                    let _ = tokio::spawn(async move { confirm_rooms(&shared).await }).await;
                }
            }
            () = wake.notified() => {}
        }
    }
}
