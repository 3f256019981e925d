//! One source for many calls.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::audio::{AudioSource, NextFrame};

/// Frames kept for subscribers that are behind: one second of usual ones.
const KEPT: u64 = 50;

/// Lets many calls play one source: each frame is made, and encoded, once, and all get
/// the same bytes.
///
/// Whoever comes first to a frame makes it; the others find it. Their ticks may lie
/// anywhere within the 20 ms. When nobody asks, the source stands still. A subscriber
/// that falls more than 50 frames behind goes on with the newest one; what it missed is
/// counted.
///
/// A call that asks while another one is just making the frame waits for that, which
/// takes no longer than making it itself. New subscribers begin one frame behind the
/// newest, so that this is rare.
#[derive(Clone)]
pub struct Broadcast {
    inner: Arc<Mutex<Inner>>,
}

/// One call's share in a [`Broadcast`].
pub struct BroadcastSource {
    inner: Arc<Mutex<Inner>>,
    next: u64,
    skipped: u64,
}

struct Inner {
    source: Option<Box<dyn AudioSource>>,
    kept: VecDeque<NextFrame>,
    /// The number of the next frame to be made.
    made: u64,
    skipped: u64,
}

impl Broadcast {
    /// Shares a source.
    pub fn new(source: impl AudioSource + 'static) -> Broadcast {
        Broadcast {
            inner: Arc::new(Mutex::new(Inner {
                source: Some(Box::new(source)),
                kept: VecDeque::with_capacity(KEPT as usize),
                made: 0,
                skipped: 0,
            })),
        }
    }

    /// A source that plays what all the others play, from now on.
    pub fn subscribe(&self) -> BroadcastSource {
        BroadcastSource {
            next: lock(&self.inner).made.saturating_sub(1),
            inner: Arc::clone(&self.inner),
            skipped: 0,
        }
    }

    /// Frames made so far, pauses included.
    pub fn frames(&self) -> u64 {
        lock(&self.inner).made
    }

    /// Frames that subscribers missed because they were too far behind, all together.
    pub fn skipped(&self) -> u64 {
        lock(&self.inner).skipped
    }
}

impl BroadcastSource {
    /// Frames that this subscriber missed because it was too far behind.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl AudioSource for BroadcastSource {
    fn next_frame(&mut self) -> NextFrame {
        let mut inner = lock(&self.inner);
        let oldest = inner.made - inner.kept.len() as u64;
        if self.next < oldest {
            let newest = inner.made.saturating_sub(1);
            self.skipped += newest - self.next;
            inner.skipped += newest - self.next;
            self.next = newest;
        }
        if self.next >= inner.made {
            let Some(source) = &mut inner.source else {
                return NextFrame::End;
            };
            let frame = source.next_frame();
            if frame == NextFrame::End {
                inner.source = None;
                return NextFrame::End;
            }
            if inner.kept.len() as u64 == KEPT {
                inner.kept.pop_front();
            }
            inner.kept.push_back(frame);
            inner.made += 1;
        }
        let oldest = inner.made - inner.kept.len() as u64;
        let index = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
        self.next += 1;
        inner.kept.get(index).cloned().unwrap_or(NextFrame::Idle)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcast").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BroadcastSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BroadcastSource")
            .field("next", &self.next)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}
