use serde::{Deserialize, Serialize};

/// What a session needs to be resumed: keep it to resume after a restart.
///
/// Store it together with what was made of the events up to
/// [`seq`](Self::seq), in one transaction: usually `{handle.session(),
/// tracker}` after an event is fully processed. A session stored with an older
/// `seq` only replays more; one stored with a newer `seq` than the state beside
/// it loses events. Where the state is missing or older, do not resume: start
/// without a session, so that snapshots come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// `session_id` of READY.
    pub session_id: String,
    /// `resume_gateway_url` of READY, as Discord sent it.
    pub resume_url: String,
    /// The number of the last event that counts as received.
    pub seq: u64,
}

impl SessionState {
    /// The same session at another event: the one that was fully processed.
    #[must_use]
    pub fn at(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }
}
