//! The header of a WAV file (Microsoft, Multimedia Programming Interface and Data
//! Specifications 1.0, RIFF; WAVEFORMATEXTENSIBLE).

use std::io::{self, Read};

use crate::audio::InputError;

const NOT_WAV: InputError = InputError::Format {
    expected: "a WAV file",
};
/// Other chunks before the audio may take up so much.
const MAX_SKIPPED: u64 = 16 * 1024 * 1024;
const MAX_CHANNELS: u16 = 32;

/// How one sample is stored, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 8 bits, offset by 128.
    U8,
    /// 16, 24 or 32 bits; the bytes that count are the upper ones.
    Int,
    F32,
    F64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WavHeader {
    pub(super) encoding: Encoding,
    pub(super) channels: usize,
    pub(super) rate: u32,
    /// Bytes of one sample of one channel: 1 to 8.
    pub(super) bytes: usize,
    /// Where the audio begins in the file.
    pub(super) data_offset: u64,
    /// Bytes of audio; none where the writer did not know.
    pub(super) data_bytes: Option<u64>,
}

impl WavHeader {
    /// Bytes of one sample of all channels.
    pub(super) fn block(&self) -> usize {
        self.channels * self.bytes
    }

    /// Reads up to the first byte of audio.
    pub(super) fn read(input: &mut impl Read) -> Result<WavHeader, InputError> {
        let riff: [u8; 12] = take(input)?;
        if !riff.starts_with(b"RIFF") || !riff.ends_with(b"WAVE") {
            return Err(NOT_WAV);
        }
        let mut offset = 12;
        let mut format = None;
        loop {
            let head: [u8; 8] = take(input)?;
            let [k0, k1, k2, k3, size @ ..] = head;
            let size = u32::from_le_bytes(size);
            offset += 8;
            match &[k0, k1, k2, k3] {
                b"fmt " => format = Some(Self::read_format(input, size)?),
                b"data" => {
                    let mut header = format.ok_or(NOT_WAV)?;
                    header.data_offset = offset;
                    // Writers that cannot go back leave 0 or the greatest number.
                    header.data_bytes = (size != 0 && size != u32::MAX).then_some(u64::from(size));
                    return Ok(header);
                }
                _ => skip(input, padded(size))?,
            }
            offset += padded(size);
            if offset > MAX_SKIPPED {
                return Err(InputError::Unsupported("more than 16 MiB before the audio"));
            }
        }
    }

    fn read_format(input: &mut impl Read, size: u32) -> Result<WavHeader, InputError> {
        const PCM: u16 = 1;
        const FLOAT: u16 = 3;
        const EXTENSIBLE: u16 = 0xFFFE;
        let fixed: [u8; 16] = take(input)?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let (mut tag, channels, block) = (u16_at(0), u16_at(2), u16_at(12));
        let rate = u32::from_le_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let bits = u16_at(14);
        let mut rest = padded(size).checked_sub(16).ok_or(NOT_WAV)?;
        if tag == EXTENSIBLE {
            let extension: [u8; 24] = take(input)?;
            rest = rest.checked_sub(24).ok_or(NOT_WAV)?;
            // The first two bytes of the sub-format's GUID are the plain tag.
            tag = u16::from_le_bytes([extension[8], extension[9]]);
        }
        skip(input, rest)?;
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(InputError::Unsupported("this number of channels"));
        }
        let bytes = block / channels;
        let encoding = match (tag, bits, bytes) {
            (PCM, 8, 1) => Encoding::U8,
            (PCM, 9..=32, 2..=4) if bits <= bytes * 8 => Encoding::Int,
            (FLOAT, 32, 4) => Encoding::F32,
            (FLOAT, 64, 8) => Encoding::F64,
            _ => return Err(InputError::Unsupported("this encoding of samples")),
        };
        Ok(WavHeader {
            encoding,
            channels: usize::from(channels),
            rate,
            bytes: usize::from(bytes),
            data_offset: 0,
            data_bytes: None,
        })
    }

    /// One sample of one channel, full scale ±1.0. `bytes` is as long as
    /// `self.bytes` says.
    pub(super) fn sample(&self, bytes: &[u8]) -> f32 {
        match (self.encoding, bytes) {
            (Encoding::U8, &[byte]) => (f32::from(byte) - 128.0) / 128.0,
            (Encoding::Int, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (Encoding::Int, &[a, b, c]) => int(i32::from_le_bytes([0, a, b, c])),
            (Encoding::Int, &[a, b, c, d]) => int(i32::from_le_bytes([a, b, c, d])),
            (Encoding::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Encoding::F64, &[a, b, c, d, e, f, g, h]) => {
                f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            _ => 0.0,
        }
    }
}

fn int(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

/// Chunks begin at even bytes.
fn padded(size: u32) -> u64 {
    u64::from(size) + u64::from(size & 1)
}

fn take<const N: usize>(input: &mut impl Read) -> Result<[u8; N], InputError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            NOT_WAV
        } else {
            InputError::Io(error)
        }
    })?;
    Ok(bytes)
}

fn skip(input: &mut impl Read, bytes: u64) -> Result<(), InputError> {
    if bytes > MAX_SKIPPED {
        return Err(InputError::Unsupported("more than 16 MiB before the audio"));
    }
    io::copy(&mut input.take(bytes), &mut io::sink()).map_err(InputError::Io)?;
    Ok(())
}
