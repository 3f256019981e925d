//! Opus in an Ogg file (RFC 7845).

use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    time::Duration,
};

use bytes::Bytes;

use super::{
    ogg_page::{Got, PageHeader, PageReader},
    time_of,
};
use crate::{
    audio::{
        AudioSource, Input, InputError, NextFrame, OpusChunk, OpusPacket, Produced,
        input::samples_of,
    },
    media::OpusFrame,
};

/// The longest packet taken (RFC 7845, 6, names this bound).
const MAX_PACKET: usize = 61_440;
/// Comments, which are passed over, may be so long.
const MAX_TAGS: usize = 16 * 1024 * 1024;
/// How much is decoded before a position for the decoder to settle (RFC 7845, 4.6).
const PRE_ROLL: u64 = 3840;
/// Positions are noted this far apart, so that going back needs no search from
/// the start, and so many of them at most (nearly six hours).
const NOTE_EVERY: u64 = 5 * 48_000;
const MAX_NOTES: usize = 4096;
/// A live stream is not sifted for ever within one call.
const MAX_PAGES_AT_ONCE: u32 = 4096;

/// An Ogg Opus file or stream: mono or stereo, chained or not.
///
/// Its packets go into the call as they are, whatever their length: Discord's usual
/// 20 ms, or 2.5 to 120 ms, each with its own number of samples, and the pacer
/// waits as long as each one sounds. Memory: one packet, one page and a block read
/// ahead, however long the file.
///
/// Damaged pages and packets are passed over and counted; the checksum of every page
/// played is verified. Streams of other kinds beside the first Opus stream are
/// passed over.
///
/// Used as an [`AudioSource`], packets are given untouched: the header's output gain
/// is not applied and the pre-skip (mostly 6.5 ms) is heard. In a
/// [`Player`](crate::Player) a gain other than 0 dB makes it decode, and apply it.
pub struct OggOpus<R> {
    pages: PageReader<R>,
    link: Link,
    page: Page,
    /// The packet that goes on on the next page.
    partial: Vec<u8>,
    /// The packet is too long, or its start is missing.
    broken: bool,
    /// No page of audio of this link has been seen.
    fresh: bool,
    /// The granule position of the next packet's first sample.
    at: u64,
    /// Where a seek wants to be heard from, in samples from the very start.
    wanted: u64,
    bad_packets: u64,
    bad_in_row: u32,
    notes: Vec<Note>,
    duration: Option<u64>,
}

/// One logical stream of a chain.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    serial: u32,
    pre_skip: u64,
    gain: f32,
    /// The granule position of its first sample; not 0 where the stream was cut
    /// out of a longer one (RFC 7845, 4.5).
    start: u64,
    /// Samples to be heard in the links before.
    base: u64,
}

impl Link {
    /// Samples from the very start of the file to a granule position.
    fn position(&self, granule: u64) -> u64 {
        self.base + granule.saturating_sub(self.start + self.pre_skip)
    }
}

/// The page being played.
#[derive(Default)]
struct Page {
    header: Option<PageHeader>,
    segments: Vec<u8>,
    body: Vec<u8>,
    segment: usize,
    byte: usize,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    position: u64,
    offset: u64,
    link: Link,
}

impl OggOpus<Cursor<Bytes>> {
    /// A file in memory.
    ///
    /// # Errors
    ///
    /// The bytes are no Ogg Opus file, or one with more than two channels.
    pub fn from_bytes(file: impl Into<Bytes>) -> Result<Self, InputError> {
        OggOpus::seekable(Cursor::new(file.into()))
    }
}

impl<R: Read> OggOpus<R> {
    /// A stream that is read from front to back. A reader that has nothing now
    /// may say so with `WouldBlock`, except while headers are read: here, and where
    /// another link of a chain begins.
    ///
    /// # Errors
    ///
    /// The bytes are no Ogg Opus stream, or one with more than two channels.
    pub fn new(reader: R) -> Result<Self, InputError> {
        OggOpus::open(PageReader::new(reader, None))
    }

    fn open(pages: PageReader<R>) -> Result<Self, InputError> {
        let mut this = OggOpus {
            pages,
            link: Link::default(),
            page: Page::default(),
            partial: Vec::new(),
            broken: false,
            fresh: true,
            at: 0,
            wanted: 0,
            bad_packets: 0,
            bad_in_row: 0,
            notes: Vec::new(),
            duration: None,
        };
        for _ in 0..MAX_PAGES_AT_ONCE {
            match this
                .pages
                .page(&mut this.page.segments, &mut this.page.body)?
            {
                Got::Some(header) if header.begins && is_opus(&this.page.body) => {
                    this.begin_link(header)?;
                    this.load_page()?;
                    return Ok(this);
                }
                Got::Some(_) => {}
                Got::Starved => return Err(InputError::Io(io::ErrorKind::WouldBlock.into())),
                Got::End => break,
            }
        }
        Err(InputError::Format {
            expected: "an Ogg file with an Opus stream",
        })
    }

    /// Pages and packets passed over because they were damaged.
    pub fn damaged(&self) -> u64 {
        self.pages.damaged() + self.bad_packets
    }

    /// The header's output gain as a factor (RFC 7845, 5.1).
    pub fn gain(&self) -> f32 {
        self.link.gain
    }

    /// A page with OpusHead is at hand: reads it and passes over OpusTags.
    fn begin_link(&mut self, header: PageHeader) -> Result<(), InputError> {
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

    fn note(&mut self, offset: u64) {
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
    fn load_page(&mut self) -> Result<Got<()>, InputError> {
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
    fn page_samples(&self) -> u64 {
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
    fn packet(&mut self) -> Option<Bytes> {
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

    fn next_chunk(&mut self) -> Result<Got<OpusChunk>, InputError> {
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
    fn place(&mut self, frame: OpusFrame) -> Option<OpusChunk> {
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

    fn seek_to(&mut self, position: u64) -> Result<u64, InputError> {
        if !self.pages.can_seek() {
            return Err(InputError::Unseekable);
        }
        let early = position.saturating_sub(PRE_ROLL);
        let note = self
            .notes
            .iter()
            .rev()
            .find(|note| note.position <= early)
            .or(self.notes.first())
            .copied();
        let Some(note) = note else {
            return Err(InputError::Damaged("no page of the Opus stream"));
        };
        self.pages.seek_to(note.offset)?;
        self.link = note.link;
        self.fresh = false;
        self.at = note.link.start;
        self.wanted = position;
        self.forget_page();
        // Packets may begin on one page and end on the next: start a page early.
        let mut before = note.offset;
        loop {
            let header = match self.pages.header()? {
                Got::Some(header) => header,
                Got::Starved => return Err(InputError::Io(io::ErrorKind::WouldBlock.into())),
                Got::End => {
                    let end = self.link.position(self.at);
                    self.wanted = end;
                    return Ok(end.min(position));
                }
            };
            if header.begins {
                // Perhaps another link: taken as in playing.
                if !matches!(self.load_page()?, Got::Some(())) {
                    return Ok(self.link.position(self.at));
                }
                let page = self.page.header;
                if let Some((granule, page)) = page.and_then(|p| Some((p.granule?, p))) {
                    if self.link.position(granule) > early {
                        return Ok(position);
                    }
                    self.at = granule;
                    before = page.offset;
                }
                self.forget_page();
                continue;
            }
            let ours = header.serial == self.link.serial;
            if let (true, Some(granule)) = (ours, header.granule) {
                if self.link.position(granule) > early {
                    break;
                }
                self.at = granule;
                before = header.offset;
                self.note(header.offset);
            }
            self.pages.skip(&header)?;
        }
        self.pages.seek_to(before)?;
        Ok(position)
    }

    fn forget_page(&mut self) {
        self.page.header = None;
        self.partial.clear();
        // What goes on from a page before has no start here.
        self.broken = true;
    }
}

impl<R: Read + Seek> OggOpus<R> {
    /// A file that can be sought in.
    ///
    /// # Errors
    ///
    /// The bytes are no Ogg Opus file, or one with more than two channels.
    pub fn seekable(reader: R) -> Result<Self, InputError> {
        let seek = |reader: &mut R, offset| reader.seek(SeekFrom::Start(offset));
        let mut this = OggOpus::open(PageReader::new(reader, Some(seek)))?;
        this.duration = this.measure()?;
        if !this.notes.is_empty() {
            this.seek_to(0)?;
        }
        Ok(this)
    }

    /// Looks at the last pages for the end of the stream. A chained file's length
    /// stays unknown.
    fn measure(&mut self) -> Result<Option<u64>, InputError> {
        let length = self
            .pages
            .input_mut()
            .seek(SeekFrom::End(0))
            .map_err(InputError::Io)?;
        self.pages.seek_to(length.saturating_sub(128 * 1024))?;
        let mut end = None;
        while let Got::Some(header) = self.pages.header()? {
            if header.serial != self.link.serial {
                return Ok(None);
            }
            end = header.granule.or(end);
            self.pages.skip(&header)?;
        }
        Ok(end.map(|granule| self.link.position(granule)))
    }
}

impl<R: Read + Send> Input for OggOpus<R> {
    fn read(&mut self, _: &mut Vec<f32>) -> Result<Produced, InputError> {
        Ok(match self.next_chunk()? {
            Got::Some(chunk) => Produced::Opus(chunk),
            Got::Starved => Produced::Starved,
            Got::End => Produced::End,
        })
    }

    /// Exact to the sample once decoded, and to the packet where packets are passed
    /// on as they are. Reads the headers of the pages between, not their bodies.
    fn seek(&mut self, position: u64) -> Result<u64, InputError> {
        self.seek_to(position)
    }

    fn duration(&self) -> Option<Duration> {
        self.duration.map(time_of)
    }
}

impl<R: Read + Send> AudioSource for OggOpus<R> {
    fn next_frame(&mut self) -> NextFrame {
        loop {
            match self.next_chunk() {
                // Only prepares a decoder.
                Ok(Got::Some(chunk)) if chunk.skip >= chunk.frame.samples => {}
                Ok(Got::Some(chunk)) => return NextFrame::Frame(chunk.frame),
                Ok(Got::Starved) => return NextFrame::Idle,
                Ok(Got::End) => return NextFrame::End,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an Ogg Opus source ends"
                    );
                    return NextFrame::End;
                }
            }
        }
    }
}

impl<R: Read + Send> OggOpus<R> {
    /// Goes to a position, for use without a player. Gives the position gone to.
    ///
    /// # Errors
    ///
    /// As [`Input::seek`].
    pub fn seek_to_time(&mut self, position: Duration) -> Result<Duration, InputError> {
        self.seek_to(samples_of(position)).map(time_of)
    }
}

impl<R> std::fmt::Debug for OggOpus<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpus")
            .field("link", &self.link)
            .field("at", &self.at)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}

fn is_opus(body: &[u8]) -> bool {
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
