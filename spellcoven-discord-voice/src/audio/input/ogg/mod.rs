//! Opus in an Ogg file (RFC 7845).

mod page;
mod read;
mod seek;

use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    time::Duration,
};

use bytes::Bytes;

use self::{
    page::{Got, PageHeader, PageReader},
    read::is_opus,
};
use super::{samples_of, time_of};
use crate::audio::{AudioSource, Input, InputError, NextFrame, Produced};

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
