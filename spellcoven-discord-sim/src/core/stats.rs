//! Sums over all that happened; unlike the journal they forget nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::World;
#[cfg(feature = "voice")]
use crate::ids::UserId;
use crate::journal::EntryKind;

/// Counts since the simulator's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// REST requests that were answered, or struck by a fault.
    pub rest_requests: u64,
    /// The same by status; 0 where there was no answer.
    pub rest_by_status: BTreeMap<u16, u64>,
    /// REST requests that a fault struck.
    pub rest_faults: u64,
    /// WebSockets opened.
    pub gateway_connections: u64,
    /// Identifies accepted.
    pub identifies: u64,
    /// Resumes accepted.
    pub resumes: u64,
    /// Dispatches sent again by resumes.
    pub replayed: u64,
    /// Identifies and resumes refused with op 9.
    pub refused: u64,
    /// Commands of clients, heartbeats left out.
    pub commands: u64,
    /// Events that entered a session.
    pub dispatches: u64,
    /// Voice WebSockets opened.
    pub voice_connections: u64,
    /// Voice Identifies accepted.
    pub voice_identifies: u64,
    /// Voice resumes accepted.
    pub voice_resumes: u64,
    /// Voice messages sent again by resumes.
    pub voice_replayed: u64,
    /// Media of each user who ever was in a call.
    #[cfg(feature = "voice")]
    pub media: BTreeMap<UserId, super::MediaCounts>,
    /// Things that clients did wrong.
    pub complaints: u64,
    /// Sessions now, those without a connection included.
    pub sessions: u64,
    /// Sessions now that have a connection.
    pub live_sessions: u64,
    /// Answers of the present window that count towards a ban of the address.
    pub invalid_requests: u32,
}

impl Stats {
    pub(super) fn count(&mut self, what: &EntryKind) {
        match what {
            EntryKind::RestRequest(request) => {
                self.rest_requests += 1;
                *self.rest_by_status.entry(request.status).or_default() += 1;
                self.rest_faults += u64::from(request.fault.is_some());
            }
            EntryKind::GatewayOpened { .. } => self.gateway_connections += 1,
            EntryKind::Identified { .. } => self.identifies += 1,
            EntryKind::Resumed { replayed, .. } => {
                self.resumes += 1;
                self.replayed += replayed;
            }
            EntryKind::Refused { .. } => self.refused += 1,
            EntryKind::Commanded { .. } => self.commands += 1,
            EntryKind::Dispatched { .. } => self.dispatches += 1,
            EntryKind::VoiceOpened { .. } => self.voice_connections += 1,
            EntryKind::VoiceIdentified { .. } => self.voice_identifies += 1,
            EntryKind::VoiceResumed { replayed, .. } => {
                self.voice_resumes += 1;
                self.voice_replayed += replayed;
            }
            EntryKind::Complaint { .. } => self.complaints += 1,
            _ => {}
        }
    }
}

impl World {
    /// What happened so far, in numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let live = self
            .sessions
            .values()
            .filter(|session| session.connection.is_some());
        Stats {
            sessions: self.sessions.len() as u64,
            live_sessions: live.count() as u64,
            invalid_requests: self.invalid_requests(),
            #[cfg(feature = "voice")]
            media: self.media(),
            ..self.stats.clone()
        }
    }
}
