//! Tones, and finding them again.

use std::f32::consts::TAU;

/// Samples for each second and channel.
pub(crate) const RATE: f32 = 48_000.0;

/// The amplitude of a frequency in mono samples at 48 kHz (Goertzel's algorithm): a sine of
/// amplitude 0.5 gives 0.5. Resolves about 48,000 / length Hz.
pub(crate) fn goertzel(samples: &[f32], frequency: f32) -> f32 {
    let step = f64::from(TAU) * f64::from(frequency) / f64::from(RATE);
    let factor = 2.0 * step.cos();
    let (mut before, mut last) = (0.0f64, 0.0f64);
    for &sample in samples {
        let next = f64::from(sample) + factor * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - factor * last * before;
    (2.0 * power.max(0.0).sqrt() / samples.len().max(1) as f64) as f32
}

/// One channel of interleaved samples: 0 is left.
pub(crate) fn channel(samples: &[f32], channels: usize, index: usize) -> Vec<f32> {
    samples
        .iter()
        .copied()
        .skip(index)
        .step_by(channels)
        .collect()
}

/// A sine in interleaved stereo, with a frequency for each side; 0 Hz is silence. `start`
/// is the first sample's number.
pub(crate) fn stereo_tone(
    left: f32,
    right: f32,
    amplitude: f32,
    start: usize,
    samples: usize,
) -> Vec<f32> {
    let value = |frequency: f32, index: usize| {
        let cycles = f64::from(frequency) * index as f64 / f64::from(RATE);
        amplitude * (TAU * cycles.fract() as f32).sin()
    };
    (start..start + samples)
        .flat_map(|index| [value(left, index), value(right, index)])
        .collect()
}
