//! Which of a sender's counters have been seen.

use std::collections::VecDeque;

/// How many counters that did not come are remembered (libdave's number).
const MAX_MISSING: u64 = 1000;

/// Lets each counter through once.
///
/// It remembers the newest counter and, of those below it that have not come, the latest 1000. What is older than all
/// of these counts as seen: a frame that is so late is of no use to anybody.
#[derive(Debug, Default)]
pub(super) struct ReplayWindow {
    newest: Option<u64>,
    /// Ascending.
    missing: VecDeque<u64>,
}

impl ReplayWindow {
    /// Whether this counter may still come.
    pub(super) fn is_fresh(&self, counter: u64) -> bool {
        self.newest.is_none_or(|newest| counter > newest)
            || self.missing.binary_search(&counter).is_ok()
    }

    /// Notes that it came. Only for frames whose tag was right.
    pub(super) fn saw(&mut self, counter: u64) {
        let expected = self.newest.map_or(0, |newest| newest.saturating_add(1));
        if counter < expected {
            if let Ok(index) = self.missing.binary_search(&counter) {
                self.missing.remove(index);
            }
            return;
        }
        let skipped = (counter - expected).min(MAX_MISSING);
        let excess = (self.missing.len() as u64 + skipped).saturating_sub(MAX_MISSING);
        self.missing
            .drain(..self.missing.len().min(excess as usize));
        self.missing.extend(counter - skipped..counter);
        self.newest = Some(counter);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_counter_comes_once() {
        let mut window = ReplayWindow::default();
        for counter in [1, 5, 3, 0, 2, 4] {
            assert!(window.is_fresh(counter));
            window.saw(counter);
            assert!(!window.is_fresh(counter));
        }
        assert!(window.missing.is_empty());
    }

    #[test]
    fn a_thousand_missing_ones_are_remembered() {
        let mut window = ReplayWindow::default();
        window.saw(0);
        window.saw(5000);
        assert!(!window.is_fresh(3999));
        assert!(window.is_fresh(4000));
        assert!(window.is_fresh(4999));
        window.saw(5011);
        assert!(!window.is_fresh(4009));
        assert!(window.is_fresh(4010));
        assert_eq!(window.missing.len(), 1000);
        window.saw(u64::MAX);
        assert_eq!(window.missing.len(), 1000);
    }

    proptest! {
        #[test]
        fn nothing_passes_twice(counters in proptest::collection::vec(0u64..4000, 0..400)) {
            let mut window = ReplayWindow::default();
            let mut seen = std::collections::BTreeSet::new();
            for counter in counters {
                let fresh = window.is_fresh(counter);
                prop_assert!(!(fresh && seen.contains(&counter)));
                if fresh {
                    window.saw(counter);
                    seen.insert(counter);
                }
                prop_assert!(window.missing.len() <= 1000);
                prop_assert!(window.missing.iter().zip(window.missing.iter().skip(1)).all(|(a, b)| a < b));
            }
        }
    }
}
