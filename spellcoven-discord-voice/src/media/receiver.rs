//! Datagrams into frames.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;

use super::{
    frame::SILENCE,
    source::{Reason, SealedFrame, Source, Waiting},
    sources::{Mapped, Sources},
    stats::{ReceiveStats, UserStats},
};
use crate::{
    dave::{FrameOpeners, KeyChange, MediaKind, Opened},
    rtp::{
        Compound, DatagramKind, OPUS_PAYLOAD_TYPE, ParsedHeader, ReportBlock, RtcpPacket, RtpPacket,
    },
    transport::{EncryptionMode, OpenError, Opener, TransportKey},
};

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
    sources: Sources,
    plaintext: Vec<u8>,
    stats: ReceiveStats,
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
            sources: Sources::default(),
            plaintext: Vec::new(),
            stats: ReceiveStats::default(),
        }
    }

    /// Takes the key of a second Session Description on the same connection.
    pub(crate) fn rekey(&mut self, mode: EncryptionMode, key: &TransportKey) {
        self.opener.rekey(mode, key);
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
        let Some(source) = self.sources.of_packet(header.ssrc) else {
            self.stats.too_many_unknown += 1;
            return;
        };
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
        let more = source.wait(frame, reason);
        self.sources.more_wait(more);
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
                    let source = self.sources.get_mut(ssrc);
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
                if let Some(source) = self.sources.get_mut(ssrc) {
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
        let Mapped { forgotten } = match self.sources.map(ssrc, user) {
            Some(mapped) => mapped,
            None => return,
        };
        for ssrc in forgotten {
            self.opener.forget(ssrc);
        }
        self.retry(now, user, sink);
    }

    /// The user has left the call (op 13): their SSRCs are forgotten, with what
    /// waits. Their keys go by [`Receiver::apply`].
    pub(crate) fn user_left(&mut self, user: u64) {
        for ssrc in self.sources.remove_user(user) {
            self.opener.forget(ssrc);
        }
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
        let (keys, plaintext) = (&mut self.keys, &mut self.plaintext);
        self.sources.retry(now, user, |ssrc, source, frame| {
            match keys.open(user, MediaKind::Audio, now, &frame.payload, plaintext) {
                Ok(opened) => {
                    let frame = ReceivedFrame {
                        user_id: user,
                        ssrc,
                        sequence: frame.sequence,
                        timestamp: frame.timestamp,
                        payload: Bytes::copy_from_slice(plaintext),
                        received_at: frame.at,
                        opened,
                        audio_level: frame.audio_level,
                    };
                    deliver(source, frame, sink);
                    None
                }
                Err(error) if error.may_wait() => Some(Waiting {
                    frame,
                    reason: error.into(),
                }),
                Err(error) => {
                    source.drop_frame(error.into());
                    None
                }
            }
        });
    }

    /// When to call [`Receiver::handle_timeout`]. `None` while nothing waits.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.sources.deadline()
    }

    /// Drops frames that have waited for too long, and SSRCs whose user nobody
    /// has named.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.sources.expire(now);
    }

    /// Puts what the next report says into `blocks`: one for each stream of
    /// which something came since the last report, at most 31, the others next
    /// time.
    pub(crate) fn report_blocks(&mut self, now: Instant, blocks: &mut Vec<ReportBlock>) {
        self.sources.report_blocks(now, blocks);
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
        ReceiveStats {
            others: self.sources.others(),
            ..self.stats
        }
    }

    /// How many frames wait, of how many streams, and how many senders' keys there are.
    pub(crate) fn backlog(&self) -> [usize; 3] {
        let [waiting, streams] = self.sources.backlog();
        [waiting, streams, self.keys.len()]
    }

    /// The figures of each user of whom an SSRC is known.
    pub(crate) fn user_stats(&self) -> BTreeMap<u64, UserStats> {
        self.sources.user_stats()
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
