//! Who is in the call, and who can be heard.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use twilight_model::id::{Id, marker::UserMarker};

use super::{Participant, SpeakingFlags, VoiceEvent};

/// Nothing from someone for so long is a silence, even without a frame that says so.
const QUIET_AFTER: Duration = Duration::from_millis(200);
/// After a fresh session those who were there before have so long to be named again.
const RECONFIRM: Duration = Duration::from_secs(2);
/// More people than any channel holds; those beyond are not listed.
const LIMIT: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct People {
    map: BTreeMap<u64, Person>,
    /// Whoever makes sound, and until when that holds without another frame.
    talking: BTreeMap<u64, Instant>,
    sweep_at: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Person {
    ssrc: Option<u32>,
    speaking: SpeakingFlags,
    /// Named in the session at hand.
    confirmed: bool,
}

impl People {
    /// Someone was named. `true` where nobody knew of them.
    pub(super) fn joined(&mut self, user: u64) -> bool {
        if let Some(person) = self.map.get_mut(&user) {
            person.confirmed = true;
            return false;
        }
        if self.map.len() >= LIMIT {
            return false;
        }
        let person = Person {
            confirmed: true,
            ..Person::default()
        };
        self.map.insert(user, person);
        true
    }

    /// `true` where they were there.
    pub(super) fn left(&mut self, user: u64) -> bool {
        self.talking.remove(&user);
        self.map.remove(&user).is_some()
    }

    pub(super) fn ssrc(&mut self, user: u64, ssrc: u32) {
        if let Some(person) = self.map.get_mut(&user) {
            person.ssrc = Some(ssrc);
        }
    }

    pub(super) fn speaking(&mut self, user: u64, flags: SpeakingFlags) {
        if let Some(person) = self.map.get_mut(&user) {
            person.speaking = flags;
        }
    }

    /// Whose audio comes with which number.
    pub(super) fn ssrcs(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let known = self.map.iter();
        known.filter_map(|(user, person)| Some((*user, person.ssrc?)))
    }

    /// A frame of theirs arrived.
    pub(super) fn heard(&mut self, user: u64, silence: bool, now: Instant) -> Option<VoiceEvent> {
        if silence {
            let talked = self.talking.remove(&user).is_some();
            return talked.then(|| quiet(user)).flatten();
        }
        let until = now + QUIET_AFTER;
        if let Some(known) = self.talking.get_mut(&user) {
            *known = until;
            return None;
        }
        if !self.map.contains_key(&user) {
            return None;
        }
        self.talking.insert(user, until);
        Some(VoiceEvent::Talking {
            user_id: Id::new_checked(user)?,
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let quiet = self.talking.values().min().copied();
        [quiet, self.sweep_at].into_iter().flatten().min()
    }

    /// Who fell silent, and who has not been named again.
    pub(super) fn timeout(&mut self, now: Instant, mut tell: impl FnMut(VoiceEvent)) {
        self.talking.retain(|user, until| {
            let talks = *until > now;
            if !talks {
                quiet(*user).into_iter().for_each(&mut tell);
            }
            talks
        });
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            let gone: Vec<u64> = self
                .map
                .iter()
                .filter(|(_, p)| !p.confirmed)
                .map(|(u, _)| *u)
                .collect();
            for user in gone {
                self.left(user);
                left(user).into_iter().for_each(&mut tell);
            }
        }
    }

    /// A fresh session in the same channel: whoever is still there is named again.
    pub(super) fn fresh_session(&mut self, tell: impl FnMut(VoiceEvent)) {
        self.silence_all(tell);
        self.sweep_at = None;
        for person in self.map.values_mut() {
            person.confirmed = false;
            person.ssrc = None;
        }
    }

    /// The server begins to name those who are there.
    pub(super) fn naming_begins(&mut self, now: Instant) {
        if self.map.values().any(|person| !person.confirmed) {
            self.sweep_at = Some(now + RECONFIRM);
        }
    }

    /// The client is in no channel, or in another one.
    pub(super) fn clear(&mut self, mut tell: impl FnMut(VoiceEvent)) {
        self.silence_all(&mut tell);
        self.sweep_at = None;
        let gone = std::mem::take(&mut self.map);
        gone.into_keys().filter_map(left).for_each(tell);
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether nobody else is known to be in the call.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn list(&self) -> Vec<Participant> {
        let list = self.map.iter().filter_map(|(user, person)| {
            Some(Participant {
                user_id: Id::<UserMarker>::new_checked(*user)?,
                ssrc: person.ssrc,
                speaking: person.speaking,
                talking: self.talking.contains_key(user),
            })
        });
        list.collect()
    }

    fn silence_all(&mut self, tell: impl FnMut(VoiceEvent)) {
        let talked = std::mem::take(&mut self.talking);
        talked.into_keys().filter_map(quiet).for_each(tell);
    }
}

fn quiet(user: u64) -> Option<VoiceEvent> {
    Id::new_checked(user).map(|user_id| VoiceEvent::Quiet { user_id })
}

fn left(user: u64) -> Option<VoiceEvent> {
    Id::new_checked(user).map(|user_id| VoiceEvent::Left { user_id })
}
