//! Wakers for many things of one task: each sets a bit, so that nobody looks at what was not woken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// A set of bits with a waker for each, all of which wake the same task.
pub(super) struct Wakes {
    task: Arc<AtomicWaker>,
    words: Vec<Arc<Word>>,
}

struct Word {
    bits: AtomicU64,
    task: Arc<AtomicWaker>,
}

struct Bit {
    word: Arc<Word>,
    bit: u64,
}

impl Wake for Bit {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever set the bit before has woken the task, and it has not looked since.
        if self.word.bits.fetch_or(self.bit, Ordering::AcqRel) & self.bit == 0 {
            self.word.task.wake();
        }
    }
}

impl Wakes {
    pub(super) fn new(task: Arc<AtomicWaker>) -> Self {
        Self {
            task,
            words: Vec::new(),
        }
    }

    /// The waker of a place. One that is still about when the place is given to something else wakes that for nothing.
    pub(super) fn waker(&mut self, place: usize) -> Waker {
        let (word, bit) = (place / 64, 1 << (place % 64));
        while self.words.len() <= word {
            self.words.push(Arc::new(Word {
                bits: AtomicU64::new(0),
                task: Arc::clone(&self.task),
            }));
        }
        // Just made, if it was not there.
        match self.words.get(word) {
            Some(word) => Waker::from(Arc::new(Bit {
                word: Arc::clone(word),
                bit,
            })),
            None => Waker::noop().clone(),
        }
    }

    /// Marks a place without waking the task. `false` if there is no such place.
    pub(super) fn mark(&self, place: usize) -> bool {
        let Some(word) = self.words.get(place / 64) else {
            return false;
        };
        word.bits.fetch_or(1 << (place % 64), Ordering::Relaxed);
        true
    }

    /// How many words there are, for [`take`](Self::take).
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// The places of one word that were woken since it was last taken, ascending.
    pub(super) fn take(&self, word: usize) -> Places {
        let bits = self.words.get(word).map_or(0, |word| {
            // Most are at rest, and a read leaves the line with whoever wrote it last.
            if word.bits.load(Ordering::Acquire) == 0 {
                return 0;
            }
            word.bits.swap(0, Ordering::AcqRel)
        });
        Places {
            bits,
            first: word * 64,
        }
    }
}

pub(super) struct Places {
    bits: u64,
    first: usize,
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.bits == 0 {
            return None;
        }
        let place = self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(self.first + place)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn taken(wakes: &Wakes) -> Vec<usize> {
        (0..wakes.words())
            .flat_map(|word| wakes.take(word))
            .collect()
    }

    #[test]
    fn only_what_was_woken_is_taken_and_only_once() {
        let task = Arc::new(AtomicWaker::new());
        let mut wakes = Wakes::new(Arc::clone(&task));
        let wakers: Vec<Waker> = (0..200).map(|place| wakes.waker(place)).collect();
        assert!(taken(&wakes).is_empty());
        for place in [199, 0, 63, 64, 199] {
            wakers[place].wake_by_ref();
        }
        assert!(wakes.mark(70) && !wakes.mark(1000));
        assert_eq!(taken(&wakes), [0, 63, 64, 70, 199]);
        assert!(taken(&wakes).is_empty());
    }

    #[test]
    fn the_task_is_woken_once_until_it_looks() {
        let count = Arc::new(Count::default());
        let task = Arc::new(AtomicWaker::new());
        let mut wakes = Wakes::new(Arc::clone(&task));
        let waker = wakes.waker(3);
        let register = || task.register(&Waker::from(Arc::clone(&count)));
        register();
        waker.wake_by_ref();
        register();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(taken(&wakes), [3]);
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
