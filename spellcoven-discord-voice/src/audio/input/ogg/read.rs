//! From pages to packets, and which part of a packet is to be heard.

use std::io::{self, Read};

use bytes::Bytes;

use super::{
    Link, MAX_NOTES, MAX_PACKET, MAX_PAGES_AT_ONCE, MAX_TAGS, NOTE_EVERY, Note, OggOpus, PRE_ROLL,
    page::{Got, PageHeader},
};
use crate::{
    audio::{InputError, OpusChunk, OpusPacket},
    media::OpusFrame,
};

impl<R: Read> OggOpus<R> {
    /// A page with OpusHead is at hand: reads it and passes over OpusTags.
    pub(super) fn begin_link(&mut self, header: PageHeader) -> Result<(), InputError> {
        let base = self.link.position(self.at);
        let (pre_skip, gain) = parse_head(&self.page.body)?;
        let mut tags = 0;
        loop {
            match self
                .pages
                .page(&mut self.page.segments, &mut self.page.body)?
            {
                Got::Some(page) if page.serial == header.serial => {
                    tags += self.page.body.len();
                    // The comments end on a page of their own (RFC 7845, 3).
                    if self.page.segments.iter().any(|&lacing| lacing < 255) {
                        break;
                    }
                }
                Got::Some(_) => tags += self.page.body.len(),
                Got::Starved => return Err(InputError::Io(io::ErrorKind::WouldBlock.into())),
                Got::End => break,
            }
            if tags > MAX_TAGS {
                return Err(InputError::Unsupported("a comment header above 16 MiB"));
            }
        }
        self.page.header = None;
        self.partial.clear();
        self.broken = false;
        self.link = Link {
            serial: header.serial,
            pre_skip,
            gain,
            start: 0,
            base,
        };
        self.at = 0;
        self.fresh = true;
        Ok(())
    }

    pub(super) fn note(&mut self, offset: u64) {
        let position = self.link.position(self.at);
        let far = self
            .notes
            .last()
            .is_none_or(|last| position >= last.position + NOTE_EVERY);
        if far && self.pages.can_seek() && self.notes.len() < MAX_NOTES {
            self.notes.push(Note {
                position,
                offset,
                link: self.link,
            });
        }
    }

    /// Takes the next page of this link, or begins the next link.
    pub(super) fn load_page(&mut self) -> Result<Got<()>, InputError> {
        for _ in 0..MAX_PAGES_AT_ONCE {
            let header = match self
                .pages
                .page(&mut self.page.segments, &mut self.page.body)?
            {
                Got::Some(header) => header,
                Got::Starved => return Ok(Got::Starved),
                Got::End => {
                    self.page.header = None;
                    return Ok(Got::End);
                }
            };
            if header.begins && is_opus(&self.page.body) {
                self.begin_link(header)?;
                continue;
            }
            if header.serial != self.link.serial {
                continue;
            }
            self.page.segment = 0;
            self.page.byte = 0;
            self.page.header = Some(header);
            // A page is missing where a packet goes on that has not begun, or the other
            // way round. Both are lost.
            let cut = header.continued == self.partial.is_empty();
            if !header.continued || cut {
                self.bad_packets += u64::from(cut && !self.broken);
                self.partial.clear();
                self.broken = header.continued;
            }
            // The page says where it ends; the last one says where to cut instead.
            if let (Some(granule), false) = (header.granule, header.ends) {
                self.at = granule.saturating_sub(self.page_samples());
            }
            if self.fresh {
                // Where the first sample stands is told by the first page's end.
                self.fresh = false;
                self.link.start = self.at;
            }
            self.note(header.offset);
            return Ok(Got::Some(()));
        }
        Err(InputError::Damaged("no page of the Opus stream for long"))
    }

    /// Samples of all the packets that end on this page.
    pub(super) fn page_samples(&self) -> u64 {
        let mut total = 0;
        let mut begin = 0;
        let mut byte = 0;
        let mut first = true;
        for &lacing in &self.page.segments {
            byte += usize::from(lacing);
            if lacing < 255 {
                let piece = self.page.body.get(begin..byte).unwrap_or_default();
                let samples = if first && self.broken {
                    None
                } else if first && !self.partial.is_empty() {
                    let whole = [&self.partial, piece].concat();
                    OpusPacket::parse(&whole).ok()
                } else {
                    OpusPacket::parse(piece).ok()
                };
                total += samples.map_or(0, |packet| u64::from(packet.samples()));
                begin = byte;
                first = false;
            }
        }
        total
    }

    /// The next packet of the page at hand.
    pub(super) fn packet(&mut self) -> Option<Bytes> {
        self.page.header?;
        let mut begin = self.page.byte;
        while let Some(&lacing) = self.page.segments.get(self.page.segment) {
            self.page.segment += 1;
            self.page.byte += usize::from(lacing);
            if lacing == 255 {
                continue;
            }
            let piece = self
                .page
                .body
                .get(begin..self.page.byte)
                .unwrap_or_default();
            if self.broken {
                self.broken = false;
                begin = self.page.byte;
                continue;
            }
            self.partial.extend_from_slice(piece);
            let packet = Bytes::copy_from_slice(&self.partial);
            self.partial.clear();
            return Some(packet);
        }
        let rest = self.page.body.get(begin..).unwrap_or_default();
        if rest.len() + self.partial.len() > MAX_PACKET {
            self.partial.clear();
            self.broken = true;
        } else if !self.broken {
            self.partial.extend_from_slice(rest);
        }
        None
    }

    pub(super) fn next_chunk(&mut self) -> Result<Got<OpusChunk>, InputError> {
        loop {
            let Some(packet) = self.packet() else {
                match self.load_page()? {
                    Got::Some(()) => continue,
                    Got::Starved => return Ok(Got::Starved),
                    Got::End => return Ok(Got::End),
                }
            };
            let Ok(frame) = OpusFrame::from_packet(packet) else {
                self.bad_packets += 1;
                self.bad_in_row += 1;
                if self.bad_in_row > 1000 {
                    return Err(InputError::Damaged("one Opus packet after the other"));
                }
                continue;
            };
            self.bad_in_row = 0;
            if let Some(chunk) = self.place(frame) {
                return Ok(Got::Some(chunk));
            }
        }
    }

    /// Finds out which part of a packet is to be heard; none where it is not even
    /// needed to prepare the decoder.
    pub(super) fn place(&mut self, frame: OpusFrame) -> Option<OpusChunk> {
        let samples = u64::from(frame.samples);
        let begin = self.at;
        self.at = begin + samples;
        let heard_from = self.link.start + self.link.pre_skip;
        let wanted = heard_from + self.wanted.saturating_sub(self.link.base);
        if self.at + PRE_ROLL <= wanted && self.wanted > 0 {
            return None;
        }
        let skip = wanted.saturating_sub(begin).min(samples);
        let ends = self.page.header.filter(|page| page.ends);
        let end = ends.and_then(|page| page.granule).unwrap_or(u64::MAX);
        // The last page's position cuts what the encoder padded (RFC 7845, 4.4).
        let trim = self.at.saturating_sub(end).min(samples);
        if trim > 0 {
            self.at = end.max(begin);
        }
        if trim == samples {
            return None;
        }
        Some(OpusChunk {
            frame,
            skip: u32::try_from(skip).unwrap_or(u32::MAX),
            trim: u32::try_from(trim).unwrap_or(u32::MAX),
            gain: self.link.gain,
        })
    }
}

pub(super) fn is_opus(body: &[u8]) -> bool {
    body.starts_with(b"OpusHead")
}

/// RFC 7845, 5.1. Gives the pre-skip and the gain.
fn parse_head(body: &[u8]) -> Result<(u64, f32), InputError> {
    let Some(head) = body.first_chunk::<19>() else {
        return Err(InputError::Damaged("its OpusHead is too short"));
    };
    if head[8] >= 16 {
        return Err(InputError::Unsupported("this version of Ogg Opus"));
    }
    let (channels, family) = (head[9], head[18]);
    // Families 0 and 1 mean mono and stereo the same way; beyond, one packet holds
    // several streams, which Discord does not take.
    if channels == 0 || channels > 2 || family > 1 {
        return Err(InputError::Unsupported("Opus with more than two channels"));
    }
    let pre_skip = u64::from(u16::from_le_bytes([head[10], head[11]]));
    let gain = f32::from(i16::from_le_bytes([head[16], head[17]])) / 256.0;
    Ok((pre_skip, 10f32.powf(gain / 20.0)))
}
