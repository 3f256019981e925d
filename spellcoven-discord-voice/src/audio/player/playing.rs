//! One track while it plays.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::track::{Track, TrackShared};
#[cfg(feature = "opus")]
use crate::audio::OpusDecoder;
use crate::{
    audio::{Input, InputError, OpusChunk, Produced},
    media::OpusFrame,
};

/// Packets passed on last, with which a decoder is prepared when it takes over.
const REMEMBERED: usize = 4;
/// An input that gives nothing to hear in so many turns is taken to starve.
const MAX_TURNS: u32 = 256;

/// A track, and what has been taken from its input but not played.
pub(super) struct Playing {
    pub(super) shared: Arc<TrackShared>,
    /// Came from the queue.
    pub(super) queued: bool,
    /// The application was told that it is paused.
    pub(super) paused: bool,
    input: Box<dyn Input>,
    chunk: Option<OpusChunk>,
    /// Interleaved stereo.
    pub(super) pcm: Vec<f32>,
    input_ended: bool,
    /// Something was heard since the start or the last repeat.
    heard: bool,
    /// Where in `pcm`, in samples of each channel, the next repeat begins.
    repeat_at: Option<usize>,
    position: u64,
    recent: VecDeque<Bytes>,
    #[cfg(feature = "opus")]
    pub(super) decoder: Option<OpusDecoder>,
    /// The volume that the last 20 ms ended with.
    #[cfg(feature = "opus")]
    pub(super) gain: f32,
}

/// What a track has for the next 20 ms.
pub(super) enum Turn {
    /// A packet to be sent as it is.
    Packet(OpusFrame),
    /// It has to be decoded, or is PCM.
    Mix,
    /// Nothing now.
    Starved,
    /// It is over.
    End,
}

impl Playing {
    pub(super) fn new(track: Track, queued: bool) -> Playing {
        Playing {
            #[cfg(feature = "opus")]
            gain: track.shared.volume(),
            shared: track.shared,
            queued,
            paused: false,
            input: track.input,
            chunk: None,
            pcm: Vec::new(),
            input_ended: false,
            heard: false,
            repeat_at: None,
            position: 0,
            recent: VecDeque::with_capacity(REMEMBERED),
            #[cfg(feature = "opus")]
            decoder: None,
        }
    }

    /// Goes to a position.
    pub(super) fn seek(&mut self, position: u64) -> Result<(), InputError> {
        let at = self.input.seek(position)?;
        self.chunk = None;
        self.pcm.clear();
        self.input_ended = false;
        self.repeat_at = None;
        self.recent.clear();
        #[cfg(feature = "opus")]
        {
            self.decoder = None;
        }
        self.set_position(at);
        Ok(())
    }

    fn set_position(&mut self, position: u64) {
        self.position = position;
        self.shared.set_position(position);
    }

    /// Samples for each channel that are ready.
    pub(super) fn ready(&self) -> usize {
        self.pcm.len() / 2
    }

    pub(super) fn is_over(&self) -> bool {
        self.input_ended && self.pcm.is_empty() && self.chunk.is_none()
    }

    /// So many samples of `pcm` have been played.
    #[cfg(feature = "opus")]
    pub(super) fn played(&mut self, samples: usize) {
        self.pcm.drain(..(2 * samples).min(self.pcm.len()));
        match self.repeat_at {
            Some(at) if at <= samples => {
                self.repeat_at = None;
                self.set_position((samples - at) as u64);
            }
            Some(at) => {
                self.repeat_at = Some(at - samples);
                self.set_position(self.position + samples as u64);
            }
            None => self.set_position(self.position + samples as u64),
        }
    }

    /// Reads on until there is a packet or PCM. Repeats where it is asked to, and
    /// says so in `looped`.
    pub(super) fn advance(&mut self, looped: &mut bool) -> Result<Turn, InputError> {
        for _ in 0..MAX_TURNS {
            if self.chunk.is_some() {
                return Ok(Turn::Mix);
            }
            if self.input_ended {
                return Ok(Turn::End);
            }
            let before = self.pcm.len();
            match self.input.read(&mut self.pcm)? {
                Produced::Opus(chunk) => {
                    self.pcm.truncate(before);
                    self.heard |= chunk.skip < chunk.frame.samples;
                    self.chunk = Some(chunk);
                }
                Produced::Pcm if cfg!(not(feature = "opus")) => {
                    return Err(InputError::Unsupported("PCM without the feature opus"));
                }
                Produced::Pcm => {
                    // Half a pair would swap left and right from there on.
                    self.pcm.truncate(self.pcm.len() / 2 * 2);
                    if self.pcm.len() > before {
                        self.heard = true;
                        return Ok(Turn::Mix);
                    }
                }
                Produced::Starved => return Ok(Turn::Starved),
                Produced::End => self.end_or_repeat(looped)?,
            }
        }
        Ok(Turn::Starved)
    }

    fn end_or_repeat(&mut self, looped: &mut bool) -> Result<(), InputError> {
        // What is empty would repeat for ever within one turn.
        if !self.heard || !self.shared.take_repeat() {
            self.input_ended = true;
            return Ok(());
        }
        if let Err(error) = self.input.seek(0) {
            self.input_ended = true;
            return Err(error);
        }
        self.heard = false;
        *looped = true;
        if self.pcm.is_empty() {
            self.set_position(0);
        } else {
            self.repeat_at = Some(self.ready());
        }
        Ok(())
    }

    /// Like [`Playing::advance`], for when nothing else sounds: gives the next packet
    /// where it can be sent as it is.
    pub(super) fn pass(&mut self, looped: &mut bool) -> Result<Turn, InputError> {
        for _ in 0..MAX_TURNS {
            let turn = self.advance(looped)?;
            let Some(chunk) = self
                .chunk
                .take_if(|chunk| cfg!(not(feature = "opus")) || chunk.gain == 1.0)
            else {
                return Ok(turn);
            };
            let samples = u64::from(chunk.frame.samples);
            let heard = samples.saturating_sub(u64::from(chunk.skip) + u64::from(chunk.trim));
            self.remember(chunk.frame.data.clone());
            if u64::from(chunk.skip) >= samples {
                continue;
            }
            // The decoder and what it had left have missed this packet.
            self.pcm.clear();
            self.repeat_at = None;
            #[cfg(feature = "opus")]
            {
                self.decoder = None;
            }
            self.set_position(self.position + heard);
            return Ok(Turn::Packet(chunk.frame));
        }
        Ok(Turn::Starved)
    }

    fn remember(&mut self, packet: Bytes) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(packet);
    }

    /// Decodes the packet at hand into `pcm`.
    #[cfg(feature = "opus")]
    pub(super) fn decode(&mut self) -> Result<(), crate::audio::CodecError> {
        let Some(chunk) = self.chunk.take() else {
            return Ok(());
        };
        if self.decoder.is_none() {
            self.decoder = Some(OpusDecoder::new(crate::audio::Channels::Stereo)?);
            let length = self.pcm.len();
            for packet in std::mem::take(&mut self.recent) {
                if let Some(decoder) = &mut self.decoder {
                    // Only to bring the decoder up to here.
                    let _ = decoder.decode(&packet, &mut self.pcm);
                }
            }
            self.pcm.truncate(length);
        }
        let Some(decoder) = &mut self.decoder else {
            return Ok(());
        };
        let before = self.pcm.len();
        // A damaged packet is a lost one.
        if decoder.decode(&chunk.frame.data, &mut self.pcm).is_err() {
            decoder.conceal(chunk.frame.samples as usize, &mut self.pcm)?;
        }
        let made = (self.pcm.len() - before) / 2;
        let keep = made.saturating_sub(chunk.trim as usize);
        self.pcm.truncate(before + 2 * keep);
        let skip = keep.min(chunk.skip as usize);
        self.pcm.drain(before..before + 2 * skip);
        if chunk.gain != 1.0 {
            for sample in self.pcm.iter_mut().skip(before) {
                *sample *= chunk.gain;
            }
        }
        Ok(())
    }
}
