//! Finding a position, and the end.

use std::io::{self, Read, Seek, SeekFrom};

use super::{OggOpus, PRE_ROLL, page::Got};
use crate::audio::InputError;

impl<R: Read> OggOpus<R> {
    pub(super) fn seek_to(&mut self, position: u64) -> Result<u64, InputError> {
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

    pub(super) fn forget_page(&mut self) {
        self.page.header = None;
        self.partial.clear();
        // What goes on from a page before has no start here.
        self.broken = true;
    }
}

impl<R: Read + Seek> OggOpus<R> {
    /// Looks at the last pages for the end of the stream. A chained file's length
    /// stays unknown.
    pub(super) fn measure(&mut self) -> Result<Option<u64>, InputError> {
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
