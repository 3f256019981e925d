//! libopus.

use audiopus::{
    Bitrate, SampleRate,
    coder::{Decoder, Encoder, GenericCtl},
};
use bytes::Bytes;
use thiserror::Error;

use crate::{
    audio::{Application, Channels, EncoderConfig},
    media::OpusFrame,
};

/// A packet of one 20 ms frame is never longer (RFC 6716, 3.4, R2, and the header).
const MAX_PACKET: usize = 1276;
/// 120 ms.
const MAX_SAMPLES: usize = 5760;

/// libopus refused something.
#[derive(Debug, Error)]
#[error("libopus: {message}")]
pub struct CodecError {
    message: String,
}

impl From<audiopus::Error> for CodecError {
    fn from(error: audiopus::Error) -> CodecError {
        CodecError {
            message: error.to_string(),
        }
    }
}

/// Turns PCM at 48 kHz into Opus frames.
#[derive(Debug)]
pub struct OpusEncoder {
    inner: Encoder,
    config: EncoderConfig,
    output: Vec<u8>,
}

impl OpusEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// libopus could not make one: no memory.
    pub fn new(config: EncoderConfig) -> Result<OpusEncoder, CodecError> {
        let mut encoder = OpusEncoder {
            inner: Encoder::new(
                SampleRate::Hz48000,
                channels(config.channels),
                application(config.application),
            )?,
            config,
            output: vec![0; MAX_PACKET],
        };
        encoder.apply()?;
        Ok(encoder)
    }

    /// The settings in force.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Takes other settings, from the next frame on. Other channels or another
    /// application begin a new stream, which is heard as a faint click at worst.
    ///
    /// # Errors
    ///
    /// libopus refused a setting. The encoder stays usable.
    pub fn configure(&mut self, config: EncoderConfig) -> Result<(), CodecError> {
        if (config.channels, config.application) != (self.config.channels, self.config.application)
        {
            *self = OpusEncoder::new(config)?;
            return Ok(());
        }
        self.config = config;
        self.apply()
    }

    fn apply(&mut self) -> Result<(), CodecError> {
        let config = &self.config;
        let bitrate = i32::try_from(config.bitrate.clamp(6_000, 510_000)).unwrap_or(96_000);
        self.inner.set_bitrate(Bitrate::BitsPerSecond(bitrate))?;
        self.inner.set_complexity(config.complexity.min(10))?;
        self.inner.set_inband_fec(config.fec)?;
        self.inner
            .set_packet_loss_perc(config.expected_loss.min(100))?;
        self.inner.set_dtx(config.dtx)?;
        Ok(())
    }

    /// Forgets what came before, where another stream begins.
    ///
    /// # Errors
    ///
    /// Never seen.
    pub fn reset(&mut self) -> Result<(), CodecError> {
        Ok(self.inner.reset_state()?)
    }

    /// Encodes 2.5, 5, 10, 20, 40 or 60 ms of interleaved samples, with as many
    /// channels as the settings say. Samples beyond ±1.0 are cut.
    ///
    /// # Errors
    ///
    /// The length is none of these.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<OpusFrame, CodecError> {
        let length = self.inner.encode_float(pcm, &mut self.output)?;
        let data = self.output.get(..length).unwrap_or_default();
        let samples = pcm.len() / self.config.channels.count();
        Ok(OpusFrame {
            data: Bytes::copy_from_slice(data),
            samples: u32::try_from(samples).unwrap_or(960),
        })
    }
}

/// Turns Opus packets into PCM at 48 kHz.
#[derive(Debug)]
pub struct OpusDecoder {
    inner: Decoder,
    channels: Channels,
}

impl OpusDecoder {
    /// A decoder that gives so many channels, whatever the packets have.
    ///
    /// # Errors
    ///
    /// libopus could not make one: no memory.
    pub fn new(channel_count: Channels) -> Result<OpusDecoder, CodecError> {
        Ok(OpusDecoder {
            inner: Decoder::new(SampleRate::Hz48000, channels(channel_count))?,
            channels: channel_count,
        })
    }

    /// Channels of what comes out.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// Decodes a packet and appends its samples, interleaved, to `pcm`. Gives the
    /// number of samples for each channel.
    ///
    /// # Errors
    ///
    /// The packet is damaged; nothing is appended.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut Vec<f32>) -> Result<usize, CodecError> {
        self.run(Some(packet), MAX_SAMPLES, false, pcm)
    }

    /// Rebuilds the packet before this one, which was lost, from the redundancy in
    /// this one; where there is none, this is [`OpusDecoder::conceal`].
    ///
    /// # Errors
    ///
    /// The packet is damaged, or `samples` is no multiple of 2.5 ms up to 120 ms.
    pub fn decode_fec(
        &mut self,
        next: &[u8],
        samples: usize,
        pcm: &mut Vec<f32>,
    ) -> Result<usize, CodecError> {
        self.run(Some(next), samples.min(MAX_SAMPLES), true, pcm)
    }

    /// Guesses what a lost packet sounded like. Fades out where several are lost.
    ///
    /// # Errors
    ///
    /// `samples` is no multiple of 2.5 ms up to 120 ms.
    pub fn conceal(&mut self, samples: usize, pcm: &mut Vec<f32>) -> Result<usize, CodecError> {
        self.run(None, samples.min(MAX_SAMPLES), false, pcm)
    }

    fn run(
        &mut self,
        packet: Option<&[u8]>,
        samples: usize,
        fec: bool,
        pcm: &mut Vec<f32>,
    ) -> Result<usize, CodecError> {
        let before = pcm.len();
        pcm.resize(before + samples * self.channels.count(), 0.0);
        let decoded = (|| {
            let output = pcm.get_mut(before..).unwrap_or_default().try_into()?;
            let packet = packet.map(TryInto::try_into).transpose()?;
            self.inner.decode_float(packet, output, fec)
        })();
        let made = *decoded.as_ref().unwrap_or(&0);
        pcm.truncate(before + made * self.channels.count());
        Ok(decoded?)
    }
}

fn channels(channels: Channels) -> audiopus::Channels {
    match channels {
        Channels::Mono => audiopus::Channels::Mono,
        Channels::Stereo => audiopus::Channels::Stereo,
    }
}

fn application(application: Application) -> audiopus::Application {
    match application {
        Application::Voip => audiopus::Application::Voip,
        Application::Audio => audiopus::Application::Audio,
        Application::LowDelay => audiopus::Application::LowDelay,
    }
}
