//! Any sample rate to 48 kHz.

use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

use crate::audio::{FRAME_SAMPLES, InputError, SAMPLE_RATE};

/// Samples of input under the filter at once.
const FILTER: usize = 128;

/// Turns stereo at some rate into stereo at 48 kHz, 20 ms at a time.
pub(super) struct Resampler {
    inner: Async<f32>,
    /// Samples that come out before the first that went in.
    delay: usize,
}

impl Resampler {
    /// # Errors
    ///
    /// The rate is not within 4 to 384 kHz.
    pub(super) fn new(rate: u32) -> Result<Resampler, InputError> {
        if !(4_000..=384_000).contains(&rate) {
            return Err(InputError::Unsupported("this sample rate"));
        }
        // Where 48 kHz is a simple multiple of a fraction of the rate (160 / 147 for
        // 44.1 kHz), every output sample falls on a filter of the table exactly.
        let up = SAMPLE_RATE / greatest_common_divisor(SAMPLE_RATE, rate);
        let (factor, interpolation) = if up <= 320 {
            (up as usize, SincInterpolationType::Nearest)
        } else {
            (160, SincInterpolationType::Cubic)
        };
        let parameters = SincInterpolationParameters::new(FILTER, WindowFunction::BlackmanHarris2)
            .oversampling_factor(factor)
            .interpolation(interpolation);
        let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
        // The first sample out is one step past half the filter before the input, and
        // `Nearest` is one filter of the table ahead besides (measured; `output_delay` of
        // rubato 5.1 leaves both out). The rest, below a sample, cannot be heard.
        let ahead = match interpolation {
            SincInterpolationType::Nearest => ratio / factor as f64,
            _ => 0.0,
        };
        let delay = (FILTER as f64 / 2.0 * ratio - 1.0 - ahead).round() as usize;
        let inner = Async::new_sinc(
            ratio,
            1.0,
            &parameters,
            FRAME_SAMPLES,
            2,
            FixedAsync::Output,
        )
        .map_err(|_| InputError::Unsupported("this sample rate"))?;
        Ok(Resampler { inner, delay })
    }

    /// Samples for each channel that the next call wants.
    pub(super) fn wants(&self) -> usize {
        self.inner.input_frames_next()
    }

    /// Samples at the start of the output that precede the input.
    pub(super) fn delay(&self) -> usize {
        self.delay
    }

    pub(super) fn reset(&mut self) {
        self.inner.reset();
    }

    /// Appends 20 ms to `output`. Where `input` is shorter than wanted, silence
    /// follows.
    pub(super) fn process(
        &mut self,
        input: &[f32],
        output: &mut Vec<f32>,
    ) -> Result<(), InputError> {
        const FAILED: InputError = InputError::Damaged("the resampler refused it");
        let before = output.len();
        let produced = self.inner.output_frames_next();
        output.resize(before + 2 * produced, 0.0);
        let frames = input.len() / 2;
        let from = InterleavedSlice::new(input, 2, frames).map_err(|_| FAILED)?;
        let to = output.get_mut(before..).unwrap_or_default();
        let mut to = InterleavedSlice::new_mut(to, 2, produced).map_err(|_| FAILED)?;
        let indexing = Indexing::new().partial_len(frames);
        let partial = (frames < self.wants()).then_some(&indexing);
        self.inner
            .process_into_buffer(&from, &mut to, partial)
            .map_err(|_| FAILED)?;
        Ok(())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}
