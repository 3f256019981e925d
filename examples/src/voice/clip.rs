//! What the bot says: a file, or a melody of its own.

use std::{f32::consts::TAU, io::Read as _, path::Path};

use spellcoven_discord_voice::{
    CodecError, EncoderConfig, FRAME_SAMPLES, InputError, OggOpus, OpusEncoder, OpusFrames,
    SAMPLE_RATE, Track, Wav,
};

/// A file larger than this is refused: it is read into memory whole, since a call never waits for a disk.
const LIMIT: u64 = 256 * 1024 * 1024;

/// The melody's notes in hertz: C5, E5, G5, C6.
pub const MELODY: [u32; 4] = [523, 659, 784, 1047];
/// Frames of 20 ms in a note.
const NOTE: usize = 20;

/// The clip cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The file is not there, or not for this process.
    #[error("the file to say cannot be read")]
    Read(#[source] std::io::Error),
    /// Too large.
    #[error("the file to say has more than {} MiB", LIMIT >> 20)]
    TooLarge,
    /// Neither of the two formats.
    #[error("the file to say is neither Ogg Opus nor WAV")]
    Unknown,
    /// One of the two, but of no use.
    #[error("the file to say cannot be played")]
    Input(#[from] InputError),
    /// libopus refuses to encode the melody.
    #[error("libopus failed")]
    Codec(#[from] CodecError),
}

/// The file as a track (Ogg Opus or WAV, told by its first bytes); without a file, the melody.
///
/// # Errors
/// [`ClipError`].
pub fn open(file: Option<&Path>) -> Result<Track, ClipError> {
    let Some(file) = file else { return melody() };
    let reader = std::fs::File::open(file).map_err(ClipError::Read)?;
    let mut bytes = Vec::new();
    let read = reader.take(LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(ClipError::Read)?;
    if bytes.len() as u64 > LIMIT {
        return Err(ClipError::TooLarge);
    }
    track(bytes)
}

fn track(bytes: Vec<u8>) -> Result<Track, ClipError> {
    match bytes.first_chunk() {
        Some(b"OggS") => Ok(Track::new(OggOpus::from_bytes(bytes)?)),
        Some(b"RIFF") => Ok(Track::new(Wav::from_bytes(bytes)?)),
        _ => Err(ClipError::Unknown),
    }
}

/// Four notes, encoded here: a program needs no file to be heard.
fn melody() -> Result<Track, ClipError> {
    let mut encoder = OpusEncoder::new(EncoderConfig::music())?;
    let mut frames = Vec::with_capacity(MELODY.len() * NOTE);
    for hz in MELODY {
        let length = NOTE * FRAME_SAMPLES;
        let samples: Vec<f32> = (0..length)
            .flat_map(|sample| {
                let cycles = sample as f32 * hz as f32 / SAMPLE_RATE as f32;
                // 10 ms up and down, so that nothing clicks.
                let edge = sample.min(length - sample) as f32 / (FRAME_SAMPLES / 2) as f32;
                let value = 0.3 * edge.min(1.0) * (TAU * cycles.fract()).sin();
                [value, value]
            })
            .collect();
        for frame in samples.chunks_exact(2 * FRAME_SAMPLES) {
            frames.push(encoder.encode(frame)?);
        }
    }
    Ok(Track::new(OpusFrames::new(frames)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        assert!(matches!(
            track(b"ID3 an MP3 file".to_vec()),
            Err(ClipError::Unknown)
        ));
        assert!(matches!(track(Vec::new()), Err(ClipError::Unknown)));
        for torn in [b"OggS".to_vec(), b"RIFF".to_vec()] {
            assert!(matches!(track(torn), Err(ClipError::Input(_))));
        }
        let missing = open(Some(Path::new("/nowhere/at-all.ogg")));
        assert!(matches!(missing, Err(ClipError::Read(_))));
    }
}
