//! A bounded queue to one consumer that drops its oldest entry and counts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

pub(super) fn queue<T>(limit: usize) -> (Producer<T>, Consumer<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            entries: VecDeque::new(),
            dropped: 0,
            ended: false,
            consumer_gone: false,
        }),
        waker: AtomicWaker::new(),
        limit: limit.max(1),
    });
    (Producer(Arc::clone(&shared)), Consumer(shared))
}

pub(super) struct Producer<T>(Arc<Shared<T>>);

pub(super) struct Consumer<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    waker: AtomicWaker,
    limit: usize,
}

struct State<T> {
    entries: VecDeque<T>,
    /// Since the consumer last asked.
    dropped: u64,
    ended: bool,
    consumer_gone: bool,
}

/// An entry, or that so many before it were dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    Entry(T),
    Dropped(u64),
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Producer<T> {
    /// `false` when the consumer is gone.
    pub(super) fn push(&self, entry: T) -> bool {
        let mut state = self.0.lock();
        if state.consumer_gone {
            return false;
        }
        // Dropped outside of the lock: what is in it may be anything.
        let mut oldest = None;
        if state.entries.len() >= self.0.limit {
            oldest = state.entries.pop_front();
            state.dropped += 1;
        }
        state.entries.push_back(entry);
        drop(state);
        drop(oldest);
        self.0.waker.wake();
        true
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.waker.wake();
    }
}

impl<T> Consumer<T> {
    /// `None` when the producer is gone and nothing is left.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken<T>>> {
        // Registered before the look, so that no entry falls between the two.
        self.0.waker.register(cx.waker());
        let mut state = self.0.lock();
        if state.dropped > 0 {
            return Poll::Ready(Some(Taken::Dropped(std::mem::take(&mut state.dropped))));
        }
        match state.entries.pop_front() {
            Some(entry) => Poll::Ready(Some(Taken::Entry(entry))),
            None if state.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.consumer_gone = true;
        let entries = std::mem::take(&mut state.entries);
        drop(state);
        drop(entries);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn take(consumer: &Consumer<u32>) -> Poll<Option<Taken<u32>>> {
        consumer.poll_take(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_oldest_gives_way_and_is_counted() {
        let (producer, consumer) = queue(2);
        assert_eq!(take(&consumer), Poll::Pending);
        for number in 0..5 {
            assert!(producer.push(number));
        }
        assert_eq!(take(&consumer), Poll::Ready(Some(Taken::Dropped(3))));
        assert_eq!(take(&consumer), Poll::Ready(Some(Taken::Entry(3))));
        drop(producer);
        assert_eq!(take(&consumer), Poll::Ready(Some(Taken::Entry(4))));
        assert_eq!(take(&consumer), Poll::Ready(None));
    }

    #[test]
    fn a_producer_learns_that_nobody_listens() {
        let (producer, consumer) = queue(2);
        assert!(producer.push(1));
        drop(consumer);
        assert!(!producer.push(2));
    }
}
