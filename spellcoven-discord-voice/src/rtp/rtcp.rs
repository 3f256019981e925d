//! RTCP packets (RFC 3550, 6.4 to 6.6), read from and written in clear.

use super::ntp::{NtpTime, ShortNtp};

/// How many blocks one report holds: the count has five bits.
pub(crate) const MAX_BLOCKS: usize = 31;
const BLOCK: usize = 24;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;

/// What a sender says of its stream (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    pub(crate) ntp: NtpTime,
    /// The media clock at `ntp`.
    pub(crate) rtp_timestamp: u32,
    /// Packets since the sender began; wraps.
    pub(crate) packets: u32,
    /// Payload bytes since the sender began; wraps.
    pub(crate) octets: u32,
}

/// What a receiver says of one stream (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// Whose stream.
    pub(crate) ssrc: u32,
    /// Of 256 packets since the last report so many were lost.
    pub(crate) fraction_lost: u8,
    /// All lost packets, −2^23..=2^23 − 1; negative where some came twice.
    pub(crate) cumulative_lost: i32,
    /// How often the sequence has wrapped, and its highest number.
    pub(crate) highest_sequence: u32,
    /// In units of the media clock.
    pub(crate) jitter: u32,
    /// The short form of the last sender report's time; 0 for none.
    pub(crate) last_sr: ShortNtp,
    /// How long ago that report came.
    pub(crate) delay_since_last_sr: ShortNtp,
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RtcpPacket<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        blocks: Blocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: Blocks<'a>,
    },
    SourceDescription(Chunks<'a>),
    Bye(Sources<'a>),
    /// Feedback and whatever else there is.
    Other {
        packet_type: u8,
        /// The five bits that feedback calls its format.
        count: u8,
        /// What follows the first four bytes.
        body: &'a [u8],
    },
}

/// The packets of a compound. Ends at the first that is cut short.
///
/// Any first packet is accepted: RFC 3550, 6.1 wants a report there, RFC 5506
/// does not, and some of Discord's clients follow the latter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    pub(crate) fn new(plaintext: &'a [u8]) -> Self {
        Self { rest: plaintext }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = RtcpPacket<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&[b0, packet_type, l0, l1], rest) = self.rest.split_first_chunk()?;
        let length = 4 * usize::from(u16::from_be_bytes([l0, l1]));
        let (body, rest) = rest.split_at_checked(length)?;
        if b0 >> 6 != 2 {
            self.rest = &[];
            return None;
        }
        self.rest = rest;
        let body = if b0 & 0x20 != 0 {
            let count = usize::from(*body.last()?);
            // RFC 3550, 6.4.1: the count includes itself.
            body.get(..body.len().checked_sub(count.max(1))?)?
        } else {
            body
        };
        RtcpPacket::parse(packet_type, b0 & 0x1f, body)
    }
}

impl<'a> RtcpPacket<'a> {
    fn parse(packet_type: u8, count: u8, body: &'a [u8]) -> Option<Self> {
        Some(match packet_type {
            SENDER_REPORT => {
                let (ssrc, body) = word(body)?;
                let (seconds, body) = word(body)?;
                let (fraction, body) = word(body)?;
                let (rtp_timestamp, body) = word(body)?;
                let (packets, body) = word(body)?;
                let (octets, body) = word(body)?;
                Self::SenderReport {
                    ssrc,
                    info: SenderInfo {
                        ntp: NtpTime(u64::from(seconds) << 32 | u64::from(fraction)),
                        rtp_timestamp,
                        packets,
                        octets,
                    },
                    blocks: Blocks::new(count, body)?,
                }
            }
            RECEIVER_REPORT => {
                let (ssrc, body) = word(body)?;
                let blocks = Blocks::new(count, body)?;
                Self::ReceiverReport { ssrc, blocks }
            }
            SOURCE_DESCRIPTION => Self::SourceDescription(Chunks { rest: body }),
            BYE => Self::Bye(Sources {
                rest: body.get(..4 * usize::from(count))?,
            }),
            packet_type => Self::Other {
                packet_type,
                count,
                body,
            },
        })
    }
}

/// The blocks of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Blocks<'a> {
    fn new(count: u8, body: &'a [u8]) -> Option<Self> {
        let rest = body.get(..BLOCK * usize::from(count))?;
        Some(Self { rest })
    }
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (ssrc, rest) = word(self.rest)?;
        let (lost, rest) = word(rest)?;
        let (highest_sequence, rest) = word(rest)?;
        let (jitter, rest) = word(rest)?;
        let (last_sr, rest) = word(rest)?;
        let (delay, rest) = word(rest)?;
        self.rest = rest;
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            // 24 bits with a sign.
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_sequence,
            jitter,
            last_sr: ShortNtp(last_sr),
            delay_since_last_sr: ShortNtp(delay),
        })
    }
}

/// The SSRCs that have left (RFC 3550, 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sources<'a> {
    rest: &'a [u8],
}

impl Iterator for Sources<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (ssrc, rest) = word(self.rest)?;
        self.rest = rest;
        Some(ssrc)
    }
}

/// The chunks of a source description (RFC 3550, 6.5) as (SSRC, CNAME).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let whole = self.rest;
        let (ssrc, mut rest) = word(whole)?;
        let mut name = None;
        loop {
            let (&kind, after) = rest.split_first()?;
            if kind == 0 {
                // The list ends with at least one zero, at a multiple of 4.
                let used = whole.len() - after.len();
                self.rest = whole.get(used.next_multiple_of(4)..).unwrap_or(&[]);
                return Some((ssrc, name));
            }
            let (&length, after) = after.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(length))?;
            if kind == CNAME {
                name = Some(text);
            }
            rest = after;
        }
    }
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

/// Appends a sender report. Blocks beyond the 31st are left out.
pub(crate) fn write_sender_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    info: &SenderInfo,
    blocks: &[ReportBlock],
) {
    let blocks = blocks.get(..MAX_BLOCKS).unwrap_or(blocks);
    write_head(out, SENDER_REPORT, blocks.len(), 6, ssrc);
    out.extend_from_slice(&info.ntp.0.to_be_bytes());
    for word in [info.rtp_timestamp, info.packets, info.octets] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    write_blocks(out, blocks);
}

/// Appends a receiver report. Blocks beyond the 31st are left out.
pub(crate) fn write_receiver_report(out: &mut Vec<u8>, ssrc: u32, blocks: &[ReportBlock]) {
    let blocks = blocks.get(..MAX_BLOCKS).unwrap_or(blocks);
    write_head(out, RECEIVER_REPORT, blocks.len(), 1, ssrc);
    write_blocks(out, blocks);
}

/// `words`: the length without the blocks, in words less one.
fn write_head(out: &mut Vec<u8>, packet_type: u8, blocks: usize, words: usize, ssrc: u32) {
    // At most 31 blocks, so neither number is cut.
    out.push(0x80 | blocks as u8);
    out.push(packet_type);
    let length = (words + blocks * BLOCK / 4) as u16;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
}

fn write_blocks(out: &mut Vec<u8>, blocks: &[ReportBlock]) {
    for block in blocks {
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        for word in [
            block.ssrc,
            u32::from(block.fraction_lost) << 24 | lost,
            block.highest_sequence,
            block.jitter,
            block.last_sr.0,
            block.delay_since_last_sr.0,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}
