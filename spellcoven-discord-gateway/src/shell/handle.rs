use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    Command, CommandError, Event, EventKind, GatewayEvent, SessionState,
    proto::{ConnectionState, Protocol, ProtocolStats},
};

/// How a shard ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Close with 4000: the session can be resumed for a few minutes, and the
    /// bot stays online meanwhile. For restarts.
    KeepSession,
    /// Close with 1000: the bot goes offline at once. Where no connection is
    /// open at that moment, Discord notices by itself after a few minutes.
    EndSession,
}

/// How a shard is doing, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Where the connection stands.
    pub state: ConnectionState,
    /// From the last heartbeat to its ack, on this connection.
    pub heartbeat_latency: Option<Duration>,
    /// How long the session has existed (or, if it was taken up from storage,
    /// has been known to this process). `None` without a session.
    pub session_age: Option<Duration>,
    /// How long the connection has been in its [`state`](Self::state).
    pub in_state_for: Duration,
    /// The number of the last event that was put into the event buffer.
    pub last_event_seq: Option<u64>,
    /// Whether the event buffer is full, so that the connection is not read.
    pub consumer_is_slow: bool,
    /// Connections begun after the first.
    pub reconnects: u64,
    /// Identify payloads sent.
    pub identifies: u64,
    /// Successful resumes.
    pub resumes: u64,
    /// All counters.
    pub stats: ProtocolStats,
}

/// Talks to a running shard. Clones talk to the same one.
#[derive(Debug, Clone)]
pub struct ShardHandle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What the driver tells and the handles read.
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) shutdown: watch::Sender<Option<Shutdown>>,
}

#[derive(Debug, Default)]
struct Inner {
    stats: ProtocolStats,
    heartbeat_latency: Option<Duration>,
    /// As far as the consumer has come.
    session: Option<SessionState>,
    session_ended: bool,
    session_since: Option<std::time::Instant>,
    state_since: Option<Instant>,
    last_event_seq: Option<u64>,
    consumer_is_slow: bool,
}

pub(super) fn pair(
    commands: usize,
    session: Option<SessionState>,
) -> (Arc<Shared>, ShardHandle, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(commands.max(1));
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            session,
            ..Inner::default()
        }),
        state: watch::Sender::new(ConnectionState::Waiting),
        shutdown: watch::Sender::new(None),
    });
    let handle = ShardHandle {
        shared: Arc::clone(&shared),
        commands: sender,
    };
    (shared, handle, receiver)
}

impl ShardHandle {
    /// How the shard is doing now.
    pub fn status(&self) -> ShardStatus {
        let state = *self.shared.state.borrow();
        let now = Instant::now();
        let inner = self.shared.lock();
        ShardStatus {
            state,
            heartbeat_latency: inner.heartbeat_latency,
            session_age: inner
                .session_since
                .map(|since| now.into_std().saturating_duration_since(since)),
            in_state_for: inner
                .state_since
                .map(|since| now.saturating_duration_since(since))
                .unwrap_or_default(),
            last_event_seq: inner.last_event_seq,
            consumer_is_slow: inner.consumer_is_slow,
            reconnects: inner.stats.reconnects,
            identifies: inner.stats.identifies,
            resumes: inner.stats.resumes,
            stats: inner.stats,
        }
    }

    /// The session as it can be resumed, at the last event that
    /// [`Shard::next_event`](crate::Shard::next_event) has given. Store it
    /// together with what was made of that event; if the consumer is further
    /// on than what is stored, take it [at](SessionState::at) the event that
    /// was fully processed, as long as no READY came in between (its numbers
    /// belong to another session).
    ///
    /// `None` before the first READY, after the session was ended, and from an
    /// [`Event::Undecodable`] that belongs to a guild's state until the next
    /// READY: what is known has a hole then, and a later process must not resume
    /// behind it.
    pub fn session(&self) -> Option<SessionState> {
        self.shared.lock().session.clone()
    }

    /// Sends a command as soon as the session is active and the limit of 120
    /// per minute allows it.
    ///
    /// # Errors
    ///
    /// The command is not valid, too many wait already, or the shard has
    /// ended. `Ok` means that it was queued.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        command.encode()?;
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CommandError::QueueFull,
                mpsc::error::TrySendError::Closed(_) => CommandError::Closed,
            })
    }

    pub(super) fn taken(&self, event: &GatewayEvent) {
        self.shared.taken(event);
    }

    /// Asks the shard to end; the first request counts. Events that are
    /// already in the buffer can still be taken, then
    /// [`next_event`](crate::Shard::next_event) gives `None`.
    pub fn shutdown(&self, how: Shutdown) {
        self.shared.shutdown.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(how);
            first
        });
    }

    /// Follows the changes of state.
    pub fn watch(&self) -> StateWatch {
        StateWatch(self.shared.state.subscribe())
    }
}

/// Follows a shard's [`ConnectionState`]. Only the latest state is seen: one
/// that lasted a moment may be missed.
#[derive(Debug, Clone)]
pub struct StateWatch(watch::Receiver<ConnectionState>);

impl StateWatch {
    /// The state now.
    pub fn current(&self) -> ConnectionState {
        *self.0.borrow()
    }

    /// Waits for a state that has not been seen; `None` when the shard and all
    /// its handles are gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<ConnectionState> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }

    /// Waits until the shard is in this state; `false` when it cannot come to
    /// it any more because the shard has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for(&mut self, state: ConnectionState) -> bool {
        let ended = |state: ConnectionState| {
            matches!(state, ConnectionState::Stopped | ConnectionState::Failed)
        };
        match self.0.wait_for(|now| *now == state || ended(*now)).await {
            Ok(now) => *now == state,
            Err(_) => false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what the protocol says.
    pub(super) fn publish(
        &self,
        protocol: &Protocol,
        last_event_seq: Option<u64>,
        consumer_is_slow: bool,
    ) {
        let mut inner = self.lock();
        inner.stats = protocol.stats();
        inner.heartbeat_latency = protocol.heartbeat_latency();
        inner.session_since = protocol.session_since();
        inner.last_event_seq = last_event_seq;
        inner.consumer_is_slow = consumer_is_slow;
        if protocol.is_finished() && protocol.session().is_none() {
            inner.session = None;
            inner.session_ended = true;
        }
    }

    /// The consumer has taken an event. The session follows the consumer, not
    /// the connection: numbers of one session must never be put beside the id
    /// of another, and up to a whole buffer of events lies between the two.
    pub(super) fn taken(&self, event: &GatewayEvent) {
        let mut inner = self.lock();
        if inner.session_ended {
            return;
        }
        if let Event::Ready(ready) = &event.event {
            inner.session = Some(SessionState {
                session_id: ready.session_id.clone(),
                resume_url: ready.resume_gateway_url.clone(),
                seq: event.seq,
            });
        } else if leaves_a_hole(&event.event) {
            inner.session = None;
        } else if let Some(session) = &mut inner.session {
            session.seq = session.seq.max(event.seq);
        }
    }

    pub(super) fn publish_state(&self, state: ConnectionState) {
        self.lock().state_since = Some(Instant::now());
        self.state.send_replace(state);
    }
}

/// Whether what is made of the events is wrong from this one on.
fn leaves_a_hole(event: &Event) -> bool {
    let Event::Undecodable { name, .. } = event else {
        return false;
    };
    EventKind::from_name(name).is_some_and(EventKind::is_state)
}
