//! What an answer, or the lack of one, means for the post and the queue.

use std::time::{Duration, Instant};

use super::{Kind, Outbox, Outcome, UnhealthyReason, Verdict};

/// A Retry-After beyond this is not believed: the hub would look dead for as
/// long as a mistaken peer says.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(60);

impl Outbox {
    /// How the post of the last [`Step::Post`] ended.
    pub(in super::super) fn handle_outcome(&mut self, outcome: Outcome, now: Instant) -> Verdict {
        self.posting = false;
        self.last_exchange = Some(now);
        let Outcome::Answer {
            status,
            retry_after,
            epoch,
            synced,
        } = outcome
        else {
            return self.retry(UnhealthyReason::Unreachable, None, now);
        };
        match status {
            200..=299 => self.delivered(epoch, synced, now),
            400 | 413 | 422 => self.dropped(status),
            404 | 405 if self.head_kind() == Some(Kind::Ping) => self.dropped(status),
            401 | 403 => {
                self.counters.refused += 1;
                self.retry(UnhealthyReason::SignatureRefused, None, now)
            }
            408 | 429 | 500..=599 => {
                self.retry(UnhealthyReason::HubFailing { status }, retry_after, now)
            }
            _ => self.retry(UnhealthyReason::Misconfigured { status }, retry_after, now),
        }
    }

    fn delivered(&mut self, epoch: Option<String>, synced: Option<bool>, now: Instant) -> Verdict {
        let kind = self.head_kind();
        self.head = None;
        self.settle();
        self.failure = None;
        self.counters.last_success = Some(now);
        if kind != Some(Kind::Ping) {
            self.counters.delivered += 1;
        }
        let mut restarted = false;
        if let Some(epoch) = epoch {
            restarted = self.hub_epoch.as_ref().is_some_and(|known| *known != epoch);
            if restarted {
                self.counters.hub_restarts += 1;
                self.synced = false;
                self.snapshot_refused = false;
                self.ping_refused = false;
            }
            self.plain_endpoint = false;
            self.hub_epoch = Some(epoch);
        }
        if kind == Some(Kind::Snapshot) {
            // Whatever the epoch, it holds what stands behind us in the queue.
            self.synced = true;
            self.snapshot_refused = false;
            self.plain_endpoint = self.hub_epoch.is_none();
        } else if restarted || (synced == Some(false) && !self.synced && !self.snapshot_refused) {
            self.start_resync(now);
        }
        Verdict::Delivered { restarted }
    }

    fn dropped(&mut self, status: u16) -> Verdict {
        let kind = self.head_kind();
        self.head = None;
        self.settle();
        self.failure = None;
        match kind {
            Some(Kind::Ping) => self.ping_refused = true,
            Some(Kind::Snapshot) => {
                self.counters.dropped += 1;
                self.snapshot_refused = true;
                if status != 413 && self.hub_epoch.is_none() {
                    self.plain_endpoint = true;
                }
            }
            Some(Kind::Event(_)) | None => self.counters.dropped += 1,
        }
        Verdict::Dropped
    }

    fn retry(
        &mut self,
        reason: UnhealthyReason,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Verdict {
        self.failure = Some(reason);
        if self.head_kind() == Some(Kind::Ping) {
            // A ping holds nobody up: the next event is tried at once, the
            // next ping after its interval.
            self.head = None;
            return Verdict::Superseded { reason };
        }
        let delay = self
            .backoff
            .next_delay()
            .max(retry_after.unwrap_or_default().min(RETRY_AFTER_CAP));
        self.counters.retries += 1;
        self.not_before = Some(now + delay);
        if self.resync_since.is_some() && self.head.take().is_some() {
            self.counters.subsumed += 1;
            return Verdict::Superseded { reason };
        }
        Verdict::Retry { delay, reason }
    }

    fn settle(&mut self) {
        self.not_before = None;
        self.backoff.reset();
    }
}
