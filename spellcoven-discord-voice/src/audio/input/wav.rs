//! WAV files.

use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    time::Duration,
};

use bytes::Bytes;

use super::{resample::Resampler, time_of, wav_header::WavHeader};
use crate::audio::{FRAME_SAMPLES, Input, InputError, Produced, SAMPLE_RATE};

/// A WAV file: integers of 8 to 32 bits or floats, 4 to 384 kHz, mono (heard on both
/// sides), stereo, or more channels (the first two to their sides, the others to both
/// at -3 dB, the sum brought down to full scale).
///
/// Read piece by piece; memory does not grow with the file.
pub struct Wav<R> {
    input: R,
    seek: Option<fn(&mut R, u64) -> io::Result<u64>>,
    header: WavHeader,
    resampler: Option<Resampler>,
    /// Bytes read and not used.
    bytes: Vec<u8>,
    stereo: Vec<f32>,
    /// Bytes of audio not read.
    left: Option<u64>,
    /// The reader has nothing more.
    ended: bool,
    /// Samples of output that precede the audio.
    drop: usize,
    /// Samples read for each channel since the last seek, and how many have come out.
    read: u64,
    given: u64,
}

impl Wav<Cursor<Bytes>> {
    /// A file in memory.
    ///
    /// # Errors
    ///
    /// The bytes are no WAV file, or of a kind not supported.
    pub fn from_bytes(file: impl Into<Bytes>) -> Result<Self, InputError> {
        Wav::seekable(Cursor::new(file.into()))
    }
}

impl<R: Read + Seek> Wav<R> {
    /// A file that can be sought in.
    ///
    /// # Errors
    ///
    /// The bytes are no WAV file, or of a kind not supported.
    pub fn seekable(reader: R) -> Result<Self, InputError> {
        Wav::open(
            reader,
            Some(|reader, offset| reader.seek(SeekFrom::Start(offset))),
        )
    }
}

impl<R: Read> Wav<R> {
    /// A stream that is read from front to back. A reader that has nothing now may
    /// say so with `WouldBlock`, except while the header is read, here.
    ///
    /// # Errors
    ///
    /// The bytes are no WAV file, or of a kind not supported.
    pub fn new(reader: R) -> Result<Self, InputError> {
        Wav::open(reader, None)
    }

    fn open(
        mut input: R,
        seek: Option<fn(&mut R, u64) -> io::Result<u64>>,
    ) -> Result<Self, InputError> {
        let header = WavHeader::read(&mut input)?;
        let resampler = if header.rate == SAMPLE_RATE {
            None
        } else {
            Some(Resampler::new(header.rate)?)
        };
        Ok(Wav {
            input,
            seek,
            left: header.data_bytes,
            drop: resampler.as_ref().map_or(0, Resampler::delay),
            header,
            resampler,
            bytes: Vec::new(),
            stereo: Vec::new(),
            ended: false,
            read: 0,
            given: 0,
        })
    }

    /// Reads until `self.bytes` holds so much. False where the reader has nothing now.
    fn fill(&mut self, want: usize) -> Result<bool, InputError> {
        while self.bytes.len() < want && !self.ended {
            let filled = self.bytes.len();
            let room = u64::try_from(want - filled).unwrap_or(u64::MAX);
            let room = usize::try_from(room.min(self.left.unwrap_or(room))).unwrap_or(0);
            if room == 0 {
                self.ended = true;
                break;
            }
            self.bytes.resize(filled + room, 0);
            let got = self
                .input
                .read(self.bytes.get_mut(filled..).unwrap_or_default());
            let count = (*got.as_ref().unwrap_or(&0)).min(room);
            self.bytes.truncate(filled + count);
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(count as u64);
            }
            match got {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(InputError::Io(error)),
            }
        }
        Ok(true)
    }

    /// Turns the bytes at hand into stereo.
    fn convert(&mut self) {
        self.stereo.clear();
        let header = self.header;
        let rest = header.channels.saturating_sub(2) as f32;
        let both = std::f32::consts::FRAC_1_SQRT_2;
        let scale = 1.0 / (1.0 + both * rest);
        for block in self.bytes.chunks_exact(header.block()) {
            let mut samples = block.chunks_exact(header.bytes).map(|b| {
                let sample = header.sample(b);
                if sample.is_finite() { sample } else { 0.0 }
            });
            let left = samples.next().unwrap_or(0.0);
            let right = samples.next().unwrap_or(left);
            if rest == 0.0 {
                self.stereo.extend([left, right]);
            } else {
                let others = both * samples.sum::<f32>();
                self.stereo
                    .extend([(left + others) * scale, (right + others) * scale]);
            }
        }
        self.read += (self.stereo.len() / 2) as u64;
        self.bytes.clear();
    }

    /// Samples at 48 kHz that so many of the file's make, as often as not rounded up.
    fn output_samples(&self, samples: u64) -> u64 {
        let rate = u64::from(self.header.rate);
        samples
            .saturating_mul(u64::from(SAMPLE_RATE))
            .div_ceil(rate.max(1))
    }

    fn resample(&mut self, pcm: &mut Vec<f32>) -> Result<(), InputError> {
        let total = self.output_samples(self.read);
        let before = pcm.len();
        match &mut self.resampler {
            None => pcm.extend_from_slice(&self.stereo),
            Some(resampler) => resampler.process(&self.stereo, pcm)?,
        }
        let early = self.drop.min((pcm.len() - before) / 2);
        self.drop -= early;
        pcm.drain(before..before + 2 * early);
        let made = ((pcm.len() - before) / 2) as u64;
        // Behind the last sample the resampler gives silence.
        let keep = if self.ended {
            made.min(total.saturating_sub(self.given))
        } else {
            made
        };
        self.given += keep;
        pcm.truncate(before + 2 * usize::try_from(keep).unwrap_or(0));
        Ok(())
    }
}

impl<R: Read + Send> Input for Wav<R> {
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<Produced, InputError> {
        // The first pieces out of a resampler may lie before the audio.
        for _ in 0..16 {
            let wants = self
                .resampler
                .as_ref()
                .map_or(FRAME_SAMPLES, Resampler::wants);
            if !self.fill(wants * self.header.block())? {
                return Ok(Produced::Starved);
            }
            self.convert();
            let over = self.ended && self.stereo.is_empty();
            if over && self.given >= self.output_samples(self.read) {
                return Ok(Produced::End);
            }
            let before = pcm.len();
            self.resample(pcm)?;
            if pcm.len() > before {
                return Ok(Produced::Pcm);
            }
        }
        Ok(Produced::End)
    }

    /// Exact to the file's sample.
    fn seek(&mut self, position: u64) -> Result<u64, InputError> {
        let seek = self.seek.ok_or(InputError::Unseekable)?;
        let rate = u64::from(self.header.rate);
        let block = self.header.block() as u64;
        let mut sample = position.saturating_mul(rate) / u64::from(SAMPLE_RATE);
        if let Some(bytes) = self.header.data_bytes {
            sample = sample.min(bytes / block);
        }
        let byte = sample.saturating_mul(block);
        seek(
            &mut self.input,
            self.header.data_offset.saturating_add(byte),
        )
        .map_err(InputError::Io)?;
        self.left = self
            .header
            .data_bytes
            .map(|bytes| bytes.saturating_sub(byte));
        self.bytes.clear();
        self.ended = false;
        self.read = 0;
        self.given = 0;
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
            self.drop = resampler.delay();
        }
        Ok(position.min(self.output_samples(sample).max(
            // The same sample of the file stands for positions between two of ours.
            sample.saturating_mul(u64::from(SAMPLE_RATE)) / rate.max(1),
        )))
    }

    fn duration(&self) -> Option<Duration> {
        let samples = self.header.data_bytes? / self.header.block() as u64;
        Some(time_of(self.output_samples(samples)))
    }
}

impl<R> std::fmt::Debug for Wav<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wav")
            .field("header", &self.header)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}
