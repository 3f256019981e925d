//! Clear RTP and RTCP packets, as far as the forwarding unit looks into them.
//!
//! See: RFC 3550, 5.1 and 6.4; RFC 8285, 4.2.

use std::ops::Range;

/// Opus that says nothing.
pub(super) const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Whether a datagram with version 2 is RTCP by its second byte (RFC 5761, 4).
pub(super) const fn is_rtcp(second: u8) -> bool {
    second >= 192 && second <= 223
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// What a clear RTP packet holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rtp {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Where the fixed header and the CSRCs end.
    pub(super) header: usize,
    pub(super) has_extension: bool,
    /// Where the media are, without padding.
    pub(super) payload: Range<usize>,
}

/// Reads a clear packet; `None` for one that does not hold together.
pub(super) fn read(packet: &[u8]) -> Option<Rtp> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let header = 12 + usize::from(first & 0x0F) * 4;
    let has_extension = first & 0x10 != 0;
    let mut start = header;
    if has_extension {
        let words = be16(packet, header + 2)?;
        start += 4 + usize::from(words) * 4;
    }
    let mut end = packet.len();
    if first & 0x20 != 0 {
        let padding = usize::from(*packet.last()?);
        end = end.checked_sub(padding).filter(|_| padding > 0)?;
    }
    if start > end {
        return None;
    }
    Some(Rtp {
        sequence: be16(packet, 2)?,
        timestamp: be32(packet, 4)?,
        ssrc: be32(packet, 8)?,
        header,
        has_extension,
        payload: start..end,
    })
}

/// What a payload is, as far as one without keys can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A frame of DAVE.
    Dave,
    /// Silence, which is never encrypted.
    Silence,
    /// Nothing but padding.
    Nothing,
    /// Anything else: in clear.
    Clear,
}

/// See: DAVE whitepaper, "Payload Format", "Silence Packets".
pub(super) fn kind(payload: &[u8]) -> Kind {
    if payload.is_empty() {
        Kind::Nothing
    } else if payload == SILENCE {
        Kind::Silence
    } else if is_dave(payload) {
        Kind::Dave
    } else {
        Kind::Clear
    }
}

/// Whether the trailer holds: tag (8 bytes), nonce and ranges (ULEB128), its own size, the marker.
fn is_dave(payload: &[u8]) -> bool {
    let Some((rest, [size, 0xFA, 0xFA])) = payload.split_last_chunk::<3>() else {
        return false;
    };
    let size = usize::from(*size);
    let Some(inner) = size.checked_sub(8 + 3).filter(|inner| *inner >= 1) else {
        return false;
    };
    let Some(start) = rest.len().checked_sub(inner).filter(|start| *start >= 8) else {
        return false;
    };
    // The nonce, then pairs of offset and size: whole numbers, an odd count of them.
    let numbers = rest.get(start..).unwrap_or_default();
    let whole = numbers.last().is_some_and(|last| last & 0x80 == 0);
    let count = numbers.iter().filter(|byte| **byte & 0x80 == 0).count();
    whole && count % 2 == 1
}

/// Puts a header extension of one element into a packet that has none: the speaker flags that official clients send.
pub(super) fn extend(packet: &mut Vec<u8>, rtp: &Rtp) {
    // Element 9, one byte: voice. Then padding to a word.
    let extension = [0xBE, 0xDE, 0, 1, 0x90, 0x04, 0, 0];
    if rtp.has_extension {
        return;
    }
    if let Some(first) = packet.first_mut() {
        *first |= 0x10;
    }
    packet.splice(rtp.header..rtp.header, extension);
}

/// Puts so many bytes of padding, at least one, to a packet that has none.
pub(super) fn pad(packet: &mut Vec<u8>, bytes: u8) {
    let bytes = bytes.max(1);
    let Some(first) = packet.first_mut().filter(|first| **first & 0x20 == 0) else {
        return;
    };
    *first |= 0x20;
    packet.extend(std::iter::repeat_n(0, usize::from(bytes) - 1));
    packet.push(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 120, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn padding_and_extensions_are_put_in_and_read() {
        let plain = packet(0x80, &SILENCE);
        let rtp = read(&plain).unwrap();
        assert_eq!((rtp.sequence, rtp.timestamp, rtp.ssrc), (1, 2, 3));
        assert_eq!(&plain[rtp.payload.clone()], SILENCE);
        let mut more = plain.clone();
        extend(&mut more, &rtp);
        pad(&mut more, 5);
        assert_eq!(more[0], 0xB0);
        let rtp = read(&more).unwrap();
        assert_eq!(&more[rtp.payload.clone()], SILENCE);
        let mut empty = packet(0x80, &[]);
        pad(&mut empty, 1);
        assert!(read(&empty).unwrap().payload.is_empty());
    }

    #[test]
    fn packets_that_do_not_hold_together() {
        for wrong in [
            packet(0x40, &[1]),
            packet(0xA0, &[1, 0]),
            packet(0xA0, &[1, 3]),
            packet(0x90, &[0xBE, 0xDE, 0, 1, 0, 0]),
            packet(0x81, &[0]),
            vec![0x80],
            Vec::new(),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn kinds_of_payloads() {
        assert_eq!(kind(&[]), Kind::Nothing);
        assert_eq!(kind(&SILENCE), Kind::Silence);
        let mut frame = vec![1, 2, 3];
        frame.extend_from_slice(&[9; 8]);
        frame.extend_from_slice(&[0x85, 0x01, 13, 0xFA, 0xFA]);
        assert_eq!(kind(&frame), Kind::Dave);
        for (at, value) in [(12, 0x81), (13, 11), (13, 200), (14, 0xFB), (15, 0)] {
            let mut wrong = frame.clone();
            wrong[at] = value;
            assert_eq!(kind(&wrong), Kind::Clear, "{at}");
        }
        assert_eq!(kind(&[0xFA, 0xFA]), Kind::Clear);
    }
}
