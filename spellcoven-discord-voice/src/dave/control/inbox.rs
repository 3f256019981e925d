//! What came while a job was running, or before the server said which version the call has.

use std::{collections::VecDeque, time::Instant};

use super::message::Message;

/// Most inputs and bytes that wait. A call of 50 that forms has some hundred messages and at most 1 MB.
const MAX_WAITING: usize = 1024;
const MAX_BYTES: usize = 8 << 20;

/// One input, in the order in which it came. That order is part of the protocol: whether a proposal to add a user is
/// acceptable depends on what was said of that user before it.
#[derive(Debug)]
pub(super) enum Input {
    /// Op 4 with another version than the call had.
    Version(u16),
    Message(Message),
    Connected(u64),
    Left(u64, Instant),
    /// Nobody's frames open any more.
    Failing,
    /// Inputs were lost.
    Overrun,
}

/// Bounded, in order.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: VecDeque<Input>,
    bytes: usize,
}

impl Inbox {
    /// Adds one. If there is no room, all that waits but the comings and goings of users is given up, and an
    /// [`Input::Overrun`] put in its place.
    pub(super) fn push(&mut self, input: Input) {
        if self.waiting.len() >= MAX_WAITING || self.bytes.saturating_add(size(&input)) > MAX_BYTES
        {
            self.give_up();
        }
        self.bytes += size(&input);
        self.waiting.push_back(input);
    }

    pub(super) fn pop(&mut self) -> Option<Input> {
        let input = self.waiting.pop_front()?;
        self.bytes -= size(&input);
        Some(input)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn give_up(&mut self) {
        self.waiting
            .retain(|input| matches!(input, Input::Connected(_) | Input::Left(..)));
        // Users alone are no excuse for more than the bound: the later half says more than the earlier.
        let excess = self.waiting.len().saturating_sub(MAX_WAITING / 2);
        self.waiting.drain(..excess);
        self.waiting.push_back(Input::Overrun);
        self.bytes = 0;
    }
}

fn size(input: &Input) -> usize {
    match input {
        Input::Message(message) => message.size(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn order_is_kept() {
        let mut inbox = Inbox::default();
        inbox.push(Input::Connected(1));
        inbox.push(Input::Message(Message::Proposals(Bytes::from_static(
            b"abc",
        ))));
        inbox.push(Input::Failing);
        assert_eq!(inbox.bytes, 3);
        assert!(matches!(inbox.pop(), Some(Input::Connected(1))));
        assert!(matches!(inbox.pop(), Some(Input::Message(_))));
        assert_eq!(inbox.bytes, 0);
        assert!(matches!(inbox.pop(), Some(Input::Failing)));
        assert!(inbox.pop().is_none());
    }

    #[test]
    fn an_overrun_keeps_the_users_and_says_so() {
        let mut inbox = Inbox::default();
        for user in 0..10 {
            inbox.push(Input::Connected(user));
        }
        for _ in 0..2000 {
            inbox.push(Input::Message(Message::Proposals(Bytes::from_static(
                &[0; 100],
            ))));
            assert!(inbox.waiting.len() <= MAX_WAITING);
        }
        assert!(matches!(inbox.pop(), Some(Input::Connected(0))));
        assert!(
            inbox
                .waiting
                .iter()
                .any(|input| matches!(input, Input::Overrun))
        );
        inbox.push(Input::Message(Message::Proposals(
            vec![0; MAX_BYTES].into(),
        )));
        inbox.push(Input::Message(Message::Proposals(Bytes::from_static(b"x"))));
        assert_eq!(inbox.bytes, 1);
        for user in 0..5000 {
            inbox.push(Input::Connected(user));
            assert!(inbox.waiting.len() <= MAX_WAITING);
        }
    }
}
