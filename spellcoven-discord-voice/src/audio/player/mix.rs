//! Several tracks into one stream.

use audiopus::softclip::SoftClip;

use super::playing::{Playing, Turn};
use crate::{
    audio::{Channels, CodecError, EncoderConfig, FRAME_SAMPLES, InputError, OpusEncoder},
    media::OpusFrame,
};

/// Adds up 20 ms of tracks and encodes the sum.
pub(super) struct Mixer {
    config: EncoderConfig,
    encoder: Option<OpusEncoder>,
    clip: SoftClip,
    /// Interleaved stereo.
    sum: Vec<f32>,
    mono: Vec<f32>,
    /// Something was added.
    filled: bool,
}

impl Mixer {
    pub(super) fn new(config: EncoderConfig) -> Mixer {
        Mixer {
            config,
            encoder: None,
            clip: SoftClip::new(audiopus::Channels::Stereo),
            sum: vec![0.0; 2 * FRAME_SAMPLES],
            mono: Vec::new(),
            filled: false,
        }
    }

    pub(super) fn configure(&mut self, config: EncoderConfig) {
        if let Some(encoder) = &mut self.encoder
            && let Err(error) = encoder.configure(config.clone())
        {
            tracing::warn!(%error, "the encoder refused a setting");
        }
        self.config = config;
    }

    pub(super) fn begin(&mut self) {
        self.sum.fill(0.0);
        self.filled = false;
    }

    /// Adds a track's next 20 ms. [`Turn::End`] where it is over, [`Turn::Starved`]
    /// where its input has less than that for now.
    pub(super) fn add(
        &mut self,
        track: &mut Playing,
        looped: &mut bool,
    ) -> Result<Turn, InputError> {
        while track.ready() < FRAME_SAMPLES {
            match track.advance(looped)? {
                Turn::Mix => track
                    .decode()
                    .map_err(|_| InputError::Damaged("libopus cannot decode it"))?,
                Turn::Starved => return Ok(Turn::Starved),
                Turn::End | Turn::Packet(_) => break,
            }
        }
        let samples = track.ready().min(FRAME_SAMPLES);
        if samples == 0 {
            return Ok(Turn::End);
        }
        let (from, to) = (track.gain, track.shared.volume());
        let step = (to - from) / FRAME_SAMPLES as f32;
        let pairs = self.sum.chunks_exact_mut(2).zip(track.pcm.chunks_exact(2));
        for (index, (sum, pcm)) in pairs.enumerate() {
            let gain = from + step * (index + 1) as f32;
            for (sum, sample) in sum.iter_mut().zip(pcm) {
                // One bad sample of one input must not silence the others.
                *sum += if sample.is_finite() {
                    sample * gain
                } else {
                    0.0
                };
            }
        }
        track.gain = to;
        track.played(samples);
        self.filled = true;
        Ok(Turn::Mix)
    }

    /// Encodes the sum; nothing where nothing was added.
    pub(super) fn finish(&mut self) -> Result<Option<OpusFrame>, CodecError> {
        if !self.filled {
            return Ok(None);
        }
        self.clip.apply((&mut self.sum).try_into()?)?;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(OpusEncoder::new(self.config.clone())?),
        };
        let frame = match encoder.config().channels {
            Channels::Stereo => encoder.encode(&self.sum)?,
            Channels::Mono => {
                self.mono.clear();
                let pairs = self.sum.chunks_exact(2);
                self.mono
                    .extend(pairs.map(|pair| pair.iter().sum::<f32>() / 2.0));
                encoder.encode(&self.mono)?
            }
        };
        Ok(Some(frame))
    }

    /// Packets of other origin were sent in between.
    pub(super) fn interrupted(&mut self) {
        if let Some(encoder) = &mut self.encoder
            && encoder.reset().is_err()
        {
            self.encoder = None;
        }
    }
}
