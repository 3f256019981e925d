//! The task around the outbox: signs, posts, waits.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::log;
use super::outbox::{Outbox, OutboxConfig, Outcome, Post, Step};
use super::poster::{EndpointError, HyperPoster, PostAnswer, Poster};
use super::status::ForwardStatus;
use crate::clock::{Clock, SystemClock};
use crate::wire::headers::{DELIVERY, SIGNATURE, TIMESTAMP};
use crate::wire::signature::sign;
use crate::wire::{GuildSnapshot, HubEvent, HubSecret, Snowflake, WebhookAnswer};

const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of queued bodies at most, whatever their number.
const OUTBOX_BYTES: usize = 16 * 1024 * 1024;
/// An epoch is a short random id; a longer one is not kept.
const MAX_EPOCH_LEN: usize = 128;

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
        let (phase, _) = watch::channel(Phase::Running);
        let shared = Arc::new(Shared {
            outbox: Mutex::new(Outbox::new(config, Backoff::new(rng))),
            wake: Notify::new(),
            phase,
        });
        let driver = Driver {
            shared: Arc::clone(&shared),
            poster,
            clock: self.clock,
            secret: self.secret,
            post_timeout: self.post_timeout,
        };
        let guild_id = self.guild_id;
        tokio::spawn(driver.run());
        Ok(Forwarder {
            guild_id,
            owner: Arc::new(Owner(shared)),
        })
    }
}

/// Where a forwarder's life stands. Only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Deliver what is owed, then stop.
    Draining,
    /// Stop now.
    Stopping,
    Stopped,
}

struct Shared {
    outbox: Mutex<Outbox>,
    wake: Notify,
    phase: watch::Sender<Phase>,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // No code panics while it holds the lock; were it so, the state would
        // still be whole enough to go on with.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise_phase(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let rises = phase > *current;
            if rises {
                *current = phase;
            }
            rises
        });
    }
}

/// Held by every handle; the last one to go stops the task.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.raise_phase(Phase::Stopping);
    }
}

/// The handle to a running forwarder; clones share it.
///
/// Its task ends after [`shutdown`](Self::shutdown), or when the last handle is
/// dropped; then what is queued is lost.
///
/// # Examples
///
/// A forwarder with a [`Poster`] that takes everything:
///
/// ```
/// use bytes::Bytes;
/// use http::HeaderMap;
/// use spellcoven_hub::forward::{BoxFuture, Forwarder, PostAnswer, PostError, Poster};
/// use spellcoven_hub::wire::{GuildSnapshot, HubEvent, HubSecret, RoomDeleted, Snowflake};
/// use std::time::Duration;
///
/// struct TakesAll;
///
/// impl Poster for TakesAll {
///     fn post(&self, _: HeaderMap, _: Bytes) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
///         Box::pin(async { Ok(PostAnswer::new(200, r#"{"ok":true,"epoch":"e1"}"#)) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let guild_id = Snowflake::new(1);
/// let forwarder = Forwarder::builder("http://hub.example/api/internal/events", HubSecret::new("change-me")?, guild_id)
///     .poster(TakesAll)
///     .start()?;
/// forwarder.snapshot(GuildSnapshot { guild_id, rooms: vec![] });
/// forwarder.send(HubEvent::RoomDeleted(RoomDeleted { channel_id: Snowflake::new(2), guild_id }));
/// assert!(forwarder.shutdown(Duration::from_secs(5)).await);
/// assert_eq!(forwarder.status().outbox_depth, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Forwarder {
    guild_id: Snowflake,
    owner: Arc<Owner>,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("guild_id", &self.guild_id)
            .finish_non_exhaustive()
    }
}

impl Forwarder {
    /// Begins to set up a forwarder of one guild's events to `endpoint`, the
    /// absolute address of the hub's `/api/internal/events`.
    #[must_use]
    pub fn builder(
        endpoint: impl Into<String>,
        secret: HubSecret,
        guild_id: Snowflake,
    ) -> ForwarderBuilder {
        ForwarderBuilder {
            endpoint: endpoint.into(),
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

    /// The guild whose events it forwards.
    #[must_use]
    pub fn guild_id(&self) -> Snowflake {
        self.guild_id
    }

    /// Queues an event; it is posted at once where nothing is before it. Never
    /// blocks. An event of another guild is ignored, as is one after
    /// [`shutdown`](Self::shutdown) began.
    pub fn send(&self, event: HubEvent) {
        if event.guild_id() != self.guild_id || self.is_closing() {
            return;
        }
        self.shared()
            .outbox()
            .push_event(&event, Instant::now().into_std());
        self.shared().wake.notify_one();
    }

    /// Tells the guild as it is now: what a new session's first events
    /// describe. It replaces the mirror and is posted in order, after the
    /// events sent before. A snapshot of another guild is ignored.
    pub fn snapshot(&self, snapshot: GuildSnapshot) {
        if snapshot.guild_id != self.guild_id || self.is_closing() {
            return;
        }
        self.shared()
            .outbox()
            .push_snapshot(&snapshot, Instant::now().into_std());
        self.shared().wake.notify_one();
    }

    /// Says whether what this forwarder is told may be old (the Gateway session
    /// was lost, the guild has an outage). It shows in
    /// [`ForwardStatus::stale`] and changes nothing else.
    pub fn mark_stale(&self, stale: bool) {
        self.shared().outbox().mark_stale(stale);
    }

    #[cfg(feature = "discord-gateway")]
    pub(super) fn has_snapshot(&self) -> bool {
        self.shared().outbox().has_snapshot()
    }

    /// How it is doing, for a health check or metrics.
    #[must_use]
    pub fn status(&self) -> ForwardStatus {
        self.shared().outbox().status(Instant::now().into_std())
    }

    /// Takes no more events, delivers what is queued, with the usual retries,
    /// for at most `deadline`, and stops the task. Returns whether everything
    /// was delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped midway, the forwarder still takes no more events and its task
    /// goes on until everything is delivered or the last handle is dropped; the
    /// deadline is lost. It can be called again.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let shared = self.shared();
        let mut phase = shared.phase.subscribe();
        shared.raise_phase(Phase::Draining);
        let stopped = phase.wait_for(|phase| *phase == Phase::Stopped);
        if tokio::time::timeout(deadline, stopped).await.is_err() {
            shared.raise_phase(Phase::Stopping);
            // The task drops a post on the wire and ends at its next step.
            let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
        }
        shared.outbox().is_idle()
    }

    fn is_closing(&self) -> bool {
        *self.shared().phase.borrow() != Phase::Running
    }

    fn shared(&self) -> &Shared {
        &self.owner.0
    }
}

struct Driver {
    shared: Arc<Shared>,
    poster: Arc<dyn Poster>,
    clock: Arc<dyn Clock>,
    secret: HubSecret,
    post_timeout: Duration,
}

impl Driver {
    async fn run(self) {
        let mut phase = self.shared.phase.subscribe();
        loop {
            let current = *phase.borrow_and_update();
            if current >= Phase::Stopping {
                break;
            }
            let step = {
                let mut outbox = self.shared.outbox();
                if current == Phase::Draining && outbox.is_idle() {
                    break;
                }
                outbox.poll(Instant::now().into_std(), current == Phase::Running)
            };
            match step {
                Step::Post(post) => tokio::select! {
                    biased;
                    () = self.post(post) => {}
                    _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => break,
                },
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = self.shared.wake.notified() => {}
                    _ = phase.changed() => {}
                    () = sleep_until(until.map(Instant::from_std)) => {}
                },
            }
        }
        self.shared.raise_phase(Phase::Stopped);
    }

    async fn post(&self, post: Post) {
        let headers = self.headers(&post);
        let answer = tokio::time::timeout(
            self.post_timeout,
            self.poster.post(headers, post.body.clone()),
        )
        .await;
        let (outcome, request_id, error) = match answer {
            Ok(Ok(answer)) => {
                let request_id = answer.request_id.clone();
                (outcome(&answer), request_id, None)
            }
            Ok(Err(error)) => (Outcome::Unreachable, None, Some(log::describe(&error))),
            Err(_) => (
                Outcome::Unreachable,
                None,
                Some("no answer in time".to_owned()),
            ),
        };
        let status = match &outcome {
            Outcome::Answer { status, .. } => Some(*status),
            Outcome::Unreachable => None,
        };
        let (verdict, before, after) = {
            let mut outbox = self.shared.outbox();
            let before = outbox.failure();
            let verdict = outbox.handle_outcome(outcome, Instant::now().into_std());
            (verdict, before, outbox.failure())
        };
        let told = log::Told {
            status,
            request_id,
            error,
            before,
            after,
        };
        log::post_ended(&post, &verdict, &told);
    }

    fn headers(&self, post: &Post) -> HeaderMap {
        let timestamp = self.clock.now_ms() / 1000;
        let signature = sign(&self.secret, timestamp, &post.body);
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            HeaderName::from_static(TIMESTAMP),
            HeaderValue::from(timestamp),
        );
        for (name, text) in [(SIGNATURE, &*signature), (DELIVERY, &*post.delivery_id)] {
            let value = HeaderValue::from_str(text)
                .expect("hexadecimal digits, '-' and '=' are header characters");
            headers.insert(HeaderName::from_static(name), value);
        }
        headers
    }
}

fn outcome(answer: &PostAnswer) -> Outcome {
    let ours = serde_json::from_slice::<WebhookAnswer>(&answer.body).ok();
    let (epoch, synced) = ours.map_or((None, None), |answer| (answer.epoch, answer.synced));
    Outcome::Answer {
        status: answer.status,
        retry_after: answer.retry_after,
        epoch: epoch.filter(|epoch| !epoch.is_empty() && epoch.len() <= MAX_EPOCH_LEN),
        synced,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
