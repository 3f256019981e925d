//! Transitions that have been prepared and wait for their word.

use std::collections::BTreeMap;

use super::super::ratchet::KeyRatchet;

/// How many may wait; the oldest goes when one more comes.
const MAX_PENDING: usize = 64;

/// A transition that was prepared: what sending changes to when it is executed.
#[derive(Debug)]
pub(super) struct Prepared {
    order: u64,
    pub(super) version: u16,
    /// Our own keys in the epoch it belongs to; `None` if there was no group then.
    pub(super) keys: Option<KeyRatchet>,
}

/// All of them, and which was executed last.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    pending: BTreeMap<u16, Prepared>,
    prepared: u64,
    executed: u64,
    last_executed: u16,
}

impl Transitions {
    pub(super) fn prepare(&mut self, version: u16, keys: Option<KeyRatchet>) -> Prepared {
        self.prepared += 1;
        Prepared {
            order: self.prepared,
            version,
            keys,
        }
    }

    pub(super) fn wait(&mut self, transition: u16, prepared: Prepared) {
        self.pending.insert(transition, prepared);
        if self.pending.len() > MAX_PENDING {
            let oldest = self
                .pending
                .iter()
                .min_by_key(|(_, prepared)| prepared.order);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.pending.remove(&oldest);
            }
        }
    }

    pub(super) fn take(&mut self, transition: u16) -> Option<Prepared> {
        self.pending.remove(&transition)
    }

    /// Notes that it is executed; `false` if a later one has been already, so that this one must change nothing.
    pub(super) fn execute(&mut self, transition: u16, prepared: &Prepared) -> bool {
        if prepared.order < self.executed {
            return false;
        }
        self.executed = prepared.order;
        // Those prepared before it would change nothing any more. One whose word never came would otherwise be pending for
        // ever.
        self.pending
            .retain(|_, waiting| waiting.order > prepared.order);
        self.last_executed = transition;
        true
    }

    pub(super) fn is_pending(&self, transition: u16) -> bool {
        self.pending.contains_key(&transition)
    }

    pub(super) fn any_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the call is on its way out of end-to-end encryption.
    pub(super) fn downgrade_pending(&self) -> bool {
        self.pending.values().any(|prepared| prepared.version == 0)
    }

    /// 0 if none with an id has been.
    pub(super) fn last_executed(&self) -> u16 {
        self.last_executed
    }
}
