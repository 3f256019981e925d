//! Pages of an Ogg file (RFC 3533, 6), from any reader.

use std::io::{self, Read};

use crate::audio::InputError;

const HEADER: usize = 27;
/// How much that is no page is passed over before giving up.
const MAX_GARBAGE: usize = 256 * 1024;
/// How many pages in a row may fail their checksum.
const MAX_BAD_PAGES: u32 = 32;
const READ_AT_ONCE: usize = 8 * 1024;

/// What a page says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Where the page begins in the file.
    pub(super) offset: u64,
    /// The first packet began on an earlier page.
    pub(super) continued: bool,
    /// The first page of a logical stream.
    pub(super) begins: bool,
    /// The last page of a logical stream.
    pub(super) ends: bool,
    /// The position after the last packet that ends here; none where none ends.
    pub(super) granule: Option<u64>,
    pub(super) serial: u32,
    segments: usize,
    body: usize,
}

/// A reader's answer.
#[derive(Debug)]
pub(super) enum Got<T> {
    Some(T),
    /// The reader has nothing now (`WouldBlock`).
    Starved,
    End,
}

/// Cuts a reader's bytes into pages. Holds one page at most, which the format
/// limits to 65,307 bytes, and a block read ahead.
pub(super) struct PageReader<R> {
    input: R,
    seek: Option<fn(&mut R, u64) -> io::Result<u64>>,
    buffer: Vec<u8>,
    used: usize,
    /// Where `buffer[used]` stands in the file.
    offset: u64,
    ended: bool,
    damaged: u64,
}

impl<R: Read> PageReader<R> {
    pub(super) fn new(input: R, seek: Option<fn(&mut R, u64) -> io::Result<u64>>) -> Self {
        PageReader {
            input,
            seek,
            buffer: Vec::new(),
            used: 0,
            offset: 0,
            ended: false,
            damaged: 0,
        }
    }

    /// Pages passed over because they were damaged.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(super) fn can_seek(&self) -> bool {
        self.seek.is_some()
    }

    /// Goes to a byte of the file.
    pub(super) fn seek_to(&mut self, offset: u64) -> Result<(), InputError> {
        let seek = self.seek.ok_or(InputError::Unseekable)?;
        seek(&mut self.input, offset).map_err(InputError::Io)?;
        self.buffer.clear();
        self.used = 0;
        self.offset = offset;
        self.ended = false;
        Ok(())
    }

    pub(super) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// The next page whose checksum is right; its segment table (the lengths of
    /// its pieces) and its body go into `segments` and `body`.
    pub(super) fn page(
        &mut self,
        segments: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<Got<PageHeader>, InputError> {
        for _ in 0..MAX_BAD_PAGES {
            let header = match self.header()? {
                Got::Some(header) => header,
                Got::Starved => return Ok(Got::Starved),
                Got::End => return Ok(Got::End),
            };
            let length = HEADER + header.segments + header.body;
            match self.need(length)? {
                Got::Some(()) => {}
                Got::Starved => return Ok(Got::Starved),
                Got::End => return Ok(Got::End),
            }
            let page = self.ready().get(..length).unwrap_or_default();
            let (head, page_body) = page
                .split_at_checked(HEADER + header.segments)
                .unwrap_or_default();
            if checksum_is_right(head, page_body) {
                segments.clear();
                segments.extend_from_slice(head.get(HEADER..).unwrap_or_default());
                body.clear();
                body.extend_from_slice(page_body);
                self.consume(length);
                return Ok(Got::Some(header));
            }
            // Its length cannot be trusted either: search on behind its mark.
            self.damaged += 1;
            self.consume(4);
        }
        Err(InputError::Damaged(
            "one Ogg page after the other is broken",
        ))
    }

    /// The next page's header, without taking the page.
    pub(super) fn header(&mut self) -> Result<Got<PageHeader>, InputError> {
        let mut garbage = 0;
        loop {
            match self.need(HEADER)? {
                Got::Some(()) => {}
                Got::Starved => return Ok(Got::Starved),
                Got::End => return Ok(Got::End),
            }
            let ready = self.ready();
            let Some(at) = ready.windows(4).position(|four| four == b"OggS") else {
                let passed = ready.len() - 3;
                garbage += passed;
                self.consume(passed);
                if garbage > MAX_GARBAGE {
                    return Err(InputError::Format {
                        expected: "an Ogg file",
                    });
                }
                continue;
            };
            if at > 0 {
                garbage += at;
                self.consume(at);
                continue;
            }
            let Some(&[_, _, _, _, version, flags, ref rest @ ..]) =
                self.ready().first_chunk::<HEADER>()
            else {
                continue;
            };
            if version != 0 {
                self.consume(4);
                continue;
            }
            let segments = usize::from(rest[20]);
            let granule = rest.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
            let serial = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]);
            match self.need(HEADER + segments)? {
                Got::Some(()) => {}
                Got::Starved => return Ok(Got::Starved),
                Got::End => return Ok(Got::End),
            }
            let table = self.ready().get(HEADER..HEADER + segments);
            let body = table
                .unwrap_or_default()
                .iter()
                .copied()
                .map(usize::from)
                .sum();
            return Ok(Got::Some(PageHeader {
                offset: self.offset,
                continued: flags & 1 != 0,
                begins: flags & 2 != 0,
                ends: flags & 4 != 0,
                granule: (granule != u64::MAX).then_some(granule),
                serial,
                segments,
                body,
            }));
        }
    }

    /// Passes over the page whose header was just read, without reading its body
    /// where that can be helped.
    pub(super) fn skip(&mut self, header: &PageHeader) -> Result<(), InputError> {
        let length = HEADER + header.segments + header.body;
        if length <= self.ready().len() {
            self.consume(length);
            return Ok(());
        }
        self.seek_to(header.offset + length as u64)
    }

    fn ready(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    fn consume(&mut self, length: usize) {
        self.used += length;
        self.offset += length as u64;
    }

    /// Reads until so many bytes are ready.
    fn need(&mut self, length: usize) -> Result<Got<()>, InputError> {
        while self.ready().len() < length {
            if self.ended {
                return Ok(Got::End);
            }
            if self.used > 0 {
                self.buffer.drain(..self.used);
                self.used = 0;
            }
            let filled = self.buffer.len();
            self.buffer.resize(filled + READ_AT_ONCE, 0);
            let got = self
                .input
                .read(self.buffer.get_mut(filled..).unwrap_or_default());
            // A reader may claim more than it was asked for.
            let read = *got.as_ref().unwrap_or(&0);
            self.buffer.truncate(filled + read.min(READ_AT_ONCE));
            match got {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Got::Starved);
                }
                Err(error) => return Err(InputError::Io(error)),
            }
        }
        Ok(Got::Some(()))
    }
}

/// RFC 3533, 6: CRC-32 with the polynomial 0x04c11db7, started at 0, neither
/// mirrored nor inverted, over the page with its checksum set to 0.
fn checksum_is_right(head: &[u8], body: &[u8]) -> bool {
    let Some((before, rest)) = head.split_at_checked(22) else {
        return false;
    };
    let Some((stored, after)) = rest.split_first_chunk::<4>() else {
        return false;
    };
    let mut crc = 0;
    for part in [before, &[0; 4], after, body] {
        crc = part.iter().fold(crc, |crc: u32, byte| {
            crc << 8 ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ byte)]
        });
    }
    crc == u32::from_le_bytes(*stored)
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};
