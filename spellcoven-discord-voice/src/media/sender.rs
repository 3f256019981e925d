//! Frames into datagrams.

use std::time::{Duration, Instant};

use super::{
    clock::MediaClock,
    frame::{OpusFrame, SAMPLES_PER_MS},
    stats::{RemoteReport, SendStats},
};
use crate::{
    dave::{Codec, FrameSealer, MAX_OVERHEAD, SealFrameError, SendKey},
    rtp::{
        FIXED_HEADER, NtpTime, OPUS_PAYLOAD_TYPE, ReportBlock, RtpHeader, SenderInfo, round_trip,
        write_receiver_report, write_sender_report,
    },
    transport::{EncryptionMode, SealError, Sealer, TransportKey},
};

/// How many silence frames end a stretch of speech (Discord documentation,
/// Voice Connections, Voice Data Interpolation).
const SILENCE_FRAMES: u8 = 5;
/// Discord's clients report about every 5 s (unofficial).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The largest datagram that songbird makes, and that is known to arrive.
const MAX_DATAGRAM: usize = 1460;
/// Tag and counter.
const TRANSPORT_OVERHEAD: usize = 20;

/// The longest Opus frame that can be sent, in bytes: 1,410. At 20 ms an encoder
/// makes 1,275 at most.
pub(crate) const MAX_FRAME: usize = MAX_DATAGRAM - FIXED_HEADER - TRANSPORT_OVERHEAD - MAX_OVERHEAD;

/// Sends one stream of audio: gives frames their sequence number and timestamp,
/// encrypts them end to end and then for the transport, and reports.
///
/// It knows neither socket nor voice gateway, so that it goes on unchanged while
/// a lost voice gateway connection is resumed. Every datagram is written into a
/// buffer of the caller, whose contents it replaces: one buffer can serve many
/// calls.
#[derive(Debug)]
pub(crate) struct Sender {
    ssrc: u32,
    sequence: u16,
    clock: MediaClock,
    began: Instant,
    sealer: Sealer,
    frames: FrameSealer,
    silence_left: u8,
    next_report: Instant,
    reported_packets: u64,
    stats: SendStats,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The buffer holds a datagram to send.
    Datagram,
    /// Nothing to send: there is no end-to-end key for now, and nothing leaves
    /// in clear.
    Held,
    /// Nothing to send: the stretch of speech has ended already.
    Quiet,
}

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SendError {
    /// The frame is not one that can be sent: the source's mistake. The next
    /// one may be.
    #[error("an Opus frame has 1 to {MAX_FRAME} bytes and 120 to 5,760 samples")]
    BadFrame,
    /// The transport key or the end-to-end key has encrypted as much as it may.
    /// The session has to connect anew.
    #[error("a key has encrypted as much as it may; a new connection is needed")]
    Exhausted,
}

impl Sender {
    /// A sender that begins at a random sequence number and timestamp (RFC
    /// 3550, 5.1), holding all frames until [`Sender::apply`] gives a key.
    pub(crate) fn new(now: Instant, ssrc: u32, sealer: Sealer, rng: &mut fastrand::Rng) -> Self {
        Self {
            ssrc,
            sequence: rng.u16(..),
            clock: MediaClock::new(now, rng.u32(..)),
            began: now,
            sealer,
            frames: FrameSealer::new(),
            silence_left: 0,
            next_report: now + REPORT_INTERVAL,
            reported_packets: 0,
            stats: SendStats::default(),
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Takes another end-to-end key, or leave to send without.
    pub(crate) fn apply(&mut self, key: SendKey) {
        self.frames.apply(key);
    }

    /// Takes the key of a second Session Description on the same connection.
    /// The nonce counter goes on, so that no key sees a nonce twice whatever
    /// the server sends.
    pub(crate) fn rekey(&mut self, mode: EncryptionMode, key: &TransportKey) {
        self.sealer.rekey(mode, key);
    }

    /// Would a frame be held now? Then a source that can wait should not be
    /// asked for one.
    pub(crate) fn holds(&self) -> bool {
        self.frames.holds()
    }

    /// Makes a datagram of a frame.
    ///
    /// A frame that is held is dropped and takes no sequence number; the
    /// timestamp goes on with wall time.
    pub(crate) fn frame(
        &mut self,
        now: Instant,
        frame: &OpusFrame,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, SendError> {
        out.clear();
        if !(1..=MAX_FRAME).contains(&frame.data.len()) || !(120..=5760).contains(&frame.samples) {
            return Err(SendError::BadFrame);
        }
        if self.frames.holds() {
            self.stats.held += 1;
            self.silence_left = 0;
            self.clock.pause();
            return Ok(Outcome::Held);
        }
        RtpHeader {
            marker: false,
            payload_type: OPUS_PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp: self.clock.stamp(now, frame.samples),
            ssrc: self.ssrc,
        }
        .write(out);
        match self.frames.seal(Codec::Opus, &frame.data, out) {
            Ok(()) => {}
            Err(error) => {
                out.clear();
                return match error {
                    SealFrameError::Hold => Ok(Outcome::Held),
                    SealFrameError::Exhausted => Err(SendError::Exhausted),
                    SealFrameError::Malformed => Err(SendError::BadFrame),
                };
            }
        }
        let payload = out.len() - FIXED_HEADER;
        if let Err(error) = self.sealer.seal_rtp(out) {
            out.clear();
            return Err(error.into());
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.silence_left = SILENCE_FRAMES;
        self.stats.packets += 1;
        self.stats.payload_bytes += payload as u64;
        Ok(Outcome::Datagram)
    }

    /// Makes the next of the five silence frames that end a stretch of speech;
    /// to be called every 20 ms while the source has nothing.
    /// [`Outcome::Quiet`] says that the fifth is out.
    pub(crate) fn silence(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, SendError> {
        let Some(left) = self.silence_left.checked_sub(1) else {
            out.clear();
            self.clock.pause();
            return Ok(Outcome::Quiet);
        };
        let outcome = self.frame(now, &OpusFrame::SILENCE, out);
        self.silence_left = if outcome == Ok(Outcome::Datagram) {
            left
        } else {
            0
        };
        if self.silence_left == 0 {
            self.clock.pause();
        }
        outcome
    }

    /// Has the next calls of [`Sender::silence`] send five frames although
    /// nothing was said: some voice servers were seen to send no audio to a
    /// client that never sent any (unofficial, 2019; unknown today).
    pub(crate) fn announce(&mut self) {
        self.silence_left = SILENCE_FRAMES;
    }

    /// When the next report is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next_report
    }

    /// Makes the report that is due: a sender report if something was sent
    /// since the last, else a receiver report if there are blocks, else nothing
    /// ([`Outcome::Quiet`]). `blocks` come from the receiver, at most 31.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        blocks: &[ReportBlock],
        out: &mut Vec<u8>,
    ) -> Result<Outcome, SendError> {
        out.clear();
        self.next_report = now + REPORT_INTERVAL;
        if !self.sealer.carries_rtcp() {
            return Ok(Outcome::Quiet);
        }
        if self.stats.packets > self.reported_packets {
            let info = SenderInfo {
                ntp: self.ntp(now),
                rtp_timestamp: self.clock.read(now),
                // Both wrap.
                packets: self.stats.packets as u32,
                octets: self.stats.payload_bytes as u32,
            };
            write_sender_report(out, self.ssrc, &info, blocks);
        } else if !blocks.is_empty() {
            write_receiver_report(out, self.ssrc, blocks);
        } else {
            return Ok(Outcome::Quiet);
        }
        if let Err(error) = self.sealer.seal_rtcp(out) {
            out.clear();
            return Err(error.into());
        }
        self.reported_packets = self.stats.packets;
        self.stats.reports += 1;
        Ok(Outcome::Datagram)
    }

    /// A report about our stream came ([`super::Received::Report`]).
    pub(crate) fn remote_report(&mut self, now: Instant, block: &ReportBlock) {
        if block.ssrc != self.ssrc {
            return;
        }
        let earlier = self.stats.remote.and_then(|report| report.round_trip);
        self.stats.remote = Some(RemoteReport {
            fraction_lost: f32::from(block.fraction_lost) / 256.0,
            lost: block.cumulative_lost,
            jitter: Duration::from_micros(
                u64::from(block.jitter) * 1000 / u64::from(SAMPLES_PER_MS),
            ),
            round_trip: round_trip(self.ntp(now), block).or(earlier),
        });
    }

    pub(crate) fn stats(&self) -> SendStats {
        self.stats
    }

    /// As after hours: sequence, timestamp and nonce are shortly before their ends.
    #[cfg(test)]
    pub(crate) fn start_near_ends(&mut self) {
        self.sequence = u16::MAX - 100;
        self.clock.set_offset(u32::MAX - 48_000 * 60);
        self.sealer.set_next(u32::MAX - 500);
    }

    /// As after days in one epoch: the end-to-end key is shortly before its second generation.
    #[cfg(test)]
    pub(crate) fn start_near_next_generation(&mut self) {
        self.frames.set_counter((1 << 24) - 2_000);
    }

    /// One second ahead, so that no report has the time 0, which means none.
    fn ntp(&self, now: Instant) -> NtpTime {
        let elapsed = now.saturating_duration_since(self.began);
        NtpTime::from_elapsed(elapsed + Duration::from_secs(1))
    }
}

impl From<SealError> for SendError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Exhausted => Self::Exhausted,
            _ => Self::BadFrame,
        }
    }
}
