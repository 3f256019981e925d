use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

/// A boxed future, as the traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Discord documentation, "Gateway", Rate Limiting: one identify per key and
/// 5 seconds.
const IDENTIFY_DELAY: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who may identify, and when. The limits are per token, over all shards,
/// processes and machines: shards of one process share one queue (an
/// `Arc<InMemoryIdentifyQueue>` is a queue too), and those of many need an
/// implementation that asks a common service.
pub trait IdentifyQueue: Send + Sync + 'static {
    /// Completes when this shard may send Identify, which it then does at
    /// once.
    ///
    /// # Cancel safety
    ///
    /// The shard drops the future when its connection ends: dropped before it
    /// completes, it must give the turn to the next and spend nothing.
    fn acquire(&self, shard_id: u32) -> BoxFuture<'_, ()>;
}

impl<T: IdentifyQueue + ?Sized> IdentifyQueue for Arc<T> {
    fn acquire(&self, shard_id: u32) -> BoxFuture<'_, ()> {
        (**self).acquire(shard_id)
    }
}

/// The object of the same name in `GET /gateway/bot`.
///
/// Source: Discord documentation, "Gateway", Session Start Limit Object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStartLimit {
    /// Identifies allowed in 24 hours.
    pub total: u32,
    /// How many are left.
    pub remaining: u32,
    /// When `remaining` is `total` again.
    pub reset_after: Duration,
    /// Identifies allowed in 5 seconds, each with another key
    /// `shard_id % max_concurrency`. At least 1.
    pub max_concurrency: u32,
}

impl Default for SessionStartLimit {
    /// What a small bot has at the start of a day: 1000, one at a time.
    fn default() -> Self {
        Self {
            total: 1000,
            remaining: 1000,
            reset_after: DAY,
            max_concurrency: 1,
        }
    }
}

/// The queue for shards of one process: 5 s between identifies of one key, and
/// a daily budget.
///
/// When only the reserve is left, identifies wait for the reset. Spending the
/// whole budget would end all sessions and reset the token (Discord
/// documentation, "Gateway", Identifying).
#[derive(Debug)]
pub struct InMemoryIdentifyQueue {
    reserve: Option<u32>,
    budget: std::sync::Mutex<Budget>,
    /// A fair lock for each key, held while waiting for the turn.
    keys: std::sync::Mutex<BTreeMap<u32, Arc<Mutex<Option<Instant>>>>>,
}

#[derive(Debug)]
struct Budget {
    limit: SessionStartLimit,
    /// When `limit` was learnt; set by the first use, so that a queue can be
    /// made outside of a runtime.
    since: Option<Instant>,
}

impl InMemoryIdentifyQueue {
    /// A queue with this limit, as it stands now.
    pub fn new(limit: SessionStartLimit) -> Self {
        Self {
            reserve: None,
            budget: std::sync::Mutex::new(Budget { limit, since: None }),
            keys: std::sync::Mutex::default(),
        }
    }

    /// How many identifies of a day are never spent, for whatever else uses
    /// the same token. Default: one in a hundred of `total`, so 10 of 1000 and
    /// 0 of 99.
    #[must_use]
    pub fn reserve(mut self, reserve: u32) -> Self {
        self.reserve = Some(reserve);
        self
    }

    /// A newer answer of `GET /gateway/bot`. A waiting identify sees it when
    /// it next looks, at the latest after a minute.
    pub fn update(&self, limit: SessionStartLimit) {
        *lock(&self.budget) = Budget {
            limit,
            since: Some(Instant::now()),
        };
    }

    /// How many identifies are left for use, the reserve taken off.
    pub fn remaining(&self) -> u32 {
        let budget = lock(&self.budget);
        budget
            .limit
            .remaining
            .saturating_sub(self.reserve_of(&budget))
    }

    fn reserve_of(&self, budget: &Budget) -> u32 {
        self.reserve.unwrap_or(budget.limit.total / 100)
    }

    /// Takes one from the budget, or says how long to wait before asking again.
    fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut budget = lock(&self.budget);
        let since = *budget.since.get_or_insert(now);
        let reset = since + budget.limit.reset_after;
        if now >= reset {
            budget.limit.remaining = budget.limit.total;
            budget.limit.reset_after = DAY;
            budget.since = Some(now);
        }
        if budget.limit.remaining <= self.reserve_of(&budget) {
            let wait = reset.saturating_duration_since(now);
            return Err(wait.clamp(Duration::from_millis(1), Duration::from_secs(60)));
        }
        budget.limit.remaining -= 1;
        Ok(())
    }

    fn key(&self, shard_id: u32) -> Arc<Mutex<Option<Instant>>> {
        let concurrency = lock(&self.budget).limit.max_concurrency.max(1);
        Arc::clone(lock(&self.keys).entry(shard_id % concurrency).or_default())
    }
}

impl Default for InMemoryIdentifyQueue {
    fn default() -> Self {
        Self::new(SessionStartLimit::default())
    }
}

impl IdentifyQueue for InMemoryIdentifyQueue {
    fn acquire(&self, shard_id: u32) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let key = self.key(shard_id);
            let mut last = key.lock().await;
            if let Some(last) = *last {
                tokio::time::sleep_until(last + IDENTIFY_DELAY).await;
            }
            let mut told = false;
            while let Err(wait) = self.take(Instant::now()) {
                if !told {
                    tracing::warn!("the identifies of this day are spent: waiting for the reset");
                    told = true;
                }
                tokio::time::sleep(wait).await;
            }
            *last = Some(Instant::now());
        })
    }
}

/// A lock that a panic elsewhere has not spoilt: the data are plain numbers.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
