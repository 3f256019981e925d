//! Two tones, one in each ear: made as a file of Opus frames, and found again in what was heard.

use std::{f64::consts::TAU, fs, path::Path};

use audiopus::{
    Application, Bitrate, Channels, SampleRate,
    coder::{Decoder, Encoder},
};

use crate::simulator::{Result, ensure};

const RATE: usize = 48_000;
/// Samples per channel in 20 ms.
const FRAME: usize = 960;
/// What a frame of the highest rate takes.
const FRAME_BYTES: usize = 1275;
/// Frames at the start of a passage that only bring the decoder up to it.
const SETTLE: usize = 25;
/// Frames that are looked at after it: one second, so that each whole number of hertz is a whole number of periods.
const WINDOW: usize = 50;
/// Frames that [`judge`] wants.
pub const PASSAGE: usize = SETTLE + WINDOW;

/// The pitch in the left and the right ear, in hertz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    pub left: u32,
    pub right: u32,
}

/// How much of the power in each ear is at the pitch that belongs there, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub left: f64,
    pub right: f64,
}

impl Share {
    pub fn least(self) -> f64 {
        self.left.min(self.right)
    }
}

impl Tone {
    fn sample(pitch: u32, at: usize) -> f32 {
        // Half of full scale.
        ((TAU * f64::from(pitch) * at as f64 / RATE as f64).sin() / 2.0) as f32
    }

    /// Writes the file that speakers play: DCA, Opus frames of 20 ms, each after its length. The tone must be found in
    /// it, and not with the ears exchanged.
    pub fn write(self, file: &Path, seconds: usize) -> Result<()> {
        let mut encoder = Encoder::new(SampleRate::Hz48000, Channels::Stereo, Application::Audio)?;
        encoder.set_bitrate(Bitrate::BitsPerSecond(96_000))?;
        // A pure tone is easy.
        encoder.set_complexity(0)?;
        let about = serde_json::json!({
            "dca": {"version": 1, "tool": {"name": "interop-voice", "version": "0.1.0"}},
            "opus": {"mode": "music", "sample_rate": RATE, "frame_size": FRAME, "vbr": true, "channels": 2},
        })
        .to_string();
        let mut bytes = b"DCA1".to_vec();
        bytes.extend(i32::try_from(about.len())?.to_le_bytes());
        bytes.extend(about.bytes());
        let mut opus = [0; FRAME_BYTES];
        let mut start = Vec::new();
        // A whole number of periods.
        let second: Vec<f32> = (0..RATE)
            .flat_map(|at| [Self::sample(self.left, at), Self::sample(self.right, at)])
            .collect();
        for pcm in second.chunks_exact(2 * FRAME).cycle().take(seconds * 50) {
            let length = encoder.encode_float(pcm, &mut opus)?;
            bytes.extend(i16::try_from(length)?.to_le_bytes());
            bytes.extend(&opus[..length]);
            if start.len() < PASSAGE {
                start.push(opus[..length].to_vec());
            }
        }
        let exchanged = Self {
            left: self.right,
            right: self.left,
        };
        let found = |tone: Self| tone.judge(start.iter().map(|frame| Some(frame.as_slice())));
        let (right, wrong) = (found(self)?, found(exchanged)?);
        ensure(
            right.least() > 0.99 && wrong.least() < 0.01,
            format!("the judge is wrong: {right:?}, {wrong:?}"),
        )?;
        Ok(fs::write(file, bytes)?)
    }

    /// Decodes a passage of [`PASSAGE`] frames, `None` where one was lost, and measures its settled part.
    pub fn judge<'a>(self, passage: impl Iterator<Item = Option<&'a [u8]>>) -> Result<Share> {
        let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Stereo)?;
        let mut heard = Vec::new();
        for frame in passage {
            let mut pcm = [0.0; 2 * FRAME];
            let packet = frame.map(TryInto::try_into).transpose()?;
            // What is no Opus is as good as lost; discord.js hands out encrypted frames when it has no key yet.
            if decoder
                .decode_float(packet, (&mut pcm[..]).try_into()?, false)
                .is_err()
            {
                pcm.fill(0.0);
            }
            heard.extend(pcm);
        }
        let settled = heard.get(SETTLE * 2 * FRAME..).unwrap_or_default();
        Ok(Share {
            left: share(settled.iter().step_by(2), self.left),
            right: share(settled.iter().skip(1).step_by(2), self.right),
        })
    }
}

/// The part of the power that is at this pitch: Goertzel's filter.
fn share<'a>(samples: impl Iterator<Item = &'a f32>, pitch: u32) -> f64 {
    let turn = 2.0 * (TAU * f64::from(pitch) / RATE as f64).cos();
    let (mut last, mut before, mut power, mut count) = (0.0, 0.0, 0.0, 0.0);
    for sample in samples {
        let sample = f64::from(*sample);
        (last, before) = (sample + turn * last - before, last);
        power += sample * sample;
        count += 1.0;
    }
    if power <= f64::EPSILON {
        return 0.0;
    }
    let at_pitch = last * last + before * before - turn * last * before;
    2.0 * at_pitch / (count * power)
}
