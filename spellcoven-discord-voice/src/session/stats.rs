use std::{collections::BTreeMap, time::Duration};

use super::{PlaybackStats, Session};
use crate::{
    media::{ReceiveStats, SendStats, UserStats},
    transport::EncryptionMode,
    udp::PingStats,
};

/// What a session has counted. What belongs to a connection is there while there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionStats {
    /// Over the session's whole life.
    pub(crate) playback: PlaybackStats,
    /// Over the session's whole life.
    pub(crate) counts: Counts,
    /// Of this connection to a voice server.
    pub(crate) sent: Option<SendStats>,
    /// Of this connection to a voice server.
    pub(crate) received: Option<ReceiveStats>,
    /// Of this connection to a voice server.
    pub(crate) users: BTreeMap<u64, UserStats>,
    /// Of this connection to a voice server.
    pub(crate) ping: Option<PingStats>,
    /// How datagrams are encrypted.
    pub(crate) mode: Option<EncryptionMode>,
    /// From the last heartbeat of the voice gateway to its ack.
    pub(crate) heartbeat: Option<Duration>,
}

/// Counters over a session's life. All only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Voice gateway connections begun.
    pub(crate) links: u64,
    /// Resumes that were answered.
    pub(crate) resumes: u64,
    /// Fresh sessions begun.
    pub(crate) identifies: u64,
    /// Messages that could not be read.
    pub(crate) malformed: u64,
    /// Frames of the source that are no Opus frame, or too long, and were not sent.
    pub(crate) bad_frames: u64,
}

impl Session {
    /// A snapshot; it costs a copy of each user's figures.
    pub(crate) fn stats(&self) -> SessionStats {
        let media = self.connection.media.as_ref();
        SessionStats {
            playback: self.pacer.stats(),
            counts: self.counts,
            sent: media.map(|media| media.sender.stats()),
            received: media.map(|media| media.receiver.stats()),
            users: media
                .map(|media| media.receiver.user_stats())
                .unwrap_or_default(),
            ping: self.connection.ping_stats(),
            mode: media.map(|media| media.mode),
            heartbeat: self
                .gateway
                .as_ref()
                .and_then(|gateway| gateway.round_trip()),
        }
    }
}
