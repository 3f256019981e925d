//! Datagrams into frames.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;

use super::{
    frame::SILENCE,
    source::{Reason, SealedFrame, Source, Waiting},
    stats::{ReceiveStats, UserStats},
};
use crate::{
    dave::{FrameOpeners, KeyChange, MediaKind, Opened},
    rtp::{
        Compound, DatagramKind, MAX_BLOCKS, OPUS_PAYLOAD_TYPE, ParsedHeader, ReportBlock,
        RtcpPacket, RtpPacket,
    },
    transport::{EncryptionMode, OpenError, Opener, TransportKey},
};

/// How many SSRCs without a user there may be. Only the voice server can make
/// them; packets of one more are dropped.
const MAX_UNKNOWN: usize = 32;
/// How many SSRCs with a user there may be; with one more the one idle for
/// longest goes.
const MAX_KNOWN: usize = 1024;
/// How many SSRCs one user may have; with one more the one idle for longest
/// goes.
const MAX_PER_USER: usize = 4;

/// Receives the audio of a call: decrypts it, tells by SSRC whose it is, counts
/// what is lost, and reports.
///
/// Frames that come before their key, or before the message that says whose
/// they are, wait for it: at most 500 ms and 64 of each stream; later they count
/// as undecryptable. They are handed on in the order in which they came, so
/// behind frames that did not have to wait.
///
/// It knows neither socket nor voice gateway. Keys and users are told to it.
#[derive(Debug)]
pub(crate) struct Receiver {
    own_ssrc: u32,
    wanted: bool,
    opener: Opener,
    keys: FrameOpeners,
    sources: BTreeMap<u32, Source>,
    unknown: usize,
    /// Frames that wait, of all sources.
    waiting: usize,
    /// Counts packets and messages, to tell which source is idle for longest.
    tick: u64,
    /// Where the next report begins.
    report_from: u32,
    plaintext: Vec<u8>,
    stats: ReceiveStats,
    /// The figures of sources that are gone.
    others: UserStats,
}

/// What a datagram can bring.
#[derive(Debug)]
pub(crate) enum Received {
    /// Someone's sound.
    Frame(ReceivedFrame),
    /// What the voice server says of our own stream: for
    /// [`super::Sender::remote_report`].
    Report(ReportBlock),
}

/// One frame of someone's audio, decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedFrame {
    pub(crate) user_id: u64,
    pub(crate) ssrc: u32,
    /// The sequence number, extended so that it does not wrap. It begins
    /// anywhere.
    pub(crate) sequence: u64,
    /// In samples at 48 kHz; wraps.
    pub(crate) timestamp: u32,
    /// The Opus packet.
    pub(crate) payload: Bytes,
    /// When it came, which is before now if it had to wait.
    pub(crate) received_at: Instant,
    /// Whether it was end-to-end encrypted.
    pub(crate) opened: Opened,
    /// 0 (loudest) to 127, if the sender says it.
    pub(crate) audio_level: Option<u8>,
}

impl ReceivedFrame {
    /// Is it the silence frame, which ends a stretch of speech?
    pub(crate) fn is_silence(&self) -> bool {
        self.payload.as_ref() == SILENCE
    }
}

impl Receiver {
    /// `own_ssrc`: the SSRC that we send with. Without `wanted` all RTP is
    /// dropped before it is decrypted.
    pub(crate) fn new(own_ssrc: u32, opener: Opener, wanted: bool) -> Self {
        Self {
            own_ssrc,
            wanted,
            opener,
            keys: FrameOpeners::new(),
            sources: BTreeMap::new(),
            unknown: 0,
            waiting: 0,
            tick: 0,
            report_from: 0,
            plaintext: Vec::new(),
            stats: ReceiveStats::default(),
            others: UserStats::default(),
        }
    }

    /// Takes the key of a second Session Description on the same connection.
    pub(crate) fn rekey(&mut self, mode: EncryptionMode, key: &TransportKey) {
        self.opener.rekey(mode, key);
    }

    /// From now on receives, or does not. Frames that wait are dropped when it
    /// ceases, and the figures of each stream begin anew.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        for source in self.sources.values_mut() {
            let fresh = Source::new(source.user, source.used);
            self.others
                .add(&std::mem::replace(source, fresh).into_stats());
        }
        self.sources.retain(|_, source| source.user.is_some());
        self.unknown = 0;
        self.waiting = 0;
    }

    /// Takes a datagram from the voice server that [`DatagramKind::of`] calls
    /// RTP or RTCP. It is decrypted in place.
    pub(crate) fn datagram(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        sink: &mut impl FnMut(Received),
    ) {
        match DatagramKind::of(datagram) {
            DatagramKind::Rtp => self.rtp(now, datagram, sink),
            DatagramKind::Rtcp => self.rtcp(now, datagram, sink),
            DatagramKind::Discovery | DatagramKind::Ping | DatagramKind::Unknown => {
                self.stats.malformed += 1;
            }
        }
    }

    fn rtp(&mut self, now: Instant, datagram: &mut [u8], sink: &mut impl FnMut(Received)) {
        if !self.wanted {
            self.stats.unwanted += 1;
            return;
        }
        let Some(parsed) = ParsedHeader::parse(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        if parsed.header.payload_type != OPUS_PAYLOAD_TYPE {
            self.stats.other_media += 1;
            return;
        }
        match self.opener.open_rtp(datagram) {
            Ok(packet) => self.packet(now, &packet, sink),
            Err(error) => self.note(error),
        }
    }

    fn packet(&mut self, now: Instant, packet: &RtpPacket<'_>, sink: &mut impl FnMut(Received)) {
        let header = packet.header;
        self.tick += 1;
        let source = match self.sources.get_mut(&header.ssrc) {
            Some(source) => source,
            None if self.unknown < MAX_UNKNOWN => {
                self.unknown += 1;
                self.sources
                    .entry(header.ssrc)
                    .or_insert_with(|| Source::new(None, 0))
            }
            None => {
                self.stats.too_many_unknown += 1;
                return;
            }
        };
        source.used = self.tick;
        self.stats.frames += 1;
        let sequence = source.packet(now, header.sequence, header.timestamp);
        if packet.payload.is_empty() {
            source.counts.empty += 1;
            return;
        }
        let reason = match source.user {
            None => Reason::UnknownSender,
            Some(user) => {
                let opened = self.keys.open(
                    user,
                    MediaKind::Audio,
                    now,
                    packet.payload,
                    &mut self.plaintext,
                );
                match opened {
                    Ok(opened) => {
                        let frame = ReceivedFrame {
                            user_id: user,
                            ssrc: header.ssrc,
                            sequence,
                            timestamp: header.timestamp,
                            payload: Bytes::copy_from_slice(&self.plaintext),
                            received_at: now,
                            opened,
                            audio_level: packet.audio_level(),
                        };
                        deliver(source, frame, sink);
                        return;
                    }
                    Err(error) if error.may_wait() => error.into(),
                    Err(error) => {
                        source.drop_frame(error.into());
                        return;
                    }
                }
            }
        };
        let frame = SealedFrame {
            at: now,
            sequence,
            timestamp: header.timestamp,
            audio_level: packet.audio_level(),
            payload: Bytes::copy_from_slice(packet.payload),
        };
        self.waiting += source.wait(frame, reason);
    }

    fn rtcp(&mut self, now: Instant, datagram: &mut [u8], sink: &mut impl FnMut(Received)) {
        let plaintext = match self.opener.open_rtcp(datagram) {
            Ok(plaintext) => plaintext,
            Err(error) => return self.note(error),
        };
        self.stats.reports += 1;
        for packet in Compound::new(plaintext) {
            let blocks = match packet {
                RtcpPacket::SenderReport { ssrc, info, blocks } => {
                    let source = self.sources.get_mut(&ssrc);
                    if let Some(reception) = source.and_then(|source| source.reception.as_mut()) {
                        reception.sender_report(now, info.ntp);
                    }
                    blocks
                }
                RtcpPacket::ReceiverReport { blocks, .. } => blocks,
                // Who leaves is told by the voice gateway, and feedback is for
                // video.
                RtcpPacket::SourceDescription(_)
                | RtcpPacket::Bye(_)
                | RtcpPacket::Other { .. } => continue,
            };
            for block in blocks.filter(|block| block.ssrc == self.own_ssrc) {
                sink(Received::Report(block));
            }
        }
    }

    fn note(&mut self, error: OpenError) {
        match error {
            OpenError::NotAuthentic => self.stats.not_authentic += 1,
            OpenError::Replayed { ssrc } => {
                self.stats.duplicated += 1;
                if let Some(source) = self.sources.get_mut(&ssrc) {
                    source.counts.duplicated += 1;
                }
            }
            OpenError::TooOld { .. } => self.stats.too_old += 1,
            _ => self.stats.malformed += 1,
        }
        tracing::trace!(%error, "dropped a datagram");
    }

    /// An SSRC is this user's (op 5, or op 12 for its audio). Frames that waited
    /// for this are handed on.
    pub(crate) fn map(
        &mut self,
        now: Instant,
        ssrc: u32,
        user: u64,
        sink: &mut impl FnMut(Received),
    ) {
        self.tick += 1;
        let owner = self.sources.get(&ssrc).map(|source| source.user);
        match owner {
            Some(Some(owner)) if owner == user => return,
            Some(None) => self.unknown = self.unknown.saturating_sub(1),
            Some(Some(_)) => self.remove(ssrc),
            None => {}
        }
        self.make_room(user);
        let source = self
            .sources
            .entry(ssrc)
            .or_insert_with(|| Source::new(None, 0));
        source.user = Some(user);
        source.used = self.tick;
        self.retry(now, user, sink);
    }

    /// Sees to it that one more SSRC of this user fits.
    fn make_room(&mut self, user: u64) {
        let idlest = |sources: &BTreeMap<u32, Source>, of: Option<u64>| {
            sources
                .iter()
                .filter(|(_, source)| source.user.is_some() && (of.is_none() || source.user == of))
                .min_by_key(|(_, source)| source.used)
                .map(|(&ssrc, _)| ssrc)
        };
        let of_user = self
            .sources
            .values()
            .filter(|source| source.user == Some(user))
            .count();
        if of_user >= MAX_PER_USER
            && let Some(ssrc) = idlest(&self.sources, Some(user))
        {
            self.remove(ssrc);
        }
        if self.sources.len() - self.unknown.min(self.sources.len()) >= MAX_KNOWN
            && let Some(ssrc) = idlest(&self.sources, None)
        {
            self.remove(ssrc);
        }
    }

    /// The user has left the call (op 13): their SSRCs are forgotten, with what
    /// waits. Their keys go by [`Receiver::apply`].
    pub(crate) fn user_left(&mut self, user: u64) {
        let left: Vec<u32> = self
            .sources
            .iter()
            .filter(|(_, source)| source.user == Some(user))
            .map(|(&ssrc, _)| ssrc)
            .collect();
        for ssrc in left {
            self.remove(ssrc);
        }
    }

    fn remove(&mut self, ssrc: u32) {
        if let Some(source) = self.sources.remove(&ssrc) {
            self.waiting -= source.waiting.len().min(self.waiting);
            self.others.add(&source.into_stats());
        }
        self.opener.forget(ssrc);
    }

    /// Takes a change of keys; one for the sender is none of its business.
    /// Frames that waited for it are handed on.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        change: KeyChange,
        sink: &mut impl FnMut(Received),
    ) {
        let user = match change {
            KeyChange::Receive { user, .. } => Some(user),
            _ => None,
        };
        self.keys.apply(now, change);
        if let Some(user) = user {
            self.retry(now, user, sink);
        }
    }

    fn retry(&mut self, now: Instant, user: u64, sink: &mut impl FnMut(Received)) {
        if self.waiting == 0 {
            return;
        }
        for (&ssrc, source) in &mut self.sources {
            if source.user != Some(user) {
                continue;
            }
            self.waiting -= source.expire(now).min(self.waiting);
            for Waiting { frame, .. } in std::mem::take(&mut source.waiting) {
                let opened = self.keys.open(
                    user,
                    MediaKind::Audio,
                    now,
                    &frame.payload,
                    &mut self.plaintext,
                );
                match opened {
                    Ok(opened) => {
                        let frame = ReceivedFrame {
                            user_id: user,
                            ssrc,
                            sequence: frame.sequence,
                            timestamp: frame.timestamp,
                            payload: Bytes::copy_from_slice(&self.plaintext),
                            received_at: frame.at,
                            opened,
                            audio_level: frame.audio_level,
                        };
                        deliver(source, frame, sink);
                    }
                    Err(error) if error.may_wait() => {
                        let reason = error.into();
                        source.waiting.push_back(Waiting { frame, reason });
                        continue;
                    }
                    Err(error) => source.drop_frame(error.into()),
                }
                self.waiting = self.waiting.saturating_sub(1);
            }
        }
    }

    /// When to call [`Receiver::handle_timeout`]. `None` while nothing waits.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.waiting == 0 && self.unknown == 0 {
            return None;
        }
        self.sources
            .values()
            .filter_map(|source| source.deadline())
            .min()
    }

    /// Drops frames that have waited for too long, and SSRCs whose user nobody
    /// has named.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.waiting == 0 && self.unknown == 0 {
            return;
        }
        for source in self.sources.values_mut() {
            self.waiting -= source.expire(now).min(self.waiting);
        }
        for (_, source) in self
            .sources
            .extract_if(.., |_, source| source.is_nobody(now))
        {
            self.unknown = self.unknown.saturating_sub(1);
            self.others.add(&source.into_stats());
        }
    }

    /// Puts what the next report says into `blocks`: one for each stream of
    /// which something came since the last report, at most 31, the others next
    /// time.
    pub(crate) fn report_blocks(&mut self, now: Instant, blocks: &mut Vec<ReportBlock>) {
        blocks.clear();
        let (before, after): (Vec<_>, Vec<_>) = self
            .sources
            .iter_mut()
            .filter(|(_, source)| source.user.is_some())
            .filter_map(|(&ssrc, source)| Some((ssrc, source.reception.as_mut()?)))
            .filter(|(_, reception)| reception.has_news())
            .partition(|(ssrc, _)| *ssrc < self.report_from);
        for (ssrc, reception) in after.into_iter().chain(before).take(MAX_BLOCKS) {
            blocks.push(reception.report(now, ssrc));
            self.report_from = ssrc.wrapping_add(1);
        }
    }

    /// Do frames of several senders fail in a row, so that the group's keys are
    /// in doubt? See [`FrameOpeners::failing`].
    pub(crate) fn failing(&self) -> bool {
        self.keys.failing()
    }

    /// The doubt was told.
    pub(crate) fn clear_failures(&mut self) {
        self.keys.clear_failures();
    }

    pub(crate) fn stats(&self) -> ReceiveStats {
        let mut stats = self.stats;
        stats.others = self.others;
        for source in self.sources.values().filter(|source| source.user.is_none()) {
            stats.others.add(&source.stats());
        }
        stats
    }

    /// The figures of each user of whom an SSRC is known.
    pub(crate) fn user_stats(&self) -> BTreeMap<u64, UserStats> {
        let mut users: BTreeMap<u64, UserStats> = BTreeMap::new();
        for source in self.sources.values() {
            if let Some(user) = source.user {
                users.entry(user).or_default().add(&source.stats());
            }
        }
        users
    }
}

fn deliver(source: &mut Source, frame: ReceivedFrame, sink: &mut impl FnMut(Received)) {
    source.counts.delivered += 1;
    if frame.is_silence()
        && let Some(reception) = &mut source.reception
    {
        reception.pause();
    }
    sink(Received::Frame(frame));
}
