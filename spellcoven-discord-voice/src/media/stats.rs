//! Counts of what was sent and received.

use std::time::Duration;

/// What was sent in a call, since its connection to this voice server.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct SendStats {
    /// RTP packets sent, silence frames among them.
    pub packets: u64,
    /// Their payload in bytes, with what end-to-end encryption adds.
    pub payload_bytes: u64,
    /// Frames that were not sent because there was no key to encrypt them with:
    /// nobody else is there yet, or the keys are being agreed on.
    pub held: u64,
    /// RTCP reports sent.
    pub reports: u64,
    /// What the voice server last reported of what reaches it.
    pub remote: Option<RemoteReport>,
}

/// The other side's view of what we send (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RemoteReport {
    /// The share of packets lost on the way since the report before: 0.0..=1.0.
    pub fraction_lost: f32,
    /// All packets lost on the way; negative where some came twice.
    pub lost: i32,
    /// The mean deviation of the packets' spacing at the server.
    pub jitter: Duration,
    /// From here to the server and back; `None` before it has answered a report
    /// of ours.
    pub round_trip: Option<Duration>,
}

/// What came in a call, and what became of it, for all senders together.
///
/// Every datagram is counted in exactly one of these fields but the last.
/// `frames` is the sum of [`UserStats::received`] over all users and `others`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// Audio packets that were authentic, came for the first time, and were
    /// taken on.
    pub frames: u64,
    /// RTCP packets that were authentic.
    pub reports: u64,
    /// RTP dropped unread because nothing is to be received.
    pub unwanted: u64,
    /// RTP of another kind than Opus, dropped unread.
    pub other_media: u64,
    /// Datagrams that the connection's key does not open: changed on the way,
    /// forged, or from before a change of keys.
    pub not_authentic: u64,
    /// Packets that came before.
    pub duplicated: u64,
    /// Packets so late that nobody can tell whether they came before.
    pub too_old: u64,
    /// Datagrams that are neither RTP nor RTCP, or whose header, extension or
    /// padding does not fit.
    pub malformed: u64,
    /// Packets of unknown senders beyond the 32 unknown ones that may wait.
    pub too_many_unknown: u64,
    /// What came of senders whom nobody has named, and of those who have left.
    pub others: UserStats,
}

impl ReceiveStats {
    /// All datagrams.
    pub fn total(&self) -> u64 {
        let Self {
            frames,
            reports,
            unwanted,
            other_media,
            not_authentic,
            duplicated,
            too_old,
            malformed,
            too_many_unknown,
            others: _,
        } = *self;
        frames
            + reports
            + unwanted
            + other_media
            + not_authentic
            + duplicated
            + too_old
            + malformed
            + too_many_unknown
    }
}

/// What came of one user, since their stream began.
///
/// `received` = `delivered` + `empty` + `waiting` + [`Undecryptable::total`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserStats {
    /// Packets that came, each counted once.
    pub received: u64,
    /// Frames handed on.
    pub delivered: u64,
    /// Packets of padding alone, which official clients send.
    pub empty: u64,
    /// Frames that wait for their key, or for the message that says whose they
    /// are.
    pub waiting: u64,
    /// Frames that could not be decrypted.
    pub undecryptable: Undecryptable,
    /// Packets that did not come, as far as the sequence numbers tell by now.
    pub lost: u64,
    /// Packets that came after one with a higher sequence number.
    pub late: u64,
    /// Packets that came again, and were dropped.
    pub duplicated: u64,
    /// The mean deviation of the packets' spacing (RFC 3550, A.8); of several
    /// streams the largest.
    pub jitter: Duration,
}

/// Frames that could not be decrypted, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undecryptable {
    /// No message told within 500 ms whose they are.
    pub unknown_sender: u64,
    /// No key of their sender came within 500 ms.
    pub no_key: u64,
    /// No key that came within 500 ms opens them.
    pub wrong_key: u64,
    /// Not end-to-end encrypted in a call that is.
    pub plaintext: u64,
    /// The sender's frame counter came before.
    pub replayed: u64,
}

impl Undecryptable {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.unknown_sender + self.no_key + self.wrong_key + self.plaintext + self.replayed
    }

    fn add(&mut self, other: &Self) {
        self.unknown_sender += other.unknown_sender;
        self.no_key += other.no_key;
        self.wrong_key += other.wrong_key;
        self.plaintext += other.plaintext;
        self.replayed += other.replayed;
    }
}

impl UserStats {
    /// Adds another stream of the same user.
    pub(crate) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.delivered += other.delivered;
        self.empty += other.empty;
        self.waiting += other.waiting;
        self.undecryptable.add(&other.undecryptable);
        self.lost += other.lost;
        self.late += other.late;
        self.duplicated += other.duplicated;
        self.jitter = self.jitter.max(other.jitter);
    }
}
