//! A server on a thread of its own, and what it did in which time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::Notify, time::Instant};

use crate::Error;

/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was done in which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) wall: Duration,
    /// CPU time of the serving thread.
    pub(crate) cpu: Duration,
}

impl Measured {
    pub(crate) fn per_second(&self) -> u64 {
        rate(self.count, self.wall)
    }

    pub(crate) fn per_cpu_second(&self) -> u64 {
        rate(self.count, self.cpu)
    }
}

fn rate(count: u64, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64().max(1e-9)) as u64
}

/// CPU time that this thread has had.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// A stop watch for the wall and for this thread.
pub(crate) struct Watch {
    wall: Instant,
    cpu: Duration,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_time(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.wall.elapsed()
    }

    pub(crate) fn stop(&self, count: u64, bytes: u64) -> Measured {
        Measured {
            count,
            bytes,
            wall: self.wall.elapsed(),
            cpu: cpu_time().saturating_sub(self.cpu),
        }
    }
}

/// What a client has received, for the side that sends.
#[derive(Debug, Default)]
pub(crate) struct Received {
    count: AtomicU64,
    bytes: AtomicU64,
    more: Notify,
}

impl Received {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn add(&self, count: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count.fetch_add(count, Ordering::Release);
        self.more.notify_one();
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until `count` have arrived.
    pub(crate) async fn reach(&self, count: u64) -> Result<(), Error> {
        while self.count() < count {
            tokio::time::timeout(PATIENCE, self.more.notified())
                .await
                .map_err(|_| "the client receives nothing more: it was cut, or refused")?;
        }
        Ok(())
    }
}
