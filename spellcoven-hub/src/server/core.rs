use std::time::Instant;

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;
use serde::Serialize;

use super::{
    limits::Limits,
    log::{Cursor, Head, Log},
    state::{Deliveries, GuildRooms, StateLimits},
};
use crate::wire::{
    Envelope, GuildSnapshot, HubEvent, MessageKind, PROTOCOL_VERSION, ResumePoint, RoomSnapshot,
    Snowflake, WebhookAnswer, WebhookEvent, names,
};

/// State and log together: what is applied to the one is announced in the other, under one lock.
pub(crate) struct Core {
    pub(crate) epoch: String,
    pub(crate) state: GuildRooms,
    pub(crate) log: Log,
    /// When the worker last posted with a good signature.
    pub(crate) last_post: Option<Instant>,
    deliveries: Deliveries,
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
            deliveries: Deliveries::new(limits.deliveries, limits.delivery_age),
            snapshot: None,
        }
    }

    /// Applies a post of the worker, unless its delivery was applied before, or it is an event meant for another
    /// epoch: the worker learns of this one from the answer, and sends a snapshot with the event in it.
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
        if !seen && !stale {
            let events = match event {
                WebhookEvent::Event(event) => self.state.handle_event(event),
                WebhookEvent::Snapshot(snapshot) => self.state.handle_snapshot(snapshot, now),
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

/// Serialises a message of the hub.
pub(crate) fn to_text<T: Serialize>(message: &T) -> Utf8Bytes {
    serde_json::to_string(message)
        .expect("strings and numbers always serialise")
        .into()
}
