//! Transitions: which keys count from when on, in both directions, and when media may be in the clear.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{
    keys::{KeyChange, Passthrough, SendKey},
    policy::E2eePolicy,
    ratchet::KeyRatchet,
};
use super::{Dave, DaveEvent, DaveOutput, Sending, message::op, transitions::Prepared};

/// How long frames in the clear are still accepted after a call has become end-to-end encrypted.
const PASSTHROUGH_AFTER_UPGRADE: Duration = Duration::from_secs(10);

impl Dave {
    /// By op 4.
    pub(super) fn start(&mut self, version: u16) {
        self.version = Some(version);
        self.group = None;
        if version == 0 {
            self.session = None;
            self.active = 0;
            self.go_plain();
            self.update_passthrough(None);
            return;
        }
        self.active = version;
        self.send_with(SendKey::Hold);
        self.update_passthrough(None);
        self.begin(version);
    }

    /// Id 0 counts at once and is never acknowledged.
    pub(super) fn prepare(
        &mut self,
        now: Instant,
        transition: u16,
        version: u16,
        keys: Option<KeyRatchet>,
    ) {
        let prepared = self.transitions.prepare(version, keys);
        if transition == 0 {
            self.execute(now, transition, prepared);
            return;
        }
        self.transitions.wait(transition, prepared);
        self.update_passthrough(None);
        self.ready(transition);
    }

    pub(super) fn execute(&mut self, now: Instant, transition: u16, prepared: Prepared) {
        if !self.transitions.execute(transition, &prepared) {
            tracing::debug!(transition, "a later transition is in force already");
            return;
        }
        let was = std::mem::replace(&mut self.active, prepared.version);
        if prepared.version == 0 {
            // A group that was begun since then (op 24) is for the way back.
            if self.group.take().is_some() {
                self.session = None;
                self.last_entry = None;
            }
            // Only now: until then the others go on with the keys that there are, for however long.
            self.keys(KeyChange::Retire);
            self.go_plain();
            self.update_passthrough(None);
            return;
        }
        let own = self.group.as_ref().and_then(|group| group.own.clone());
        match prepared.keys.or(own) {
            Some(keys) => {
                self.send_with(SendKey::Key(keys));
                self.event(DaveEvent::Encrypted {
                    version: prepared.version,
                });
            }
            None => {
                self.send_with(SendKey::Hold);
                for user in std::mem::take(&mut self.receiving) {
                    self.keys(KeyChange::Forget { user });
                }
                self.event(DaveEvent::Alone);
            }
        }
        self.update_passthrough((was == 0).then(|| now + PASSTHROUGH_AFTER_UPGRADE));
    }

    pub(super) fn ready(&mut self, transition: u16) {
        self.outputs.push_back(DaveOutput::SendJson {
            op: op::TRANSITION_READY,
            d: json!({ "transition_id": transition }),
        });
    }

    pub(super) fn go_plain(&mut self) {
        let allowed = self.config.policy == E2eePolicy::Preferred;
        self.send_with(if allowed {
            SendKey::Plain
        } else {
            SendKey::Hold
        });
        self.event(DaveEvent::NotEncrypted { allowed });
    }

    pub(super) fn send_with(&mut self, key: SendKey) {
        let sending = match &key {
            SendKey::Plain => Sending::Plain,
            SendKey::Hold => Sending::Hold,
            SendKey::Key(_) => Sending::Key,
        };
        if sending != self.sending || sending == Sending::Key {
            self.sending = sending;
            self.keys(KeyChange::Send(key));
        }
    }

    /// Clear frames pass while the call is at version 0 or on its way there, and until `end` after it has left it. With
    /// [`E2eePolicy::Required`], never.
    pub(super) fn update_passthrough(&mut self, end: Option<Instant>) {
        let plain = self.active == 0 || self.transitions.downgrade_pending();
        let next = match (self.config.policy, end) {
            (E2eePolicy::Required, _) => Passthrough::Off,
            (E2eePolicy::Preferred, _) if plain => Passthrough::On,
            (E2eePolicy::Preferred, Some(end)) => Passthrough::Until(end),
            (E2eePolicy::Preferred, None) if self.passthrough == Passthrough::On => {
                Passthrough::Off
            }
            (E2eePolicy::Preferred, None) => self.passthrough,
        };
        if next != self.passthrough {
            self.passthrough = next;
            self.keys(KeyChange::Passthrough(next));
        }
    }

    pub(super) fn keys(&mut self, change: KeyChange) {
        self.outputs.push_back(DaveOutput::Keys(change));
    }

    pub(super) fn event(&mut self, event: DaveEvent) {
        self.outputs.push_back(DaveOutput::Event(event));
    }
}
