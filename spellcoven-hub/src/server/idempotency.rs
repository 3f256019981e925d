use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{http::ApiError, state::Memory};
use crate::wire::{CreateRoomBody, CreatedRoomBody};

/// What became of a create.
pub(crate) type Outcome = Arc<Result<CreatedRoomBody, ApiError>>;

/// Where the outcome will be told; `None` while at work.
pub(crate) type Pending = watch::Receiver<Option<Outcome>>;

/// A user's idempotency key: one user's keys mean nothing to another.
pub(crate) type Key = (String, String);

/// Creates by idempotency key, bounded in number and age. Failures are not remembered, so that they can be tried again.
pub(crate) struct Idempotency {
    entries: Memory<Key, Entry>,
    max_age: Duration,
}

struct Entry {
    body: CreateRoomBody,
    at: Instant,
    pending: Pending,
}

/// What a key means for a request.
pub(crate) enum Claim {
    /// The key is new: begin, and call `insert`.
    New,
    /// The same request is at work or done.
    Same(Pending),
    /// The key stands for another request.
    Other,
    /// No space: the oldest create is still at work.
    Full,
}

impl Idempotency {
    pub(crate) fn new(capacity: usize, max_age: Duration) -> Self {
        Self {
            entries: Memory::new(capacity),
            max_age,
        }
    }

    pub(crate) fn claim(&mut self, key: &Key, body: &CreateRoomBody, now: Instant) -> Claim {
        while let Some((oldest, entry)) = self.entries.oldest() {
            if now.duration_since(entry.at) < self.max_age {
                break;
            }
            let oldest = oldest.clone();
            self.entries.remove(&oldest);
        }
        match self.entries.get(key) {
            // The task died without an outcome.
            Some(entry) if entry.abandoned() => Claim::New,
            Some(entry) if entry.body != *body => Claim::Other,
            Some(entry) => Claim::Same(entry.pending.clone()),
            None if self.entries.is_full()
                && self
                    .entries
                    .oldest()
                    .is_some_and(|(_, entry)| entry.at_work()) =>
            {
                Claim::Full
            }
            None => Claim::New,
        }
    }

    pub(crate) fn insert(
        &mut self,
        key: Key,
        body: CreateRoomBody,
        pending: Pending,
        now: Instant,
    ) {
        self.entries.insert(
            key,
            Entry {
                body,
                at: now,
                pending,
            },
        );
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
    }
}

impl Entry {
    fn at_work(&self) -> bool {
        self.pending.borrow().is_none() && !self.abandoned()
    }

    fn abandoned(&self) -> bool {
        self.pending.borrow().is_none() && self.pending.has_changed().is_err()
    }
}
