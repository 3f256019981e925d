//! What happens to tracks, told to the application.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::{Stream, task::AtomicWaker};

use crate::audio::{InputError, TrackHandle};

/// So many events wait for the application; of more, the oldest are dropped.
const CAPACITY: usize = 256;

/// Something happened to a track.
#[derive(Debug, Clone)]
pub struct TrackEvent {
    /// The track.
    pub track: TrackHandle,
    /// What happened.
    pub kind: TrackEventKind,
}

/// What happened to a track.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TrackEventKind {
    /// Its turn has come.
    Started,
    /// It was paused.
    Paused,
    /// It goes on after a pause.
    Resumed,
    /// It came to its end and begins anew.
    Looped,
    /// It is over.
    Ended {
        /// Why.
        reason: TrackEnd,
    },
    /// Its input failed. Where [`InputError::Unseekable`] was meant, it plays on; else
    /// [`TrackEventKind::Ended`] follows.
    Error {
        /// What went wrong.
        error: Arc<InputError>,
    },
}

/// Why a track is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackEnd {
    /// It was played to its end.
    Finished,
    /// It was stopped or skipped, or the player was dropped.
    Stopped,
    /// Its input failed.
    Failed,
}

/// The events of a player's tracks, as a stream that ends with the player.
///
/// Keeps the latest 256 for an application that is slow; see
/// [`TrackEvents::missed`]. Several of them from one player share the events: each
/// event goes to one.
#[derive(Debug)]
pub struct TrackEvents {
    pub(super) queue: Arc<EventQueue>,
}

impl TrackEvents {
    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<TrackEvent> {
        self.queue.lock().events.pop_front()
    }

    /// How many events were dropped because nobody took them.
    pub fn missed(&self) -> u64 {
        self.queue.lock().missed
    }
}

impl Stream for TrackEvents {
    type Item = TrackEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<TrackEvent>> {
        self.queue.waker.register(context.waker());
        let mut inner = self.queue.lock();
        match inner.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct EventQueue {
    inner: Mutex<Inner>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<TrackEvent>,
    missed: u64,
    closed: bool,
}

impl EventQueue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what the player has to tell, unless the application is just taking
    /// events: then at the next 20 ms.
    pub(super) fn offer(&self, pending: &mut VecDeque<TrackEvent>) {
        if pending.is_empty() {
            return;
        }
        let Ok(mut inner) = self.inner.try_lock() else {
            let surplus = pending.len().saturating_sub(CAPACITY);
            pending.drain(..surplus);
            return;
        };
        inner.events.append(pending);
        let surplus = inner.events.len().saturating_sub(CAPACITY);
        inner.events.drain(..surplus);
        inner.missed += surplus as u64;
        drop(inner);
        self.waker.wake();
    }

    /// The player is gone.
    pub(super) fn close(&self, last: &mut VecDeque<TrackEvent>) {
        let mut inner = self.lock();
        inner.events.append(last);
        let surplus = inner.events.len().saturating_sub(CAPACITY);
        inner.events.drain(..surplus);
        inner.missed += surplus as u64;
        inner.closed = true;
        drop(inner);
        self.waker.wake();
    }
}
