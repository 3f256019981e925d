use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

/// Counters of a hub. Labels are of fixed sets, so nothing here grows.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Events handed to clients' sockets.
    pub(crate) delivered: AtomicU64,
    /// Bytes waiting for clients that do not read fast enough.
    pub(crate) buffered: AtomicI64,
    pub(crate) opened: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) posts: AtomicU64,
    /// Closed WebSocket connections by code and reason.
    pub(crate) closed: Labelled,
    /// Refused webhook signatures by reason.
    pub(crate) signatures: Labelled,
    /// Error answers by code.
    pub(crate) errors: Labelled,
}

/// A counter with one label.
#[derive(Debug, Default)]
pub(crate) struct Labelled(Mutex<BTreeMap<&'static str, u64>>);

impl Labelled {
    pub(crate) fn add(&self, label: &'static str) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(label)
            .or_default() += 1;
    }

    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Numbers of a hub at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// WebSocket connections now, those not yet authenticated included.
    pub connections: usize,
    /// The epoch of the hub's memory.
    pub epoch: String,
    /// The last event's number.
    pub seq: u64,
    /// Rooms known.
    pub rooms: usize,
    /// People in rooms.
    pub members: usize,
    /// Whether a snapshot of the worker came in this epoch.
    pub synced: bool,
    /// Events that can be resumed.
    pub ring_events: usize,
    /// Their bytes.
    pub ring_bytes: usize,
    /// Events handed to clients' sockets since the start.
    pub delivered: u64,
    /// Bytes waiting for clients that do not read fast enough.
    pub buffered_bytes: u64,
    /// Rooms and people that were not kept, for want of space.
    pub overflow: u64,
    /// Closed WebSocket connections since the start, by reason.
    pub closed: BTreeMap<&'static str, u64>,
    /// Refused webhook signatures since the start, by reason.
    pub refused_signatures: BTreeMap<&'static str, u64>,
    /// Error answers since the start, by code.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Metrics {
    pub(crate) fn load(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    pub(crate) fn buffered_bytes(&self) -> u64 {
        u64::try_from(self.buffered.load(Relaxed)).unwrap_or(0)
    }
}
