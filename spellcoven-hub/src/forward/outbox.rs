//! What waits to be posted, and in which order: a state machine without I/O
//! and without a clock.
//!
//! The shell calls [`Outbox::poll`] and does what the [`Step`] says, then hands
//! the result back through [`Outbox::handle_outcome`]. One post is in flight at
//! a time, so the order of a guild's events is the order of the calls.
//!
//! Beside the queue stands the *mirror*, the guild as it is after everything
//! that was ever sent. When the queue can no longer tell the whole story (the
//! hub restarted, the queue ran over, the worker has only begun), it is thrown
//! away and a `guild.snapshot` of the mirror takes its place.

mod answer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backoff::Backoff;
use super::status::{ForwardStatus, UnhealthyReason};
use crate::model::GuildModel;
use crate::wire::{GuildSnapshot, HubEvent, Member, Snowflake, VoiceJoined, WebhookEvent};

/// The bounds and intervals of an [`Outbox`].
#[derive(Debug, Clone)]
pub(super) struct OutboxConfig {
    pub(super) guild_id: Snowflake,
    /// Queued events at most.
    pub(super) limit: usize,
    /// Bytes of queued bodies at most.
    pub(super) byte_limit: usize,
    /// Time without a post after which a ping asks for the hub's epoch.
    pub(super) ping_interval: Duration,
    /// The unguessable half of every delivery id of this worker's life.
    pub(super) delivery_prefix: String,
}

/// What a post carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One event, by the name it has on the wire.
    Event(&'static str),
    /// `guild.snapshot`.
    Snapshot,
    /// `hub.ping`.
    Ping,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Event(name) => name,
            Self::Snapshot => "guild.snapshot",
            Self::Ping => "hub.ping",
        }
    }
}

/// One post to make. The same delivery id always stands for the same body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) kind: Kind,
    pub(super) delivery_id: Arc<str>,
    pub(super) body: Bytes,
}

/// What the shell has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make this post and report its outcome.
    Post(Post),
    /// Nothing to do before this time, or before the next call.
    Wait(Option<Instant>),
}

/// How a post ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An HTTP answer came.
    Answer {
        status: u16,
        retry_after: Option<Duration>,
        /// The hub's epoch, where the answer named one.
        epoch: Option<String>,
        /// Whether this epoch has seen a snapshot, where the answer said so.
        synced: Option<bool>,
    },
    /// None came; whether the post was handled is unknown.
    Unreachable,
}

/// What became of a post, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Handled. `restarted`: by a hub that has lost its memory since.
    Delivered { restarted: bool },
    /// Refused for good and thrown away.
    Dropped,
    /// Kept; the next try is in `delay`.
    Retry {
        delay: Duration,
        reason: UnhealthyReason,
    },
    /// It failed, and nothing is lost by not repeating it.
    Superseded { reason: UnhealthyReason },
}

#[derive(Debug)]
struct Item {
    post: Post,
    queued_at: Instant,
}

/// The queue, the mirror and the rules between them.
#[derive(Debug)]
pub(super) struct Outbox {
    config: OutboxConfig,
    mirror: Option<GuildModel>,
    queue: VecDeque<Item>,
    queue_bytes: usize,
    /// Taken from the queue: on the wire, or waiting for its next try.
    head: Option<Item>,
    posting: bool,
    /// A snapshot of the mirror is owed since then. While it is, the queue is
    /// empty and new events only reach the mirror, which the snapshot reads
    /// when its first try begins.
    resync_since: Option<Instant>,
    not_before: Option<Instant>,
    backoff: Backoff,
    last_exchange: Option<Instant>,
    hub_epoch: Option<String>,
    /// This epoch has taken a snapshot of ours.
    synced: bool,
    /// This epoch refused a snapshot: it gets no other unless asked for.
    snapshot_refused: bool,
    /// The endpoint knows no snapshots and has no epoch (the original system).
    plain_endpoint: bool,
    ping_refused: bool,
    stale: bool,
    next_delivery: u64,
    failure: Option<UnhealthyReason>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: u64,
    dropped: u64,
    subsumed: u64,
    refused: u64,
    retries: u64,
    hub_restarts: u64,
    overflows: u64,
    last_success: Option<Instant>,
}

impl Outbox {
    pub(super) fn new(config: OutboxConfig, backoff: Backoff) -> Self {
        Self {
            config,
            mirror: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            head: None,
            posting: false,
            resync_since: None,
            not_before: None,
            backoff,
            last_exchange: None,
            hub_epoch: None,
            synced: false,
            snapshot_refused: false,
            plain_endpoint: false,
            ping_refused: false,
            stale: false,
            next_delivery: 0,
            failure: None,
            counters: Counters::default(),
        }
    }

    /// One event: into the mirror, and into the queue unless a snapshot that
    /// is still to be made will contain it.
    pub(super) fn push_event(&mut self, event: &HubEvent, now: Instant) {
        let Some(mirror) = &mut self.mirror else {
            // Older than the snapshot every worker begins with, so within it.
            self.counters.subsumed += 1;
            return;
        };
        let joined = people_shown_by(event, mirror);
        mirror.apply(event);
        for event in std::iter::once(event).chain(&joined) {
            if self.resync_since.is_some() {
                self.counters.subsumed += 1;
            } else {
                let body = WebhookEvent::Event(event.clone()).to_body().into();
                self.enqueue(Kind::Event(event.name()), body, now);
            }
        }
    }

    /// The whole guild: replaces the mirror and is told after all that was
    /// queued before.
    pub(super) fn push_snapshot(&mut self, snapshot: &GuildSnapshot, now: Instant) {
        self.snapshot_refused = false;
        let first = self.mirror.is_none();
        let mirror = self.mirror.insert(GuildModel::from_snapshot(snapshot));
        if first {
            self.start_resync(now);
        } else if self.resync_since.is_none() {
            let body = snapshot_body(mirror, self.config.guild_id);
            self.enqueue(Kind::Snapshot, body, now);
        }
    }

    pub(super) fn mark_stale(&mut self, stale: bool) {
        self.stale = stale;
    }

    #[cfg(feature = "discord-gateway")]
    pub(super) fn has_snapshot(&self) -> bool {
        self.mirror.is_some()
    }

    fn enqueue(&mut self, kind: Kind, body: Bytes, now: Instant) {
        self.queue_bytes += body.len();
        let post = Post {
            kind,
            delivery_id: self.new_delivery_id(),
            body,
        };
        self.queue.push_back(Item {
            post,
            queued_at: now,
        });
        if self.queue.len() <= self.config.limit && self.queue_bytes <= self.config.byte_limit {
            return;
        }
        self.counters.overflows += 1;
        if self.plain_endpoint {
            // No snapshot can make up for a loss there: lose the oldest only.
            while self.queue.len() > self.config.limit || self.queue_bytes > self.config.byte_limit
            {
                let Some(oldest) = self.queue.pop_front() else {
                    break;
                };
                self.queue_bytes -= oldest.post.body.len();
                self.counters.dropped += 1;
            }
        } else {
            self.start_resync(now);
        }
    }

    /// Throws the queue away in favour of a snapshot. A post on the wire stays:
    /// it is older than the snapshot and is over before that begins.
    fn start_resync(&mut self, now: Instant) {
        self.counters.subsumed += self.queue.len() as u64;
        self.queue.clear();
        self.queue_bytes = 0;
        if !self.posting && self.head.take().is_some() {
            self.counters.subsumed += 1;
        }
        self.resync_since.get_or_insert(now);
    }

    fn new_delivery_id(&mut self) -> Arc<str> {
        self.next_delivery += 1;
        format!("{}-{}", self.config.delivery_prefix, self.next_delivery).into()
    }

    /// What to do next. With `pings` off (a worker that shuts down) only what
    /// is owed is posted.
    pub(super) fn poll(&mut self, now: Instant, pings: bool) -> Step {
        if self.posting {
            return Step::Wait(None);
        }
        if let Some(at) = self.not_before.filter(|at| *at > now)
            && self.depth() > 0
        {
            return Step::Wait(Some(at));
        }
        if self.head.is_none() {
            self.head = self.next_item(now);
        }
        if self.head.is_none() && pings {
            match self.ping_due() {
                Some(at) if at <= now => self.head = Some(self.ping(now)),
                due => return Step::Wait(due),
            }
        }
        match &self.head {
            Some(item) => {
                self.posting = true;
                Step::Post(item.post.clone())
            }
            None => Step::Wait(None),
        }
    }

    fn next_item(&mut self, now: Instant) -> Option<Item> {
        if let (Some(since), Some(mirror)) = (self.resync_since, &self.mirror) {
            let body = snapshot_body(mirror, self.config.guild_id);
            self.resync_since = None;
            let post = Post {
                kind: Kind::Snapshot,
                delivery_id: self.new_delivery_id(),
                body,
            };
            return Some(Item {
                post,
                queued_at: since.min(now),
            });
        }
        let item = self.queue.pop_front()?;
        self.queue_bytes -= item.post.body.len();
        Some(item)
    }

    fn ping_due(&self) -> Option<Instant> {
        if self.hub_epoch.is_none() || self.ping_refused {
            return None;
        }
        self.last_exchange.map(|at| at + self.config.ping_interval)
    }

    fn ping(&mut self, now: Instant) -> Item {
        let body = WebhookEvent::Ping {
            guild_id: self.config.guild_id,
        }
        .to_body()
        .into();
        let post = Post {
            kind: Kind::Ping,
            delivery_id: self.new_delivery_id(),
            body,
        };
        Item {
            post,
            queued_at: now,
        }
    }

    fn head_kind(&self) -> Option<Kind> {
        self.head.as_ref().map(|item| item.post.kind)
    }

    /// What the last exchange failed of.
    pub(super) fn failure(&self) -> Option<UnhealthyReason> {
        self.failure
    }

    /// Posts owed: the one in flight, the queued, the snapshot to be made.
    pub(super) fn depth(&self) -> usize {
        let head = matches!(self.head_kind(), Some(Kind::Event(_) | Kind::Snapshot));
        self.queue.len() + usize::from(head) + usize::from(self.resync_since.is_some())
    }

    /// Whether nothing is owed and nothing is on the wire.
    pub(super) fn is_idle(&self) -> bool {
        self.depth() == 0 && !self.posting
    }

    /// What the hub last called its epoch, where it ever named one.
    pub(super) fn hub_epoch(&self) -> Option<String> {
        self.hub_epoch.clone()
    }

    pub(super) fn status(&self, now: Instant) -> ForwardStatus {
        let head = self
            .head
            .as_ref()
            .filter(|item| item.post.kind != Kind::Ping);
        let oldest = head
            .or(self.queue.front())
            .map(|item| item.queued_at)
            .into_iter()
            .chain(self.resync_since)
            .min();
        let reason = self
            .failure
            .or(match (&self.mirror, self.counters.last_success) {
                (None, _) => Some(UnhealthyReason::NoSnapshotYet),
                (Some(_), None) => Some(UnhealthyReason::NothingDeliveredYet),
                (Some(_), Some(_)) if self.snapshot_refused && !self.plain_endpoint => {
                    Some(UnhealthyReason::SnapshotRefused)
                }
                (Some(_), Some(_)) => None,
            });
        ForwardStatus {
            outbox_depth: self.depth(),
            oldest_age: oldest.map(|at| now.saturating_duration_since(at)),
            delivered: self.counters.delivered,
            dropped: self.counters.dropped,
            subsumed: self.counters.subsumed,
            refused: self.counters.refused,
            retries: self.counters.retries,
            hub_restarts: self.counters.hub_restarts,
            overflows: self.counters.overflows,
            since_last_success: self
                .counters
                .last_success
                .map(|at| now.saturating_duration_since(at)),
            hub_epoch: self.hub_epoch.clone(),
            stale: self.stale,
            healthy: reason.is_none(),
            reason,
        }
    }
}

/// Whoever joined a room before it was announced may be missing at the hub: a
/// snapshot made in between could not name them. Telling a join twice is harmless.
fn people_shown_by(event: &HubEvent, mirror: &GuildModel) -> Vec<HubEvent> {
    let (HubEvent::RoomCreated(room) | HubEvent::RoomUpdated(room)) = event else {
        return Vec::new();
    };
    let joined = |member: Member| {
        HubEvent::VoiceJoined(VoiceJoined {
            guild_id: room.guild_id,
            channel_id: room.channel_id,
            user_id: member.user_id,
            self_mute: Some(member.self_mute),
            self_deaf: Some(member.self_deaf),
            self_video: Some(member.self_video),
        })
    };
    mirror
        .unshown(room.channel_id)
        .into_iter()
        .map(joined)
        .collect()
}

fn snapshot_body(mirror: &GuildModel, guild_id: Snowflake) -> Bytes {
    WebhookEvent::Snapshot(mirror.snapshot(guild_id))
        .to_body()
        .into()
}

#[cfg(test)]
mod tests;
