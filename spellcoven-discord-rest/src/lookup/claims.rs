//! Which channels are whose, among the creates of one client.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, PoisonError},
};

use super::wanted::{Fingerprint, Wanted};
use crate::client::Inner;

/// Channels remembered as made by some call. A look-up asks for those of the
/// last seconds, so older ones can go.
const MAX_CLAIMED: usize = 4096;

/// Channels that a call of this client has already got, and creates under way.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claimed: BTreeSet<u64>,
    order: VecDeque<u64>,
    sending: BTreeMap<Fingerprint, u32>,
}

impl Claims {
    pub(crate) fn claim(&mut self, channel: u64) {
        if !self.claimed.insert(channel) {
            return;
        }
        self.order.push_back(channel);
        if self.order.len() > MAX_CLAIMED
            && let Some(oldest) = self.order.pop_front()
        {
            self.claimed.remove(&oldest);
        }
    }

    pub(crate) fn is_claimed(&self, channel: u64) -> bool {
        self.claimed.contains(&channel)
    }

    /// Whether an equal create is being sent by another call.
    pub(crate) fn is_sending(&self, wanted: &Wanted) -> bool {
        self.sending.contains_key(&wanted.fingerprint())
    }
}

/// Stands while a create is being sent; ends when it is dropped.
pub(crate) struct Sending {
    client: Arc<Inner>,
    fingerprint: Fingerprint,
}

impl Sending {
    pub(crate) fn begin(client: &Arc<Inner>, wanted: &Wanted) -> Self {
        let fingerprint = wanted.fingerprint();
        let mut claims = client.claims.lock().unwrap_or_else(PoisonError::into_inner);
        *claims.sending.entry(fingerprint.clone()).or_insert(0) += 1;
        drop(claims);
        Self {
            client: client.clone(),
            fingerprint,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut claims = self
            .client
            .claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = claims.sending.get_mut(&self.fingerprint) {
            *count -= 1;
            if *count == 0 {
                claims.sending.remove(&self.fingerprint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest() {
        let mut claims = Claims::default();
        for id in 0..=MAX_CLAIMED as u64 {
            claims.claim(id);
            claims.claim(id);
        }
        assert!(!claims.is_claimed(0));
        assert!(claims.is_claimed(1));
        assert_eq!(claims.claimed.len(), MAX_CLAIMED);
    }
}
