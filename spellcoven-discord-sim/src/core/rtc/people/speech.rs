//! What a person says: a tone, or a file.

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use audiopus::coder::Encoder;
use audiopus::{Application, Bitrate, Channels, SampleRate};
use bytes::Bytes;
use ogg::reading::PacketReader;

/// Samples of a second, of one channel. Opus timestamps count in this whatever the stream's own rate (RFC 7587, 4.1).
const RATE: usize = 48_000;
/// Samples of 20 ms, of one channel.
const FRAME: usize = 960;
/// Frames after which a tone of whole hertz begins anew.
const LOOP: usize = RATE / FRAME;
/// Loudness of a tone, of 1.
const AMPLITUDE: f32 = 0.4;
/// Tones that are kept; with more, all are made anew.
const KEPT_TONES: usize = 64;
/// The longest Opus packet, samples of one channel: 120 ms.
const LONGEST: u32 = 5760;

/// Frames of the tones that were encoded, by the hertz of both ears.
type Tones = BTreeMap<(u32, u32), Arc<[Spoken]>>;

/// Something to say: Opus frames, once or over and over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Speech {
    frames: Arc<[Spoken]>,
    repeats: bool,
}

/// An Opus frame and how long it lasts, in samples of one channel at 48 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) opus: Bytes,
    pub(super) samples: u32,
}

/// Why something cannot be said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpeechError {
    /// A tone above half the sample rate.
    #[error("{0} Hz is above what 48 kHz can carry (24000 Hz)")]
    TooHigh(u32),
    /// The file is no Ogg file, or is damaged.
    #[error("the file is not a whole Ogg file")]
    Ogg(#[source] ogg::OggReadError),
    /// The file holds no Opus stream.
    #[error("the file holds no Opus stream: {0}")]
    NotOpus(&'static str),
    /// libopus refused.
    #[error("libopus failed")]
    Opus(#[source] audiopus::Error),
}

impl From<audiopus::Error> for SpeechError {
    fn from(error: audiopus::Error) -> Self {
        Self::Opus(error)
    }
}

impl Speech {
    /// A tone in each ear, hertz; 0 is silence. It goes on until the person hushes. 48 kHz stereo Opus in frames of
    /// 20 ms; the same tone is encoded once in a process.
    ///
    /// # Errors
    /// [`SpeechError::TooHigh`], or [`SpeechError::Opus`] if libopus fails.
    pub fn tone(left_hz: u32, right_hz: u32) -> Result<Self, SpeechError> {
        static TONES: Mutex<Tones> = Mutex::new(BTreeMap::new());
        for hz in [left_hz, right_hz] {
            if hz as usize > RATE / 2 {
                return Err(SpeechError::TooHigh(hz));
            }
        }
        let mut tones = TONES.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = match tones.get(&(left_hz, right_hz)) {
            Some(frames) => frames.clone(),
            None => {
                let frames: Arc<[Spoken]> = encode_tone(left_hz, right_hz)?.into();
                if tones.len() >= KEPT_TONES {
                    tones.clear();
                }
                tones.insert((left_hz, right_hz), frames.clone());
                frames
            }
        };
        Ok(Self {
            frames,
            repeats: true,
        })
    }

    /// An Ogg Opus file, said once (RFC 7845). The frames are sent as they are.
    ///
    /// # Errors
    /// [`SpeechError::Ogg`] or [`SpeechError::NotOpus`].
    pub fn ogg_opus(file: &[u8]) -> Result<Self, SpeechError> {
        let mut reader = PacketReader::new(Cursor::new(file));
        let mut packets = Vec::new();
        while let Some(packet) = reader.read_packet().map_err(SpeechError::Ogg)? {
            packets.push(packet.data);
        }
        let mut packets = packets.into_iter();
        let head = packets.next().ok_or(SpeechError::NotOpus("it is empty"))?;
        if !head.starts_with(b"OpusHead") {
            return Err(SpeechError::NotOpus("it does not begin with OpusHead"));
        }
        let tags = packets.next().unwrap_or_default();
        if !tags.starts_with(b"OpusTags") {
            return Err(SpeechError::NotOpus("OpusTags is missing"));
        }
        Self::frames(packets.map(Bytes::from))
    }

    /// Opus packets, said once, each as long as it says of itself.
    ///
    /// # Errors
    /// [`SpeechError::NotOpus`] if one of them is no Opus packet, or there is none.
    pub fn frames(packets: impl IntoIterator<Item = Bytes>) -> Result<Self, SpeechError> {
        let frames: Result<Vec<Spoken>, SpeechError> = packets
            .into_iter()
            .map(|opus| {
                let samples =
                    samples_of(&opus).ok_or(SpeechError::NotOpus("a packet is no Opus packet"))?;
                Ok(Spoken { opus, samples })
            })
            .collect();
        let frames: Arc<[Spoken]> = frames?.into();
        if frames.is_empty() {
            return Err(SpeechError::NotOpus("it has no packets"));
        }
        Ok(Self {
            frames,
            repeats: false,
        })
    }

    /// The same, over and over.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// The frame at a place, counted on over all rounds; `None` at the end.
    pub(super) fn frame(&self, place: usize) -> Option<&Spoken> {
        let place = if self.repeats {
            place.checked_rem(self.frames.len())?
        } else {
            place
        };
        self.frames.get(place)
    }
}

fn encode_tone(left_hz: u32, right_hz: u32) -> Result<Vec<Spoken>, SpeechError> {
    let mut encoder = Encoder::new(SampleRate::Hz48000, Channels::Stereo, Application::Audio)?;
    encoder.set_bitrate(Bitrate::BitsPerSecond(96_000))?;
    let sample = |hz: u32, at: usize| {
        // Within one second, so that the product stays exact.
        let turns = (hz as usize * (at % RATE)) % RATE;
        AMPLITUDE * (TAU * turns as f32 / RATE as f32).sin()
    };
    let mut buffer = vec![0; 4000];
    let mut frames = Vec::with_capacity(LOOP);
    // The first round only brings the encoder to where the second begins, so that the loop closes without a click.
    for frame in 0..2 * LOOP {
        let pcm: Vec<f32> = (frame * FRAME..(frame + 1) * FRAME)
            .flat_map(|at| [sample(left_hz, at), sample(right_hz, at)])
            .collect();
        let len = encoder.encode_float(&pcm, &mut buffer)?;
        if frame >= LOOP {
            frames.push(Spoken {
                opus: Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default()),
                samples: FRAME as u32,
            });
        }
    }
    Ok(frames)
}

/// How long an Opus packet lasts, samples of one channel at 48 kHz; `None` for what is no Opus packet.
///
/// See: RFC 6716, 3.1 and 3.2.
pub(super) fn samples_of(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame: u32 = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3F),
    };
    let samples = frame * count;
    (1..=LONGEST).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_packet_is_read_from_its_first_bytes() {
        for (packet, samples) in [
            (&[0xF8, 0xFF, 0xFE][..], Some(960)),
            (&[0x00], Some(480)),
            (&[0x18], Some(2880)),
            (&[0x80], Some(120)),
            (&[0xFC], Some(960)),
            (&[0xF9], Some(1920)),
            (&[0xFB, 0x06], Some(5760)),
            (&[0xFB, 0x07], None),
            (&[0xFB, 0x00], None),
            (&[0xFB], None),
            (&[], None),
        ] {
            assert_eq!(samples_of(packet), samples, "{packet:x?}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        assert!(matches!(
            Speech::tone(24_001, 0),
            Err(SpeechError::TooHigh(24_001))
        ));
        assert!(Speech::ogg_opus(b"OggS").is_err());
        assert!(Speech::ogg_opus(b"").is_err());
        assert!(Speech::frames([]).is_err());
        assert!(Speech::frames([Bytes::new()]).is_err());
    }

    #[test]
    fn an_ogg_file_gives_its_frames_once() {
        use ogg::writing::{PacketWriteEndInfo, PacketWriter};
        let mut writer = PacketWriter::new(Vec::new());
        let packets: [&[u8]; 4] = [b"OpusHead\x01\x02", b"OpusTags", &[0xFC, 1], &[0xFC, 2]];
        for (index, packet) in packets.iter().enumerate() {
            let end = match index {
                0 | 1 => PacketWriteEndInfo::EndPage,
                3 => PacketWriteEndInfo::EndStream,
                _ => PacketWriteEndInfo::NormalPacket,
            };
            writer
                .write_packet(packet.to_vec(), 1, end, index as u64)
                .unwrap();
        }
        let speech = Speech::ogg_opus(&writer.into_inner()).unwrap();
        assert_eq!(speech.frame(1).unwrap().opus[..], [0xFC, 2]);
        assert_eq!(speech.frame(2), None);
        assert_eq!(speech.repeated().frame(2).unwrap().opus[..], [0xFC, 1]);
    }
}
