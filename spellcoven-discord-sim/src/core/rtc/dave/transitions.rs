//! Transitions: the moment at which all change to new keys, or to another version.
//!
//! See: Discord documentation, Voice Connections, "Protocol Transitions".

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{DaveFault, DaveGroup, DaveNote, op};

/// Transitions that wait at once. One more, and the oldest is executed as it stands.
const MAX_WAITING: usize = 32;

/// An announced transition that has not been executed.
#[derive(Debug)]
pub(super) struct Transition {
    pub(super) id: u16,
    /// All it was announced to.
    recipients: BTreeSet<u64>,
    /// Those who have not said that they are ready.
    waiting: BTreeSet<u64>,
    /// When it is executed whoever is ready.
    pub(super) due: Duration,
    /// All are ready, but a fault makes it late.
    held: bool,
}

impl DaveGroup {
    /// The next id: never 0, which means "at once".
    pub(super) fn next_transition(&mut self) -> u16 {
        self.last_transition = self.last_transition.checked_add(1).unwrap_or(1);
        self.last_transition
    }

    /// A transition has been announced to these users.
    pub(super) fn begin_transition(&mut self, now: Duration, id: u16, recipients: BTreeSet<u64>) {
        self.transitions.push_back(Transition {
            id,
            waiting: recipients.clone(),
            recipients,
            due: now + self.settings.readiness,
            held: false,
        });
        if self.transitions.len() > MAX_WAITING {
            self.execute_front();
        }
        self.execute_ready(now);
    }

    /// Op 23.
    pub(super) fn ready(&mut self, now: Duration, user: u64, id: u16) {
        if id == 0 {
            self.complain(
                user,
                "acknowledged transition 0, which is never acknowledged",
            );
            return;
        }
        let Some(found) = self.transitions.iter_mut().find(|found| found.id == id) else {
            // Too late, or a client that acknowledges what it was not told of: the ids of the past are not kept.
            return;
        };
        if !found.recipients.contains(&user) {
            self.complain(
                user,
                format!("is ready for transition {id}, which is not theirs"),
            );
            return;
        }
        found.waiting.remove(&user);
        self.execute_ready(now);
        self.propose(now);
    }

    /// Nothing waits for a user any more who left, or who has to be added anew.
    pub(super) fn forget_in_transitions(&mut self, now: Duration, user: u64) {
        for transition in &mut self.transitions {
            transition.waiting.remove(&user);
            transition.recipients.remove(&user);
        }
        self.execute_ready(now);
    }

    /// Executes all up to the last one that everyone is ready for: who is ready for a later one has the earlier
    /// ones behind them.
    fn execute_ready(&mut self, now: Duration) {
        let ready = |transition: &Transition| transition.waiting.is_empty() && !transition.held;
        while let Some(last) = self.transitions.iter().rposition(ready) {
            let slow = self.take_fault(|fault| matches!(fault, DaveFault::SlowExecute(_)));
            if let Some(DaveFault::SlowExecute(by)) = slow {
                for transition in self.transitions.range_mut(..=last) {
                    transition.held = true;
                    transition.due = now + by;
                }
                continue;
            }
            for _ in 0..=last {
                self.execute_front();
            }
        }
    }

    /// Executes those whose time is over.
    pub(super) fn execute_due(&mut self, now: Duration) {
        while let Some(last) = self
            .transitions
            .iter()
            .rposition(|transition| transition.due <= now)
        {
            for _ in 0..=last {
                self.execute_front();
            }
        }
    }

    fn execute_front(&mut self) {
        let Some(transition) = self.transitions.pop_front() else {
            return;
        };
        let dropped = self.take_fault(|fault| matches!(fault, DaveFault::DropExecute));
        if dropped.is_none() {
            for user in &transition.recipients {
                self.send_json(
                    *user,
                    op::EXECUTE_TRANSITION,
                    json!({"transition_id": transition.id}),
                );
            }
        }
        self.note(DaveNote::TransitionExecuted {
            transition: transition.id,
            late: transition.waiting.into_iter().collect(),
        });
    }
}
