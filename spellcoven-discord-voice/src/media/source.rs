//! One stream that is received: whose it is, and what waits for its key.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::stats::UserStats;
use crate::{dave::OpenFrameError, rtp::Reception};

/// How long a frame waits for its key or for the message that says whose it is.
/// Later nobody wants to hear it.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// How many frames of one stream wait; with one more the oldest goes.
pub(super) const MAX_WAITING: usize = 64;

/// One SSRC.
#[derive(Debug)]
pub(super) struct Source {
    /// `None` until a message of the voice gateway says it.
    pub(super) user: Option<u64>,
    /// `None` before the first packet.
    pub(super) reception: Option<Reception>,
    pub(super) counts: UserStats,
    pub(super) waiting: VecDeque<Waiting>,
    last_packet: Option<Instant>,
    /// When it last had a packet or a message, in packets and messages of all.
    pub(super) used: u64,
}

/// A frame that is not opened yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: SealedFrame,
    pub(super) reason: Reason,
}

/// A frame as the transport brought it.
#[derive(Debug)]
pub(super) struct SealedFrame {
    pub(super) at: Instant,
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) audio_level: Option<u8>,
    pub(super) payload: Bytes,
}

/// Why a frame waits, or was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    UnknownSender,
    NoKey,
    WrongKey,
    Plaintext,
    Replayed,
}

impl From<OpenFrameError> for Reason {
    fn from(error: OpenFrameError) -> Self {
        match error {
            OpenFrameError::UnknownKey => Self::NoKey,
            OpenFrameError::WrongKey => Self::WrongKey,
            OpenFrameError::Replayed => Self::Replayed,
            OpenFrameError::Plaintext => Self::Plaintext,
        }
    }
}

impl Source {
    pub(super) fn new(user: Option<u64>) -> Self {
        Self {
            user,
            reception: None,
            counts: UserStats::default(),
            waiting: VecDeque::new(),
            last_packet: None,
            used: 0,
        }
    }

    /// Counts a packet and gives its extended sequence number.
    pub(super) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32) -> u64 {
        self.counts.received += 1;
        self.last_packet = Some(now);
        self.reception
            .get_or_insert_with(|| Reception::new(now, sequence))
            .packet(now, sequence, timestamp)
    }

    /// Lets a frame wait. Gives by how many more wait than before: 0 where the
    /// oldest made room.
    pub(super) fn wait(&mut self, frame: SealedFrame, reason: Reason) -> usize {
        self.waiting.push_back(Waiting { frame, reason });
        if self.waiting.len() <= MAX_WAITING {
            return 1;
        }
        if let Some(oldest) = self.waiting.pop_front() {
            self.drop_frame(oldest.reason);
        }
        0
    }

    /// Drops the frames that have waited too long; gives how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        while let Some(front) = self.waiting.front() {
            if now < front.expiry() {
                break;
            }
            let reason = front.reason;
            self.waiting.pop_front();
            self.drop_frame(reason);
            expired += 1;
        }
        expired
    }

    pub(super) fn drop_frame(&mut self, reason: Reason) {
        let counts = &mut self.counts.undecryptable;
        *match reason {
            Reason::UnknownSender => &mut counts.unknown_sender,
            Reason::NoKey => &mut counts.no_key,
            Reason::WrongKey => &mut counts.wrong_key,
            Reason::Plaintext => &mut counts.plaintext,
            Reason::Replayed => &mut counts.replayed,
        } += 1;
    }

    pub(super) fn stats(&self) -> UserStats {
        let mut stats = self.counts;
        stats.waiting = self.waiting.len() as u64;
        if let Some(reception) = &self.reception {
            stats.lost = reception.lost();
            stats.late = reception.late();
            stats.jitter = reception.jitter();
        }
        stats
    }

    /// The figures of a stream that ends here, with whatever waited.
    pub(super) fn into_stats(mut self) -> UserStats {
        while let Some(waiting) = self.waiting.pop_front() {
            self.drop_frame(waiting.reason);
        }
        let mut stats = self.stats();
        stats.jitter = Duration::ZERO;
        stats
    }

    /// When the first waiting frame, or a stream that nobody has named, is
    /// given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.waiting.front() {
            Some(front) => Some(front.expiry()),
            None if self.user.is_none() => self.last_packet.map(|last| last + PATIENCE),
            None => None,
        }
    }

    /// Has nobody named the stream for so long after its last packet?
    pub(super) fn is_nobody(&self, now: Instant) -> bool {
        self.user.is_none() && self.deadline().is_none_or(|deadline| deadline <= now)
    }
}

impl Waiting {
    pub(super) fn expiry(&self) -> Instant {
        self.frame.at + PATIENCE
    }
}
