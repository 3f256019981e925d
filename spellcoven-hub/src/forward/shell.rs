//! The handle to a running forwarder, and what it shares with the task.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::builder::ForwarderBuilder;
use super::outbox::Outbox;
use super::status::ForwardStatus;
use crate::wire::{GuildSnapshot, HubEvent, HubSecret, Snowflake};

/// Where a forwarder's life stands. Only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// Deliver what is owed, then stop.
    Draining,
    /// Stop now.
    Stopping,
    Stopped,
}

pub(super) struct Shared {
    outbox: Mutex<Outbox>,
    pub(super) wake: Notify,
    pub(super) phase: watch::Sender<Phase>,
}

impl Shared {
    pub(super) fn new(outbox: Outbox) -> Self {
        let (phase, _) = watch::channel(Phase::Running);
        Self {
            outbox: Mutex::new(outbox),
            wake: Notify::new(),
            phase,
        }
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // No code panics while it holds the lock; were it so, the state would
        // still be whole enough to go on with.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn raise_phase(&self, phase: Phase) {
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
/// A forwarder with a [`Poster`](super::Poster) that takes everything:
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
    pub(super) fn new(guild_id: Snowflake, shared: Arc<Shared>) -> Self {
        Self {
            guild_id,
            owner: Arc::new(Owner(shared)),
        }
    }

    /// Begins to set up a forwarder of one guild's events to `endpoint`, the
    /// absolute address of the hub's `/api/internal/events`.
    #[must_use]
    pub fn builder(
        endpoint: impl Into<String>,
        secret: HubSecret,
        guild_id: Snowflake,
    ) -> ForwarderBuilder {
        ForwarderBuilder::new(endpoint.into(), secret, guild_id)
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
