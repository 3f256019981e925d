//! The broadcast log: a linked list of messages that is written once and read by every connection at its own pace.
//!
//! Each connection holds a [`Cursor`] into it. To read on takes no lock and copies nothing. What the ring still holds
//! can be read again by a resuming client; what a slow connection still has before it stays alive for it, which is bounded by
//! its being closed.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use async_tungstenite::tungstenite::Utf8Bytes;

/// The writer's side, with the bounded ring of what can be resumed.
#[derive(Debug)]
pub(crate) struct Log {
    /// Never empty: its first entry is where the earliest resume can start, its last one is the head.
    ring: VecDeque<Arc<Node>>,
    max_events: usize,
    max_bytes: usize,
}

/// Where a reader stands: the last message it has seen.
#[derive(Clone, Debug)]
pub(crate) struct Cursor(Arc<Node>);

/// The end of the log, as a reader sees it without a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last message's number.
    pub(crate) seq: u64,
    /// The bytes of all messages up to it.
    pub(crate) offset: u64,
}

#[derive(Debug)]
struct Node {
    at: Head,
    text: Utf8Bytes,
    next: OnceLock<Arc<Node>>,
}

impl Log {
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> Self {
        let start = Node {
            at: Head::default(),
            text: Utf8Bytes::default(),
            next: OnceLock::new(),
        };
        Self {
            ring: VecDeque::from([Arc::new(start)]),
            max_events,
            max_bytes,
        }
    }

    fn tail(&self) -> &Arc<Node> {
        self.ring
            .back()
            .expect("the ring is never empty: push only removes down to one entry")
    }

    pub(crate) fn head(&self) -> Head {
        self.tail().at
    }

    /// Appends the message with the next number.
    pub(crate) fn push(&mut self, text: Utf8Bytes) -> Head {
        let head = self.head();
        let at = Head {
            seq: head.seq + 1,
            offset: head.offset + text.len() as u64,
        };
        let node = Arc::new(Node {
            at,
            text,
            next: OnceLock::new(),
        });
        // Only this writer sets `next`, and only once for each tail.
        let _ = self.tail().next.set(Arc::clone(&node));
        self.ring.push_back(node);
        while self.ring.len() > 1
            && (self.events() > self.max_events || self.bytes() > self.max_bytes)
        {
            self.ring.pop_front();
        }
        at
    }

    /// Events that can be read again.
    pub(crate) fn events(&self) -> usize {
        self.ring.len() - 1
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        let first = self.ring.front().map_or(0, |node| node.at.offset);
        usize::try_from(self.head().offset - first).unwrap_or(usize::MAX)
    }

    /// A reader of what comes from now on.
    pub(crate) fn subscribe(&self) -> Cursor {
        Cursor(Arc::clone(self.tail()))
    }

    /// A reader of what came after `seq`, if that is still held.
    pub(crate) fn resume(&self, seq: u64) -> Option<Cursor> {
        let first = self.ring.front()?.at.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.ring.get(index).map(|node| Cursor(Arc::clone(node)))
    }
}

impl Cursor {
    /// Moves on by one message, if there is one.
    pub(crate) fn advance(&mut self) -> Option<&Utf8Bytes> {
        let next = Arc::clone(self.0.next.get()?);
        self.0 = next;
        Some(&self.0.text)
    }

    /// Where the reader stands.
    pub(crate) fn at(&self) -> Head {
        self.0.at
    }
}

impl Drop for Node {
    /// A reader far behind may be the last owner of a long chain; the default drop would recurse through it.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut node) = next.and_then(|node| Arc::try_unwrap(node).ok()) {
            next = node.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_each_message_once_and_in_order() {
        let mut log = Log::new(3, 1000);
        let mut early = log.subscribe();
        for text in ["a", "b", "c", "d", "e"] {
            log.push(text.into());
        }
        let mut seen = Vec::new();
        while let Some(text) = early.advance() {
            seen.push(text.to_string());
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        assert_eq!(early.at(), log.head());
        assert_eq!((log.events(), log.bytes()), (3, 3));
    }

    #[test]
    fn resume_reaches_as_far_as_the_ring() {
        let mut log = Log::new(3, 1000);
        for text in ["a", "b", "c", "d", "e"] {
            log.push(text.into());
        }
        assert!(log.resume(1).is_none());
        let mut cursor = log.resume(2).unwrap();
        assert_eq!(cursor.advance().unwrap().as_str(), "c");
        assert!(log.resume(5).unwrap().advance().is_none());
        assert!(log.resume(6).is_none());
    }

    #[test]
    fn bytes_bound_the_ring_too() {
        let mut log = Log::new(100, 10);
        for _ in 0..10 {
            log.push("123456".into());
        }
        assert_eq!((log.events(), log.bytes()), (1, 6));
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let mut log = Log::new(1, 1000);
        let cursor = log.subscribe();
        for _ in 0..1_000_000 {
            log.push(Utf8Bytes::default());
        }
        drop(cursor);
    }
}
