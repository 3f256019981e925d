//! Which packets came before (RFC 3711, 3.3.2).

use std::collections::BTreeMap;

/// How many sequence numbers back a packet may come: 20 s of audio. RFC 3711
/// asks for 64 at least.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;
/// How many SSRCs have a window. Only authentic packets make one, so only the
/// voice server can fill this up; then the one idle for longest loses its own.
const MAX_SSRCS: usize = 1024;

/// A window for each SSRC.
#[derive(Debug, Default)]
pub(super) struct ReplayWindows {
    windows: BTreeMap<u32, Window>,
    /// Counts accepted packets, to tell which window is idle for longest.
    tick: u64,
}

/// Where a sequence number stands in its SSRC's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

/// What the window says of a packet that is not authenticated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh(Place),
    Replayed,
    TooOld,
}

#[derive(Debug)]
struct Window {
    /// The highest extended sequence number.
    highest: u64,
    /// One bit for each of the last `WINDOW` extended sequence numbers, kept as
    /// a ring.
    seen: [u64; WORDS],
    used: u64,
}

impl ReplayWindows {
    pub(super) fn check(&self, ssrc: u32, sequence: u16) -> Verdict {
        match self.windows.get(&ssrc) {
            // Room below, so that packets overtaken by the first one count too.
            None => Verdict::Fresh(Place((1 << 32) + u64::from(sequence))),
            Some(window) => window.check(sequence),
        }
    }

    /// The packet at `place` is authentic.
    pub(super) fn accept(&mut self, ssrc: u32, place: Place) {
        self.tick += 1;
        if let Some(window) = self.windows.get_mut(&ssrc) {
            window.used = self.tick;
            window.accept(place);
            return;
        }
        if self.windows.len() >= MAX_SSRCS {
            let idle = self.windows.iter().min_by_key(|(_, window)| window.used);
            if let Some((&idle, _)) = idle {
                self.windows.remove(&idle);
            }
        }
        let mut window = Window {
            highest: place.0,
            seen: [0; WORDS],
            used: self.tick,
        };
        window.accept(place);
        self.windows.insert(ssrc, window);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn forget(&mut self, ssrc: u32) {
        self.windows.remove(&ssrc);
    }
}

impl Window {
    fn check(&self, sequence: u16) -> Verdict {
        let place = self.extend(sequence);
        if self.highest.saturating_sub(place) >= WINDOW {
            Verdict::TooOld
        } else if place <= self.highest && self.bit(place) {
            Verdict::Replayed
        } else {
            Verdict::Fresh(Place(place))
        }
    }

    /// The extended sequence number nearest to the highest (RFC 3711, 3.3.1).
    fn extend(&self, sequence: u16) -> u64 {
        // Truncation is meant: the low 16 bits are the last sequence number.
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest + u64::from(ahead)
        } else {
            self.highest - u64::from(ahead.wrapping_neg())
        }
    }

    fn accept(&mut self, Place(place): Place) {
        if place > self.highest {
            if place - self.highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.highest + 1..place {
                    self.set(skipped, false);
                }
            }
            self.highest = place;
        }
        self.set(place, true);
    }

    fn bit(&self, place: u64) -> bool {
        let (word, mask) = slot(place);
        self.seen.get(word).is_some_and(|bits| bits & mask != 0)
    }

    fn set(&mut self, place: u64, seen: bool) {
        let (word, mask) = slot(place);
        if let Some(bits) = self.seen.get_mut(word) {
            if seen {
                *bits |= mask;
            } else {
                *bits &= !mask;
            }
        }
    }
}

fn slot(place: u64) -> (usize, u64) {
    let place = place % WINDOW;
    ((place / 64) as usize, 1 << (place % 64))
}
