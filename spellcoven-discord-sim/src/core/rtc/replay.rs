//! What of a voice session is numbered, and sent again by a resume.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Output;

/// A message with a sequence number.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    seq: u16,
    op: u8,
    body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Json(Arc<str>),
    Binary(Arc<[u8]>),
}

impl Numbered {
    /// As it goes out in this version: before 8 there were no numbers.
    pub(super) fn output(&self, version: u8) -> Output {
        match (&self.body, version >= 8) {
            (Body::Json(d), true) => Output::Text(format!(
                r#"{{"op":{},"d":{d},"seq":{}}}"#,
                self.op, self.seq
            )),
            (Body::Json(d), false) => Output::Text(format!(r#"{{"op":{},"d":{d}}}"#, self.op)),
            (Body::Binary(payload), numbered) => {
                let mut bytes = Vec::with_capacity(payload.len() + 3);
                if numbered {
                    bytes.extend_from_slice(&self.seq.to_be_bytes());
                }
                bytes.push(self.op);
                bytes.extend_from_slice(payload);
                Output::Binary(bytes)
            }
        }
    }
}

/// What of a session is sent again by a resume. Numbers are 16 bits wide and wrap.
#[derive(Debug)]
pub(super) struct Replay {
    next: u16,
    kept: VecDeque<Numbered>,
    /// The number before the first one that is kept; `None` while the very first is.
    before: Option<u16>,
}

impl Replay {
    pub(super) const fn new(first: u16) -> Self {
        Self {
            next: first,
            kept: VecDeque::new(),
            before: None,
        }
    }

    pub(super) fn push(&mut self, op: u8, body: Body, limit: usize) -> Numbered {
        let message = Numbered {
            seq: self.next,
            op,
            body,
        };
        self.next = self.next.wrapping_add(1);
        self.kept.push_back(message.clone());
        // Numbers stay unambiguous while fewer than half of them are kept.
        while self.kept.len() > limit.min(0x7FFF) {
            self.before = self.kept.pop_front().map(|old| old.seq);
        }
        message
    }

    /// The client has all up to here.
    pub(super) fn acknowledge(&mut self, seq: u16) {
        if let Some(at) = self.kept.iter().position(|message| message.seq == seq) {
            self.kept.drain(..=at);
            self.before = Some(seq);
        }
    }

    /// What came after a number (`None`: from the start), and nothing if that is no longer kept, or was never sent.
    pub(super) fn after(&self, seq: Option<u16>) -> Option<Vec<Numbered>> {
        if seq == self.before {
            return Some(self.kept.iter().cloned().collect());
        }
        let seq = seq?;
        let at = self.kept.iter().position(|message| message.seq == seq)?;
        Some(self.kept.iter().skip(at + 1).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(replay: &mut Replay, limit: usize) -> u16 {
        replay.push(5, Body::Json("null".into()), limit).seq
    }

    fn numbers(replay: &Replay, after: Option<u16>) -> Option<Vec<u16>> {
        let messages = replay.after(after)?;
        Some(messages.iter().map(|message| message.seq).collect())
    }

    #[test]
    fn numbers_wrap_and_zero_is_one_of_them() {
        let mut replay = Replay::new(u16::MAX - 1);
        let sent: Vec<u16> = (0..4).map(|_| push(&mut replay, 10)).collect();
        assert_eq!(sent, [65_534, 65_535, 0, 1]);
        assert_eq!(numbers(&replay, None), Some(sent));
        assert_eq!(numbers(&replay, Some(65_535)), Some(vec![0, 1]));
        assert_eq!(numbers(&replay, Some(0)), Some(vec![1]));
        assert_eq!(numbers(&replay, Some(2)), None, "never sent");
    }

    #[test]
    fn what_was_pushed_out_or_acknowledged_is_not_sent_again() {
        let mut replay = Replay::new(1);
        (0..5).for_each(|_| _ = push(&mut replay, 3));
        assert_eq!(numbers(&replay, None), None);
        assert_eq!(numbers(&replay, Some(1)), None);
        assert_eq!(numbers(&replay, Some(2)), Some(vec![3, 4, 5]));
        replay.acknowledge(4);
        assert_eq!(numbers(&replay, Some(3)), None);
        assert_eq!(numbers(&replay, Some(4)), Some(vec![5]));
        replay.acknowledge(9);
        assert_eq!(numbers(&replay, Some(4)), Some(vec![5]));
    }
}
