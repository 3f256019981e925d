//! What the tests of audio share: Ogg files written by the crate `ogg`, and with libopus
//! tones as Opus.

use bytes::Bytes;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use spellcoven_discord_voice::{AudioSource, Input, NextFrame, OpusFrame, Produced};

/// How an Ogg Opus file is to be written.
#[derive(Clone)]
pub(crate) struct Ogg {
    pub(crate) serial: u32,
    pub(crate) pre_skip: u16,
    /// Q7.8 dB.
    pub(crate) gain: i16,
    pub(crate) channels: u8,
    /// The granule position of the first sample.
    pub(crate) start: u64,
    /// Samples cut from the end.
    pub(crate) trim: u64,
    pub(crate) packets_per_page: usize,
}

impl Default for Ogg {
    fn default() -> Self {
        Ogg {
            serial: 7,
            pre_skip: 0,
            gain: 0,
            channels: 2,
            start: 0,
            trim: 0,
            packets_per_page: 10,
        }
    }
}

impl Ogg {
    pub(crate) fn write(&self, frames: &[OpusFrame]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = PacketWriter::new(&mut file);
        let mut head = b"OpusHead\x01".to_vec();
        head.push(self.channels);
        head.extend(self.pre_skip.to_le_bytes());
        head.extend(48_000u32.to_le_bytes());
        head.extend(self.gain.to_le_bytes());
        head.push(0);
        let mut tags = b"OpusTags\x04\0\0\0test\x01\0\0\0".to_vec();
        // Longer than a page.
        tags.extend(70_000u32.to_le_bytes());
        tags.resize(tags.len() + 70_000, b'x');
        for packet in [head, tags] {
            writer
                .write_packet(packet, self.serial, PacketWriteEndInfo::EndPage, 0)
                .unwrap();
        }
        let mut granule = self.start;
        for (index, frame) in frames.iter().enumerate() {
            granule += u64::from(frame.samples);
            let (end, at) = if index + 1 == frames.len() {
                (PacketWriteEndInfo::EndStream, granule - self.trim)
            } else if (index + 1).is_multiple_of(self.packets_per_page) {
                (PacketWriteEndInfo::EndPage, granule)
            } else {
                (PacketWriteEndInfo::NormalPacket, granule)
            };
            writer
                .write_packet(frame.data.to_vec(), self.serial, end, at)
                .unwrap();
        }
        drop(writer);
        file
    }
}

/// Valid packets of 20 ms that differ: their number stands in them.
pub(crate) fn numbered(count: u32) -> Vec<OpusFrame> {
    (0..count)
        .map(|index| {
            let [a, b, ..] = index.to_le_bytes();
            OpusFrame::from_packet(Bytes::from(vec![0xF8, a, b, 9])).unwrap()
        })
        .collect()
}

/// The numbers of packets made by [`numbered`].
pub(crate) fn number(frame: &OpusFrame) -> u32 {
    u32::from(frame.data[1]) | u32::from(frame.data[2]) << 8
}

/// All packets an input gives, and that it then ends.
pub(crate) fn packets(input: &mut impl Input) -> Vec<spellcoven_discord_voice::OpusChunk> {
    let mut all = Vec::new();
    loop {
        match input.read(&mut Vec::new()).unwrap() {
            Produced::Opus(chunk) => all.push(chunk),
            Produced::End => return all,
            other => panic!("{other:?}"),
        }
    }
}

/// The frames of a source until it is idle or ends, at most so many.
pub(crate) fn frames(source: &mut impl AudioSource, at_most: usize) -> Vec<OpusFrame> {
    let mut all = Vec::new();
    while all.len() < at_most {
        match source.next_frame() {
            NextFrame::Frame(frame) => all.push(frame),
            NextFrame::Idle | NextFrame::End => break,
        }
    }
    all
}

#[cfg(feature = "opus")]
pub(crate) use with_libopus::*;

#[cfg(feature = "opus")]
mod with_libopus {
    use spellcoven_discord_voice::{
        Channels, EncoderConfig, FRAME_SAMPLES, OpusDecoder, OpusEncoder, OpusFrame,
    };

    use crate::dsp::stereo_tone;

    /// Interleaved stereo as Opus frames of 20 ms.
    pub(crate) fn encode(config: EncoderConfig, pcm: &[f32]) -> Vec<OpusFrame> {
        let mut encoder = OpusEncoder::new(config).unwrap();
        pcm.chunks_exact(2 * FRAME_SAMPLES)
            .map(|frame| encoder.encode(frame).unwrap())
            .collect()
    }

    /// A tone on each side, at amplitude 0.4.
    pub(crate) fn tone_frames(left: f32, right: f32, count: usize) -> Vec<OpusFrame> {
        let pcm = stereo_tone(left, right, 0.4, 0, count * FRAME_SAMPLES);
        encode(EncoderConfig::default(), &pcm)
    }

    /// Interleaved stereo.
    pub(crate) fn decode(frames: &[OpusFrame]) -> Vec<f32> {
        let mut decoder = OpusDecoder::new(Channels::Stereo).unwrap();
        let mut pcm = Vec::new();
        for frame in frames {
            decoder.decode(&frame.data, &mut pcm).unwrap();
        }
        pcm
    }
}
