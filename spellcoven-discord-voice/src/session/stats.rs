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
    /// What waits.
    pub(crate) backlog: Backlog,
}

/// What a client keeps at a moment, in numbers. Each has a bound, after which the oldest goes or a fresh session begins:
/// docs/VOICE.md, "Bounds".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Frames of the source that wait for a key: at most 500 ms of them.
    pub held_frames: usize,
    /// Messages to the voice gateway that wait for a resume: at most 64.
    pub gateway_messages: usize,
    /// Messages about the call's keys that wait for work on the ones before: at most 1024.
    pub key_messages: usize,
    /// Received frames that wait for their key or their sender's name: at most 64 of each stream.
    pub sealed_frames: usize,
    /// Streams that are received: at most 1056.
    pub streams: usize,
    /// Senders whose keys are kept: the members of the group.
    pub keys: usize,
    /// Others who are known to be in the call: at most 20,000.
    pub people: usize,
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
            backlog: self.backlog(),
        }
    }

    fn backlog(&self) -> Backlog {
        let gateway = self.gateway.as_ref();
        let received = self.connection.media.as_ref();
        let [sealed_frames, streams, keys] =
            received.map_or([0; 3], |media| media.receiver.backlog());
        Backlog {
            held_frames: self.pacer.held(),
            gateway_messages: gateway.map_or(0, |gateway| gateway.waiting()),
            key_messages: self.dave.waiting(),
            sealed_frames,
            streams,
            keys,
            people: self.people.len(),
        }
    }
}
