use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;
use serde::Serialize;

use super::{
    limits::Limits,
    log::{Cursor, Head, Log},
    state::{Deliveries, GuildRooms, Memory, StateLimits},
};
use crate::wire::{
    Envelope, GuildSnapshot, HubEvent, MessageKind, PROTOCOL_VERSION, ResumePoint, RoomSnapshot,
    Snowflake, WebhookAnswer, WebhookEvent, names,
};

/// Forwarders whose last snapshot is remembered; each start of a worker is one.
const MAX_FENCES: usize = 64;

/// State and log together: what is applied to the one is announced in the other, under one lock.
pub(crate) struct Core {
    pub(crate) epoch: String,
    pub(crate) state: GuildRooms,
    pub(crate) log: Log,
    /// When the worker last posted with a good signature.
    last_post: Option<Instant>,
    /// Events come, but neither a snapshot nor an epoch: a worker of the original system, which is silent when nothing happens.
    plain_worker: bool,
    deliveries: Deliveries,
    /// By forwarder, the number of its last snapshot: what it posted before is contained in it.
    fences: Memory<String, u64>,
    snapshot: Option<CachedSnapshot>,
}

/// A snapshot, serialised once for all who ask at the same `seq`.
#[derive(Clone)]
pub(crate) struct CachedSnapshot {
    pub(crate) seq: u64,
    /// The body of `GET /api/rooms`.
    pub(crate) body: Bytes,
    /// The message `room.snapshot`.
    pub(crate) message: Utf8Bytes,
}

/// An event as a client sees it.
#[derive(Serialize)]
struct EventMessage<'a> {
    v: u8,
    #[serde(rename = "type")]
    kind: MessageKind,
    /// Gives `event` and `payload`.
    #[serde(flatten)]
    event: &'a HubEvent,
    ts: u64,
    epoch: &'a str,
    seq: u64,
}

impl Core {
    pub(crate) fn new(guild_id: Snowflake, epoch: String, limits: &Limits) -> Self {
        let state = StateLimits {
            max_rooms: limits.max_rooms,
            max_members: limits.max_members,
            tombstones: limits.tombstones,
            confirm_grace: limits.confirm_grace,
        };
        Self {
            epoch,
            state: GuildRooms::new(guild_id, state),
            log: Log::new(limits.ring_events, limits.ring_bytes),
            last_post: None,
            plain_worker: false,
            deliveries: Deliveries::new(limits.deliveries, limits.delivery_age),
            fences: Memory::new(MAX_FENCES),
            snapshot: None,
        }
    }

    /// Applies a post of the worker, unless
    ///
    /// - its delivery was applied before,
    /// - it comes late: a snapshot that the same forwarder made after it was applied before,
    /// - it is an event meant for another epoch: the worker learns of this one from the answer, and sends a snapshot with
    ///   the event in it.
    pub(crate) fn handle_post(
        &mut self,
        event: WebhookEvent,
        delivery: Option<&str>,
        epoch: Option<&str>,
        now: Instant,
        now_ms: u64,
    ) -> WebhookAnswer {
        self.last_post = Some(now);
        let seen = delivery.is_some_and(|id| self.deliveries.contains(id, now));
        let stale = matches!(event, WebhookEvent::Event(_))
            && epoch.is_some_and(|epoch| epoch != self.epoch);
        let number = delivery.and_then(numbered);
        let late = number.is_some_and(|(forwarder, number)| {
            self.fences
                .get(forwarder)
                .is_some_and(|fence| number < *fence)
        });
        if !seen && !stale && !late {
            let events = match event {
                WebhookEvent::Event(event) => {
                    self.plain_worker |= epoch.is_none();
                    self.state.handle_event(event)
                }
                WebhookEvent::Snapshot(snapshot) => {
                    if let Some((forwarder, number)) = number {
                        self.fences.insert(forwarder.to_owned(), number);
                    }
                    self.state.handle_snapshot(snapshot, now)
                }
                WebhookEvent::Ping { .. } => Vec::new(),
            };
            self.publish(&events, now_ms);
            if let Some(id) = delivery {
                self.deliveries.insert(id.to_owned(), now);
            }
        }
        WebhookAnswer {
            ok: true,
            epoch: Some(self.epoch.clone()),
            synced: Some(self.state.synced()),
        }
    }

    /// Whether the worker posted or pinged within this time, and the state is its state.
    pub(crate) fn worker_heard(&self, now: Instant, within: Duration) -> bool {
        let recent = |at| now.duration_since(at) <= within;
        self.state.synced() && self.last_post.is_some_and(recent)
    }

    /// Whether there is a worker, for `/ready`. One of the original system sends no snapshots and no pings, so that its
    /// silence says nothing: it counts from its first event on.
    pub(crate) fn worker_ready(&self, now: Instant, within: Duration) -> bool {
        if self.state.synced() {
            self.worker_heard(now, within)
        } else {
            self.plain_worker
        }
    }

    /// Gives each event its number and appends it to the log.
    pub(crate) fn publish(&mut self, events: &[HubEvent], ts: u64) {
        for event in events {
            let message = EventMessage {
                v: PROTOCOL_VERSION,
                kind: MessageKind::Event,
                event,
                ts,
                epoch: &self.epoch,
                seq: self.log.head().seq + 1,
            };
            self.log.push(to_text(&message));
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.log.head()
    }

    /// A reader of what follows `resume`, if it can be had.
    pub(crate) fn resume(&self, resume: &ResumePoint) -> Option<Cursor> {
        if resume.epoch == self.epoch {
            self.log.resume(resume.seq)
        } else {
            None
        }
    }

    pub(crate) fn guild_snapshot(&self) -> GuildSnapshot {
        self.state.snapshot()
    }

    /// The snapshot as of now; every change of it has a number, so it is made once for each number.
    pub(crate) fn snapshot(&mut self, ts: u64) -> CachedSnapshot {
        let seq = self.head().seq;
        if let Some(cached) = self.snapshot.as_ref().filter(|cached| cached.seq == seq) {
            return cached.clone();
        }
        let GuildSnapshot { guild_id, rooms } = self.state.snapshot();
        let payload = RoomSnapshot {
            guild_id,
            rooms,
            epoch: self.epoch.clone(),
            seq,
        };
        let body = serde_json::to_vec(&payload).expect("strings and numbers always serialise");
        let message = to_text(&Envelope {
            v: PROTOCOL_VERSION,
            kind: MessageKind::Event,
            event: names::ROOM_SNAPSHOT.to_owned(),
            payload: &payload,
            ts,
            guild_id: None,
            epoch: Some(self.epoch.clone()),
            seq: Some(seq),
            error: None,
        });
        let cached = CachedSnapshot {
            seq,
            body: body.into(),
            message,
        };
        self.snapshot = Some(cached.clone());
        cached
    }
}

/// A delivery id `<forwarder>-<number>`, taken apart.
fn numbered(delivery: &str) -> Option<(&str, u64)> {
    let (forwarder, number) = delivery.rsplit_once('-')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((forwarder, number.parse().ok().filter(|_| digits)?))
}

/// Serialises a message of the hub.
pub(crate) fn to_text<T: Serialize>(message: &T) -> Utf8Bytes {
    serde_json::to_string(message)
        .expect("strings and numbers always serialise")
        .into()
}
