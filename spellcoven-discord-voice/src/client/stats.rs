use std::{collections::BTreeMap, time::Duration};

use crate::{
    Backlog, EncryptionMode, Id, PingStats, PlaybackStats, ReceiveStats, SendStats, UserMarker,
    UserStats, session::SessionStats,
};

/// Counts and measurements of a client, at one moment.
///
/// The options and `users` belong to the present connection to a voice server: they begin anew with the next server or
/// session (not with a resume), and are `None` or empty while there is none. Everything else counts over the client's
/// whole life.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct VoiceStats {
    /// What was played: sent, missed, held for want of a key, muted.
    pub playback: PlaybackStats,
    /// Frames of the source that were no Opus frame, or too long, and were not sent.
    pub bad_frames: u64,
    /// Datagrams that the system did not take.
    pub unsent_datagrams: u64,
    /// Frames that an [`AudioStream`](crate::AudioStream) was too slow for, over all streams.
    pub lagged_frames: u64,
    /// Voice gateway connections begun.
    pub connections: u64,
    /// Resumes that the voice server answered.
    pub resumes: u64,
    /// Fresh sessions begun on a voice server.
    pub identifies: u64,
    /// Messages of the voice server that could not be read.
    pub malformed: u64,
    /// What was sent.
    pub sent: Option<SendStats>,
    /// What was received, from all users together.
    pub received: Option<ReceiveStats>,
    /// What was received, by user.
    pub users: BTreeMap<Id<UserMarker>, UserStats>,
    /// The UDP path's pings, with their round trip.
    pub ping: Option<PingStats>,
    /// From the last heartbeat of the voice gateway to its ack.
    pub heartbeat_latency: Option<Duration>,
    /// How datagrams are encrypted to the voice server.
    pub encryption_mode: Option<EncryptionMode>,
    /// What waits at this moment.
    pub backlog: Backlog,
}

impl VoiceStats {
    pub(super) fn new(stats: SessionStats, unsent_datagrams: u64, lagged_frames: u64) -> Self {
        let SessionStats {
            playback,
            counts,
            sent,
            received,
            users,
            ping,
            mode,
            heartbeat,
            backlog,
        } = stats;
        Self {
            playback,
            bad_frames: counts.bad_frames,
            unsent_datagrams,
            lagged_frames,
            connections: counts.links,
            resumes: counts.resumes,
            identifies: counts.identifies,
            malformed: counts.malformed,
            sent,
            received,
            users: users
                .into_iter()
                .filter_map(|(user, stats)| Some((Id::new_checked(user)?, stats)))
                .collect(),
            ping,
            heartbeat_latency: heartbeat,
            encryption_mode: mode,
            backlog,
        }
    }
}
