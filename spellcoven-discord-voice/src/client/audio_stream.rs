//! The others' audio on its way to one consumer: put in order and decoded on the consumer's own task.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;

use super::{
    ReceiveMode,
    playing::{Heard, Playing, Stage},
    queue::Consumer,
    shared::Shared,
};
#[cfg(feature = "opus")]
use crate::{Channels, PcmFrame, PlayoutStats, audio::Mixdown};
use crate::{Id, JitterStats, OpusFrame, UserMarker, session::ReceivedFrame};

/// A piece of someone's audio.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AudioPacket {
    /// Whose.
    pub user_id: Id<UserMarker>,
    /// What.
    pub sound: Sound,
}

/// What is heard of someone.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Sound {
    /// An Opus frame, with [`ReceiveMode::Raw`] and [`ReceiveMode::Opus`].
    Opus {
        /// The frame.
        frame: OpusFrame,
        /// The number of its packet, which rises by one with each packet of this sender and does not wrap.
        sequence: u64,
        /// Its place in time, in samples at 48 kHz; wraps at 2^32, and stands still or goes on in pauses, as the sender
        /// likes.
        timestamp: u32,
    },
    /// With [`ReceiveMode::Opus`]: a frame that did not come in time.
    Lost {
        /// The number of its packet.
        sequence: u64,
        /// How long it would have sounded, in samples at 48 kHz.
        samples: u32,
        /// The next packet, where it holds a coarse copy of the lost one (in-band FEC): decode it with FEC in place of
        /// the lost one. It comes itself, too.
        fec: Option<Bytes>,
    },
    /// 20 ms of decoded stereo, with [`ReceiveMode::Pcm`].
    #[cfg(feature = "opus")]
    Pcm(PcmFrame),
}

impl AudioPacket {
    /// The Opus frame, if it is one.
    pub fn opus(&self) -> Option<&OpusFrame> {
        match &self.sound {
            Sound::Opus { frame, .. } => Some(frame),
            _ => None,
        }
    }

    /// The decoded samples, if it is such.
    #[cfg(feature = "opus")]
    pub fn pcm(&self) -> Option<&PcmFrame> {
        match &self.sound {
            Sound::Pcm(frame) => Some(frame),
            _ => None,
        }
    }
}

/// The others' audio, made by [`DiscordRtcClient::audio`](crate::DiscordRtcClient::audio). It ends with the client.
///
/// Ordering and decoding run in this stream's `poll_next`, so on the task that reads it: about 50 µs for each user and
/// 20 ms that is decoded. At most 64 users are put in order at a time.
pub struct AudioStream(Playing);

/// All others' audio decoded and mixed into one, made by
/// [`DiscordRtcClient::mixed_audio`](crate::DiscordRtcClient::mixed_audio): 20 ms of stereo at a time, and nothing while
/// nobody talks. It ends with the client. As with [`AudioStream`], the work is done on the task that reads it.
#[cfg(feature = "opus")]
pub struct MixedAudioStream(Playing);

impl AudioStream {
    /// Must be called within a runtime.
    pub(super) fn new(frames: Consumer<ReceivedFrame>, shared: Arc<Shared>) -> Self {
        let stage = match shared.settings.receive {
            ReceiveMode::Off | ReceiveMode::Raw => Stage::Raw,
            ReceiveMode::Opus => Stage::Opus {
                config: shared.settings.jitter,
                users: BTreeMap::new(),
                playouts: Vec::new(),
            },
            #[cfg(feature = "opus")]
            ReceiveMode::Pcm => Stage::Pcm {
                mixdown: Box::new(Mixdown::new(shared.settings.jitter, Channels::Stereo)),
                mixed: false,
            },
        };
        Self(Playing::new(frames, shared, stage))
    }

    /// The next piece; `None` when the client has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<AudioPacket> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// What this stream's jitter buffer has seen of a user; `None` of those it does not know, and with
    /// [`ReceiveMode::Raw`].
    pub fn jitter_stats(&self, user_id: Id<UserMarker>) -> Option<JitterStats> {
        match &self.0.stage {
            Stage::Raw => None,
            Stage::Opus { users, .. } => Some(users.get(&user_id.get())?.stats()),
            #[cfg(feature = "opus")]
            Stage::Pcm { .. } => Some(self.playout_stats(user_id)?.jitter),
        }
    }

    /// Frames that were not put in order, because 64 users were being heard already.
    pub fn refused_frames(&self) -> u64 {
        self.0.refused
    }

    /// What became of a user's audio; `None` of those it does not know, and without [`ReceiveMode::Pcm`].
    #[cfg(feature = "opus")]
    pub fn playout_stats(&self, user_id: Id<UserMarker>) -> Option<PlayoutStats> {
        match &self.0.stage {
            Stage::Pcm { mixdown, .. } => mixdown
                .stats()
                .find_map(|(user, stats)| (user == user_id.get()).then_some(stats)),
            _ => None,
        }
    }
}

impl Stream for AudioStream {
    type Item = AudioPacket;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AudioPacket>> {
        self.0.poll(cx).map(|heard| match heard? {
            Heard::Packet(packet) => Some(packet),
            // Such a stage is not in here.
            #[cfg(feature = "opus")]
            Heard::Mixed(_) => None,
        })
    }
}

impl fmt::Debug for AudioStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioStream").finish_non_exhaustive()
    }
}

#[cfg(feature = "opus")]
impl MixedAudioStream {
    /// Must be called within a runtime.
    pub(super) fn new(frames: Consumer<ReceivedFrame>, shared: Arc<Shared>) -> Self {
        let stage = Stage::Pcm {
            mixdown: Box::new(Mixdown::new(shared.settings.jitter, Channels::Stereo)),
            mixed: true,
        };
        Self(Playing::new(frames, shared, stage))
    }

    /// The next 20 ms in which somebody is heard; `None` when the client has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<PcmFrame> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

#[cfg(feature = "opus")]
impl Stream for MixedAudioStream {
    type Item = PcmFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PcmFrame>> {
        self.0.poll(cx).map(|heard| match heard? {
            Heard::Mixed(frame) => Some(frame),
            // Such a stage is not in here.
            Heard::Packet(_) => None,
        })
    }
}

#[cfg(feature = "opus")]
impl fmt::Debug for MixedAudioStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MixedAudioStream").finish_non_exhaustive()
    }
}
