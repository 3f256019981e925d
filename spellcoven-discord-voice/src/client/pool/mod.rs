//! Many clients on few tasks.

mod jobs;
mod net;
mod shard;
mod timers;
mod wakes;

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
};

use self::shard::{Inbox, Shard};
pub(super) use self::{
    jobs::Jobs,
    net::{SharedNet, Slot},
};
use super::driver::Driver;

/// Threads for work on keys, where nobody says otherwise.
const MLS_THREADS: usize = 2;

/// Drives many clients with few tasks: what a process with more than some dozens of calls wants.
///
/// A client without a pool has a task, a timer and a UDP socket of its own. In a pool it lives on one of few *shards*.
/// A shard is one task with one timer for all its calls: at each wake it paces the calls that are due, in the order of
/// their deadlines, and sends their datagrams together. What comes for one call (its WebSocket, orders, work on keys
/// that is done) wakes the shard for that call only. Work on keys (MLS: the more CPU time the larger the call) runs
/// on few threads for all.
///
/// With a connector that says so ([`VoiceConnector::is_plain_udp`](crate::VoiceConnector::is_plain_udp), as
/// [`TcpTlsUdp`](crate::TcpTlsUdp) does), the calls of a shard share UDP sockets: up to 32 on one, each with another
/// voice server's address, by which it is told whose a datagram is. On Linux they send and receive 32 datagrams in one
/// system call. Calls with the same address get sockets of their own.
///
/// Clones are the same pool. It ends when the pool and its builders are dropped and its last client is gone. What one
/// client is given (source, signalling, connector) must not block, for that holds up its whole shard; if it panics, that
/// client ends with [`CallError::Panicked`](crate::CallError::Panicked), and the others go on.
///
/// ```
/// # async fn example(signalling: impl spellcoven_discord_voice::Signalling) {
/// use spellcoven_discord_voice::{DiscordRtcClient, Id, VoicePool};
///
/// let pool = VoicePool::new();
/// let client = DiscordRtcClient::builder(Id::new(1), Id::new(2), signalling)
///     .pool(&pool)
///     .build();
/// # }
/// ```
#[derive(Clone)]
pub struct VoicePool(Arc<Pool>);

struct Pool {
    shards: Vec<Arc<Inbox>>,
}

impl fmt::Debug for VoicePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoicePool")
            .field("shards", &self.0.shards.len())
            .field("clients", &self.clients())
            .finish()
    }
}

impl Default for VoicePool {
    fn default() -> Self {
        Self::new()
    }
}

impl VoicePool {
    /// A pool with one shard for each core.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime. The pool lives on the runtime in which it is made, and ends with it: clients that
    /// it has then end, too.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A pool with other settings.
    pub fn builder() -> VoicePoolBuilder {
        VoicePoolBuilder {
            shards: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            mls_threads: MLS_THREADS,
            shared_sockets: true,
        }
    }

    /// How many clients it has at the moment, over all shards.
    pub fn clients(&self) -> usize {
        let shards = self.0.shards.iter();
        shards
            .map(|inbox| inbox.calls.load(Ordering::Relaxed))
            .sum()
    }

    /// Gives the client to the shard that has the fewest.
    pub(super) fn adopt(&self, driver: Driver, span: tracing::Span) {
        let shards = self.0.shards.iter();
        if let Some(inbox) = shards.min_by_key(|inbox| inbox.calls.load(Ordering::Relaxed)) {
            inbox.add(driver, span);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for inbox in &self.shards {
            inbox.close();
        }
    }
}

/// Drives one client on a task of its own. Must be called within a runtime.
pub(super) fn alone(driver: Driver, span: tracing::Span) {
    let inbox = Inbox::new();
    inbox.add(driver, span);
    inbox.close();
    Shard::new(inbox, Jobs::new(1), false).spawn();
}

/// Settings of a [`VoicePool`].
#[derive(Debug, Clone)]
pub struct VoicePoolBuilder {
    shards: usize,
    mls_threads: usize,
    shared_sockets: bool,
}

impl VoicePoolBuilder {
    /// The number of shards; at least 1, default: one for each core. Each is a task of the tokio runtime, so more than
    /// the runtime has threads are of no use.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards.max(1);
        self
    }

    /// How many of tokio's blocking threads work on keys (MLS) at a time, for all clients together; at least 1,
    /// default 2. More make keys come sooner where many calls begin at once, and take CPU from the audio then.
    #[must_use]
    pub fn mls_threads(mut self, threads: usize) -> Self {
        self.mls_threads = threads.max(1);
        self
    }

    /// Whether calls share UDP sockets where they can. Default: yes. Without, each call has a connected socket of its
    /// own, at the price of a system call for each datagram.
    #[must_use]
    pub fn shared_sockets(mut self, shared: bool) -> Self {
        self.shared_sockets = shared;
        self
    }

    /// Starts the shards on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> VoicePool {
        let jobs = Jobs::new(self.mls_threads);
        let shards = (0..self.shards)
            .map(|_| {
                let inbox = Inbox::new();
                Shard::new(Arc::clone(&inbox), jobs.clone(), self.shared_sockets).spawn();
                inbox
            })
            .collect();
        VoicePool(Arc::new(Pool { shards }))
    }
}
