use std::{
    borrow::Borrow,
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A bounded memory: when full, the entry that was put in (or renewed) longest ago is forgotten.
#[derive(Debug)]
pub(crate) struct Memory<K, V> {
    capacity: usize,
    entries: BTreeMap<K, (u64, V)>,
    by_age: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Ord + Clone, V> Memory<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: BTreeMap::new(),
            by_age: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        while self.entries.len() >= self.capacity {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                break;
            };
            self.entries.remove(&oldest);
        }
        self.by_age.insert(self.next, key.clone());
        self.entries.insert(key, (self.next, value));
        self.next += 1;
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (age, value) = self.entries.remove(key)?;
        self.by_age.remove(&age);
        Some(value)
    }

    pub(crate) fn oldest(&self) -> Option<(&K, &V)> {
        let (_, key) = self.by_age.first_key_value()?;
        self.get(key).map(|value| (key, value))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }
}

/// Ids of webhook deliveries that were applied, bounded in number and age.
#[derive(Debug)]
pub(crate) struct Deliveries {
    seen: Memory<String, Instant>,
    max_age: Duration,
}

impl Deliveries {
    pub(crate) fn new(capacity: usize, max_age: Duration) -> Self {
        Self {
            seen: Memory::new(capacity),
            max_age,
        }
    }

    /// Whether the id was applied before.
    pub(crate) fn contains(&mut self, id: &str, now: Instant) -> bool {
        while let Some((oldest, &at)) = self.seen.oldest() {
            if now.duration_since(at) < self.max_age {
                break;
            }
            let oldest = oldest.clone();
            self.seen.remove(&oldest);
        }
        self.seen.entries.contains_key(id)
    }

    /// Remembers an id; to be called only once the delivery is applied.
    pub(crate) fn insert(&mut self, id: String, now: Instant) {
        self.seen.insert(id, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut memory = Memory::new(2);
        memory.insert(1, 'a');
        memory.insert(2, 'b');
        memory.insert(1, 'c');
        memory.insert(3, 'd');
        assert_eq!(
            (memory.get(&1), memory.get(&2), memory.get(&3)),
            (Some(&'c'), None, Some(&'d'))
        );
        assert!(memory.is_full());
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the time only has to begin somewhere"
    )]
    fn deliveries_age() {
        let mut deliveries = Deliveries::new(10, Duration::from_secs(10));
        let start = Instant::now();
        deliveries.insert("a".into(), start);
        assert!(deliveries.contains("a", start + Duration::from_secs(9)));
        assert!(!deliveries.contains("a", start + Duration::from_secs(10)));
    }
}
