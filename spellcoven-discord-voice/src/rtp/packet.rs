//! A whole RTP packet in clear: CSRCs, header extension, payload, padding.

use super::header::{FIXED_HEADER, ParsedHeader, RtpHeader};

/// The profile of one-byte extension elements (RFC 8285, 4.2).
pub(crate) const ONE_BYTE_PROFILE: u16 = 0xbede;
/// The element in which official clients put the level of their microphone
/// (RFC 6464; the number is Discord's, unofficial).
const AUDIO_LEVEL_ID: u8 = 1;

/// An RTP packet without its CSRCs, its extension and its padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtpPacket<'a> {
    pub(crate) header: RtpHeader,
    pub(crate) extension: Option<Extension<'a>>,
    /// Without padding. Empty where the packet was all padding, which official
    /// clients do send.
    pub(crate) payload: &'a [u8],
}

/// A header extension (RFC 3550, 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extension<'a> {
    pub(crate) profile: u16,
    pub(crate) data: &'a [u8],
}

/// Why a packet is not RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RtpError {
    /// Shorter than its header says, or not of version 2.
    #[error("the RTP header is cut short or of another version")]
    Header,
    /// The extension is longer than the packet.
    #[error("the RTP header extension is longer than the packet")]
    Extension,
    /// The padding count is 0 or more than what the header leaves.
    #[error("the RTP padding count is 0 or larger than the payload")]
    Padding,
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet in clear.
    ///
    /// The padding is taken off here and nowhere else: to leave it on moves the
    /// end of the frame, where the end-to-end encryption keeps its trailer.
    pub(crate) fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let parsed = ParsedHeader::parse(packet).ok_or(RtpError::Header)?;
        let rest = packet
            .get(FIXED_HEADER + 4 * usize::from(parsed.csrc_count)..)
            .ok_or(RtpError::Header)?;
        let (extension, rest) = if parsed.extended {
            let (&[p0, p1, l0, l1], rest) = rest.split_first_chunk().ok_or(RtpError::Header)?;
            let length = 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let (data, rest) = rest.split_at_checked(length).ok_or(RtpError::Extension)?;
            let profile = u16::from_be_bytes([p0, p1]);
            (Some(Extension { profile, data }), rest)
        } else {
            (None, rest)
        };
        let payload = if parsed.padded {
            let count = usize::from(*rest.last().ok_or(RtpError::Padding)?);
            let end = rest.len().checked_sub(count).ok_or(RtpError::Padding)?;
            if count == 0 {
                return Err(RtpError::Padding);
            }
            rest.get(..end).ok_or(RtpError::Padding)?
        } else {
            rest
        };
        Ok(Self {
            header: parsed.header,
            extension,
            payload,
        })
    }

    /// How loud the sender says the packet is: 0 (loudest) to 127 (silence),
    /// in −dBov (RFC 6464). `None` where it does not say.
    pub(crate) fn audio_level(&self) -> Option<u8> {
        let (_, data) = self
            .extension?
            .elements()
            .find(|&(id, _)| id == AUDIO_LEVEL_ID)?;
        data.first().map(|level| level & 0x7f)
    }
}

impl<'a> Extension<'a> {
    /// The elements as (id, data), for the one-byte and the two-byte form (RFC
    /// 8285, 4.2 and 4.3). Nothing for any other profile. Ends at the first
    /// element that is cut short: an extension never makes a packet unusable.
    pub(crate) fn elements(&self) -> Elements<'a> {
        let form = match self.profile {
            ONE_BYTE_PROFILE => Form::OneByte,
            profile if profile & 0xfff0 == 0x1000 => Form::TwoByte,
            _ => Form::Unknown,
        };
        Elements {
            form,
            rest: self.data,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
    Unknown,
}

/// See [`Extension::elements`].
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            // A zero byte pads in both forms.
            if first == 0 {
                self.rest = rest;
                continue;
            }
            let (id, length, rest) = match self.form {
                // RFC 8285, 4.2: 15 ends the processing of the extension.
                Form::OneByte if first >> 4 == 15 => return None,
                Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, rest),
                Form::TwoByte => {
                    let (&length, rest) = rest.split_first()?;
                    (first, usize::from(length), rest)
                }
                Form::Unknown => return None,
            };
            let (data, rest) = rest.split_at_checked(length)?;
            self.rest = rest;
            return Some((id, data));
        }
    }
}
