//! Decodes what jitter buffers give, for each user and mixed.

use std::{collections::BTreeMap, time::Instant};

use audiopus::softclip::SoftClip;

use super::{
    delay::JitterConfig,
    jitter::JitterBuffer,
    types::{JitterPacket, JitterStats, Playout},
};
use crate::audio::{Channels, CodecError, FRAME_SAMPLES, OpusDecoder, PcmFrame};

/// After so many guesses in a row (100 ms) there is silence.
const MAX_CONCEALED: u32 = 5;
/// So many users are decoded at once; of more, those who are silent make room, and whoever
/// finds none is not heard.
const MAX_USERS: usize = 64;

/// What became of one user's audio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlayoutStats {
    /// What the jitter buffer saw.
    pub jitter: JitterStats,
    /// Lost packets that were rebuilt from the one after them (in-band FEC).
    pub fec_recovered: u64,
    /// Lost or missing packets whose sound was guessed.
    pub concealed: u64,
    /// Lost packets that were left silent, after five guesses in a row.
    pub silenced: u64,
    /// Packets that libopus could not decode.
    pub undecodable: u64,
}

/// One user's audio from packets to PCM.
#[derive(Debug)]
pub(crate) struct UserPlayout {
    buffer: JitterBuffer,
    decoder: OpusDecoder,
    ssrc: Option<u32>,
    playouts: Vec<Playout>,
    /// Decoded and not given yet: a packet may be longer than a tick.
    pcm: Vec<f32>,
    concealed_in_row: u32,
    stats: PlayoutStats,
}

impl UserPlayout {
    pub(crate) fn new(config: JitterConfig, channels: Channels) -> Result<UserPlayout, CodecError> {
        Ok(UserPlayout {
            buffer: JitterBuffer::new(config),
            decoder: OpusDecoder::new(channels)?,
            ssrc: None,
            playouts: Vec::new(),
            pcm: Vec::new(),
            concealed_in_row: 0,
            stats: PlayoutStats::default(),
        })
    }

    pub(crate) fn push(&mut self, packet: JitterPacket) {
        self.buffer.push(packet);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.buffer.is_idle() && self.pcm.is_empty()
    }

    pub(crate) fn stats(&self) -> PlayoutStats {
        PlayoutStats {
            jitter: self.buffer.stats(),
            ..self.stats
        }
    }

    /// Appends the next 20 ms to `pcm`, in as many channels as were asked for. False, and
    /// nothing appended, where the user is silent. To be called every 20 ms.
    pub(crate) fn tick(&mut self, now: Instant, pcm: &mut Vec<f32>) -> bool {
        let mut playouts = std::mem::take(&mut self.playouts);
        self.buffer.tick(now, &mut playouts);
        for playout in playouts.drain(..) {
            self.decode(playout);
        }
        self.playouts = playouts;
        if self.pcm.is_empty() {
            return false;
        }
        let wanted = FRAME_SAMPLES * self.decoder.channels().count();
        let ready = self.pcm.len().min(wanted);
        pcm.extend(self.pcm.drain(..ready));
        pcm.extend(std::iter::repeat_n(0.0, wanted - ready));
        true
    }

    fn decode(&mut self, playout: Playout) {
        match playout {
            Playout::Frame {
                ssrc,
                payload,
                samples,
                ..
            } => {
                if self.ssrc.replace(ssrc) != Some(ssrc) {
                    // Another stream does not go on where the last one was.
                    let fresh = OpusDecoder::new(self.decoder.channels());
                    self.decoder = match fresh {
                        Ok(decoder) => decoder,
                        Err(_) => return,
                    };
                }
                if self.decoder.decode(&payload, &mut self.pcm).is_ok() {
                    self.concealed_in_row = 0;
                } else {
                    self.stats.undecodable += 1;
                    self.conceal(samples);
                }
            }
            Playout::Lost {
                samples,
                fec: Some(next),
                ..
            } => {
                let length = whole(samples);
                if self
                    .decoder
                    .decode_fec(&next, length, &mut self.pcm)
                    .is_ok()
                {
                    self.concealed_in_row = 0;
                    self.stats.fec_recovered += 1;
                } else {
                    self.conceal(samples);
                }
            }
            Playout::Lost { samples, .. } | Playout::Wait { samples } => self.conceal(samples),
        }
    }

    fn conceal(&mut self, samples: u32) {
        self.concealed_in_row += 1;
        let length = whole(samples);
        let guess = self.concealed_in_row <= MAX_CONCEALED;
        if guess && self.decoder.conceal(length, &mut self.pcm).is_ok() {
            self.stats.concealed += 1;
        } else {
            self.stats.silenced += 1;
            let silence = length * self.decoder.channels().count();
            self.pcm.extend(std::iter::repeat_n(0.0, silence));
        }
    }
}

/// libopus conceals multiples of 2.5 ms.
fn whole(samples: u32) -> usize {
    (samples as usize).next_multiple_of(120).clamp(120, 5760)
}

/// All users' audio, each for itself and all together.
pub(crate) struct Mixdown {
    config: JitterConfig,
    channels: Channels,
    users: BTreeMap<u64, UserPlayout>,
    clip: SoftClip,
}

impl Mixdown {
    pub(crate) fn new(config: JitterConfig, channels: Channels) -> Mixdown {
        Mixdown {
            config,
            channels,
            users: BTreeMap::new(),
            clip: SoftClip::new(match channels {
                Channels::Mono => audiopus::Channels::Mono,
                Channels::Stereo => audiopus::Channels::Stereo,
            }),
        }
    }

    /// Takes a packet of a user; `false` where there is no room for one more user.
    pub(crate) fn push(&mut self, user: u64, packet: JitterPacket) -> bool {
        if let Some(playout) = self.users.get_mut(&user) {
            playout.push(packet);
            return true;
        }
        if self.users.len() >= MAX_USERS {
            let idle = self.users.iter().find(|(_, playout)| playout.is_idle());
            let Some(idle) = idle.map(|(&user, _)| user) else {
                return false;
            };
            self.users.remove(&idle);
        }
        match UserPlayout::new(self.config, self.channels) {
            Ok(mut playout) => {
                playout.push(packet);
                self.users.insert(user, playout);
                true
            }
            Err(error) => {
                tracing::warn!(%error, user, "no decoder for a user");
                false
            }
        }
    }

    /// Users that are known, silent ones included, with what became of their audio.
    pub(crate) fn stats(&self) -> impl Iterator<Item = (u64, PlayoutStats)> {
        self.users
            .iter()
            .map(|(&user, playout)| (user, playout.stats()))
    }

    /// All are silent: there is no need to tick.
    pub(crate) fn is_idle(&self) -> bool {
        self.users.values().all(UserPlayout::is_idle)
    }

    /// The next 20 ms of each user who is heard, and of all together, brought within full
    /// scale by libopus's soft clip. To be called every 20 ms.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        mut heard: impl FnMut(u64, PcmFrame),
    ) -> Option<PcmFrame> {
        let mut sum: Option<Vec<f32>> = None;
        for (&user, playout) in &mut self.users {
            let mut samples = Vec::new();
            if !playout.tick(now, &mut samples) {
                continue;
            }
            match &mut sum {
                None => sum = Some(samples.clone()),
                Some(sum) => {
                    for (sum, sample) in sum.iter_mut().zip(&samples) {
                        *sum += sample;
                    }
                }
            }
            let channels = self.channels;
            heard(user, PcmFrame { channels, samples });
        }
        let mut samples = sum?;
        if let Ok(signals) = (&mut samples).try_into() {
            // Cannot fail: it only calls libopus, which returns nothing.
            let _ = self.clip.apply(signals);
        }
        let channels = self.channels;
        Some(PcmFrame { channels, samples })
    }
}

impl std::fmt::Debug for Mixdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mixdown")
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "playout_tests.rs"]
mod tests;
