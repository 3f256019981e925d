//! What follows a sealed frame.

use super::aead::TAG_LEN;

const MARKER: [u8; 2] = [0xFA, 0xFA];
/// Tag, size and marker: a trailer is never shorter (in fact never, with the nonce's one byte at least).
const MIN_LEN: usize = TAG_LEN + 1 + MARKER.len();

/// A frame whose trailer is in order. Whether it is what its sender made is for the tag to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed<'a> {
    /// The frame, partly encrypted.
    pub(super) body: &'a [u8],
    pub(super) tag: [u8; TAG_LEN],
    /// The sender's counter, cut to 32 bits as libdave cuts it.
    pub(super) counter: u32,
    ranges: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// `None` for a frame that has no trailer, or one that nobody could have made: such a frame is in the clear.
    pub(super) fn parse(frame: &'a [u8]) -> Option<Self> {
        let rest = frame.strip_suffix(&MARKER)?;
        let (&size, _) = rest.split_last()?;
        let size = usize::from(size);
        if size < MIN_LEN {
            return None;
        }
        let (body, trailer) = frame.split_at_checked(frame.len().checked_sub(size)?)?;
        let (tag, rest) = trailer.split_first_chunk::<TAG_LEN>()?;
        let (middle, _) = rest.split_at_checked(rest.len().checked_sub(1 + MARKER.len())?)?;
        let (counter, ranges) = read_leb128(middle)?;
        let sealed = Self {
            body,
            tag: *tag,
            counter: counter as u32,
            ranges,
        };
        sealed.ranges_fit().then_some(sealed)
    }

    /// The clear ranges as (offset, size).
    pub(super) fn clear_ranges(&self) -> ClearRanges<'a> {
        ClearRanges(self.ranges)
    }

    /// Pairs, ascending, apart, and all within the frame.
    fn ranges_fit(&self) -> bool {
        let mut at = 0_usize;
        let mut rest = self.ranges;
        while !rest.is_empty() {
            let Some((offset, size, after)) = read_range(rest) else {
                return false;
            };
            let Some(end) = offset.checked_add(size) else {
                return false;
            };
            if offset < at || end > self.body.len() {
                return false;
            }
            at = end;
            rest = after;
        }
        true
    }
}

/// Iterator over the clear ranges of a frame that was found in order.
pub(super) struct ClearRanges<'a>(&'a [u8]);

impl Iterator for ClearRanges<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let (offset, size, rest) = read_range(self.0)?;
        self.0 = rest;
        Some((offset, size))
    }
}

fn read_range(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (offset, rest) = read_leb128(bytes)?;
    let (size, rest) = read_leb128(rest)?;
    Some((
        usize::try_from(offset).ok()?,
        usize::try_from(size).ok()?,
        rest,
    ))
}

/// Appends the trailer of a frame with one clear range at its start, or none if `clear` is 0.
pub(super) fn write(out: &mut Vec<u8>, tag: &[u8; TAG_LEN], counter: u32, clear: usize) {
    let start = out.len();
    out.extend_from_slice(tag);
    write_leb128(out, u64::from(counter));
    if clear > 0 {
        write_leb128(out, 0);
        write_leb128(out, clear as u64);
    }
    // At most 8 + 5 + 1 + 10 + 3, so it fits.
    out.push((out.len() - start + 1 + MARKER.len()) as u8);
    out.extend_from_slice(&MARKER);
}

fn write_leb128(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

/// At most ten bytes, the tenth 0 or 1, as WebRTC and libdave read it.
fn read_leb128(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut rest = bytes;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_without_a_trailer_is_in_the_clear() {
        for frame in [
            &[][..],
            &[0xFA, 0xFA],
            &[11, 0xFA, 0xFA],
            // The nonce is missing.
            &[0, 0, 0, 0, 0, 0, 0, 0, 11, 0xFA, 0xFA],
            // The size is larger than the frame, or too small.
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 13, 0xFA, 0xFA],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 0xFA, 0xFA],
            // The nonce does not end; half a range; a range that leaves the frame.
            &[0, 0, 0, 0, 0, 0, 0, 0, 0x81, 12, 0xFA, 0xFA],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 13, 0xFA, 0xFA],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 14, 0xFA, 0xFA],
        ] {
            assert_eq!(Sealed::parse(frame), None, "{frame:02x?}");
        }
        let empty = [0, 0, 0, 0, 0, 0, 0, 0, 1, 12, 0xFA, 0xFA];
        assert!(
            Sealed::parse(&empty)
                .is_some_and(|sealed| sealed.body.is_empty() && sealed.counter == 1)
        );
    }

    #[test]
    fn ranges_must_ascend_and_be_apart() {
        let frame = |ranges: &[u8]| {
            let mut frame = vec![0; 20];
            frame.extend_from_slice(&[0; TAG_LEN]);
            frame.push(1);
            frame.extend_from_slice(ranges);
            frame.push((MIN_LEN + 1 + ranges.len()) as u8);
            frame.extend_from_slice(&MARKER);
            Sealed::parse(&frame).map(|sealed| sealed.clear_ranges().collect::<Vec<_>>())
        };
        assert_eq!(
            frame(&[0, 4, 4, 2, 10, 10]),
            Some(vec![(0, 4), (4, 2), (10, 10)])
        );
        assert_eq!(frame(&[4, 2, 0, 4]), None);
        assert_eq!(frame(&[0, 5, 4, 2]), None);
        assert_eq!(frame(&[10, 11]), None);
        assert_eq!(
            frame(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            None
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics(mut frame in proptest::collection::vec(any::<u8>(), 0..64), size in 0u8..40) {
            let _ = Sealed::parse(&frame);
            frame.push(size);
            frame.extend_from_slice(&MARKER);
            if let Some(sealed) = Sealed::parse(&frame) {
                for (offset, size) in sealed.clear_ranges() {
                    prop_assert!(offset + size <= sealed.body.len());
                }
            }
        }

        #[test]
        fn what_is_written_is_read(body in proptest::collection::vec(any::<u8>(), 10..64), counter: u32, clear in 0usize..10) {
            let mut frame = body.clone();
            write(&mut frame, &[7; TAG_LEN], counter, clear);
            prop_assert!(frame.len() <= body.len() + super::super::MAX_OVERHEAD);
            let sealed = Sealed::parse(&frame).expect("our own trailer");
            prop_assert_eq!(sealed.body, &body[..]);
            prop_assert_eq!(sealed.counter, counter);
            let ranges: Vec<_> = sealed.clear_ranges().collect();
            prop_assert_eq!(ranges, if clear == 0 { vec![] } else { vec![(0, clear)] });
        }

        #[test]
        fn leb128_goes_both_ways(value: u64) {
            let mut bytes = Vec::new();
            write_leb128(&mut bytes, value);
            prop_assert_eq!(read_leb128(&bytes), Some((value, &[][..])));
        }
    }
}
