//! Requests that Discord refused for want of a permission, so that they are not
//! sent again at once: each counts towards the ban of the address.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use crate::{endpoint::Route, error::ErrorAnswer};

/// How many are remembered; of more, the one that ends first is forgotten.
const MAX_REMEMBERED: usize = 256;

/// Missing Access and Missing Permissions. See Discord: Opcodes and Status Codes,
/// "JSON".
const CODES: [u64; 2] = [50001, 50013];

/// A request as far as permissions go: method, path, and what `asked` names of
/// its body.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Deed(u64);

impl Deed {
    pub(crate) fn new(route: &Route, asked: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        route.method().as_str().hash(&mut hasher);
        route.path().hash(&mut hasher);
        asked.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What was refused, each for a while. Time is counted from the client's start.
#[derive(Debug)]
pub(crate) struct Forbidden {
    hold: Duration,
    refused: BTreeMap<Deed, (Duration, ErrorAnswer)>,
}

impl Forbidden {
    /// With a `hold` of zero nothing is remembered.
    pub(crate) fn new(hold: Duration) -> Self {
        Self {
            hold,
            refused: BTreeMap::new(),
        }
    }

    /// Discord refused `deed` with this answer.
    pub(crate) fn remember(&mut self, deed: Deed, answer: &ErrorAnswer, now: Duration) {
        let permission = answer.status == 403 && answer.code.is_some_and(|c| CODES.contains(&c));
        if self.hold.is_zero() || !permission {
            return;
        }
        self.refused.retain(|_, (until, _)| *until > now);
        if self.refused.len() >= MAX_REMEMBERED
            && let Some(soonest) = self
                .refused
                .iter()
                .min_by_key(|(_, (until, _))| *until)
                .map(|(deed, _)| *deed)
        {
            self.refused.remove(&soonest);
        }
        self.refused.insert(deed, (now + self.hold, answer.clone()));
    }

    /// What Discord answered, if the same was refused a short while ago.
    pub(crate) fn recall(&self, deed: Deed, now: Duration) -> Option<ErrorAnswer> {
        self.refused
            .get(&deed)
            .filter(|(until, _)| *until > now)
            .map(|(_, answer)| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Method, Response};

    use super::*;
    use crate::{endpoint::Major, error_body};

    fn deed(id: u64) -> Deed {
        let route = Route::new(Method::GET, "/channels/{channel_id}", Major::Channel(id)).param(id);
        Deed::new(&route, "")
    }

    fn answer(status: u16, code: u64) -> ErrorAnswer {
        let body = format!(r#"{{"code":{code},"message":"m"}}"#);
        let answer = Response::builder().status(status).body(Bytes::from(body));
        error_body::read(&answer.unwrap())
    }

    #[test]
    fn only_missing_permissions_and_only_for_a_while() {
        let (second, hold) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut forbidden = Forbidden::new(hold);
        for (id, status, code) in [
            (1, 403, 50001),
            (2, 403, 50013),
            (3, 403, 40333),
            (4, 404, 50001),
        ] {
            forbidden.remember(deed(id), &answer(status, code), second);
        }
        let known = |now| [1, 2, 3, 4].map(|id| forbidden.recall(deed(id), now).is_some());
        assert_eq!(known(second + hold - second), [true, true, false, false]);
        assert_eq!(known(second + hold), [false; 4]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut forbidden = Forbidden::new(Duration::from_secs(60));
        for id in 0..1000 {
            forbidden.remember(deed(id), &answer(403, 50001), Duration::from_millis(id));
        }
        assert_eq!(forbidden.refused.len(), MAX_REMEMBERED);
        let now = Duration::from_secs(1);
        assert!(forbidden.recall(deed(999), now).is_some());
        assert!(forbidden.recall(deed(0), now).is_none());
    }

    #[test]
    fn zero_switches_it_off() {
        let mut forbidden = Forbidden::new(Duration::ZERO);
        forbidden.remember(deed(1), &answer(403, 50001), Duration::ZERO);
        assert!(forbidden.refused.is_empty());
    }
}
