//! The deadlines of many calls, the earliest first.

use std::time::{Duration, Instant};

/// So many children has a node of the heap: with entries of 16 bytes they lie in one cache line.
const CHILDREN: usize = 4;
/// A place without a deadline.
const NOWHERE: u32 = u32::MAX;

/// A heap in which each place has one deadline at most, and which knows where each is, so that a deadline can be moved
/// and nothing that is out of date stays in it.
pub(super) struct Timers {
    base: Instant,
    heap: Vec<Entry>,
    /// Where in the heap each place is.
    at: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// In nanoseconds after the base, which wraps after 584 years.
    due: u64,
    place: u32,
}

impl Timers {
    /// Deadlines before `base` count as there.
    pub(super) fn new(base: Instant) -> Self {
        Self {
            base,
            heap: Vec::new(),
            at: Vec::new(),
        }
    }

    /// The earliest deadline and its place. Of equal ones, that of the lowest place.
    pub(super) fn first(&self) -> Option<(Instant, usize)> {
        let first = self.heap.first()?;
        Some((
            self.base + Duration::from_nanos(first.due),
            first.place as usize,
        ))
    }

    /// Sets, moves or removes the deadline of a place.
    pub(super) fn set(&mut self, place: usize, due: Option<Instant>) {
        let Ok(number) = u32::try_from(place) else {
            return;
        };
        if self.at.len() <= place {
            self.at.resize(place + 1, NOWHERE);
        }
        let at = self.at.get(place).copied().unwrap_or(NOWHERE);
        let entry = due.map(|due| Entry {
            due: u64::try_from(due.saturating_duration_since(self.base).as_nanos())
                .unwrap_or(u64::MAX),
            place: number,
        });
        match entry {
            Some(entry) if at == NOWHERE => {
                self.heap.push(entry);
                self.rise(self.heap.len() - 1, entry);
            }
            Some(entry) => self.settle(at as usize, entry),
            None if at != NOWHERE => self.remove(at as usize, place),
            None => {}
        }
    }

    fn remove(&mut self, at: usize, place: usize) {
        if let Some(at) = self.at.get_mut(place) {
            *at = NOWHERE;
        }
        if let Some(last) = self.heap.pop()
            && at < self.heap.len()
        {
            self.settle(at, last);
        }
    }

    /// Puts an entry in the place of another.
    fn settle(&mut self, at: usize, entry: Entry) {
        let rises = at > 0
            && self
                .heap
                .get((at - 1) / CHILDREN)
                .is_some_and(|parent| entry < *parent);
        if rises {
            self.rise(at, entry);
        } else {
            self.sink(at, entry);
        }
    }

    fn rise(&mut self, mut at: usize, entry: Entry) {
        while at > 0 {
            let parent_at = (at - 1) / CHILDREN;
            match self.heap.get(parent_at).copied() {
                Some(parent) if entry < parent => self.put(at, parent),
                _ => break,
            }
            at = parent_at;
        }
        self.put(at, entry);
    }

    fn sink(&mut self, mut at: usize, entry: Entry) {
        loop {
            let first = at * CHILDREN + 1;
            let end = (first + CHILDREN).min(self.heap.len());
            let children = self.heap.get(first..end).unwrap_or_default();
            let Some((offset, child)) = children.iter().enumerate().min_by_key(|(_, child)| *child)
            else {
                break;
            };
            if entry <= *child {
                break;
            }
            let (from, child) = (first + offset, *child);
            self.put(at, child);
            at = from;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry) {
        if let Some(slot) = self.heap.get_mut(at) {
            *slot = entry;
        }
        if let Some(slot) = self.at.get_mut(entry.place as usize) {
            // There are not so many calls.
            *slot = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_sorted_map_is(
            changes in prop::collection::vec((0..40usize, prop::option::of(0..1000u64)), 1..300),
        ) {
            #[expect(clippy::disallowed_methods, reason = "any moment does")]
            let base = Instant::now();
            let mut timers = Timers::new(base);
            let mut model = BTreeMap::new();
            for (place, due) in changes {
                let due = due.map(|due| base + Duration::from_millis(due));
                timers.set(place, due);
                match due {
                    Some(due) => model.insert(place, due),
                    None => model.remove(&place),
                };
                let first = model.iter().map(|(place, due)| (*due, *place)).min();
                prop_assert_eq!(timers.first(), first);
            }
            let mut all = Vec::new();
            while let Some((due, place)) = timers.first() {
                all.push((due, place));
                timers.set(place, None);
            }
            let mut sorted: Vec<_> = model.into_iter().map(|(place, due)| (due, place)).collect();
            sorted.sort_unstable();
            prop_assert_eq!(all, sorted);
        }
    }
}
