//! The others' audio on its way to one consumer: put in order and decoded on the consumer's own task.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

use super::{
    ReceiveMode,
    queue::{Consumer, Taken},
    shared::Shared,
};
#[cfg(feature = "opus")]
use crate::{Channels, PcmFrame, PlayoutStats, audio::Mixdown};
use crate::{
    Id, JitterConfig, JitterStats, OpusFrame, UserMarker,
    audio::{JitterBuffer, JitterPacket, Playout},
    session::ReceivedFrame,
};

const TICK: Duration = Duration::from_millis(20);
/// A consumer that comes later than this gets no burst for the time it missed: the beat begins anew.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Jitter buffers at a time; of more users, the silent ones make room, and whoever finds none is not heard.
const MAX_USERS: usize = 64;

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

struct Playing {
    frames: Consumer<ReceivedFrame>,
    shared: Arc<Shared>,
    stage: Stage,
    ready: VecDeque<Heard>,
    /// `None` while everyone is silent.
    next_tick: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    ended: bool,
}

enum Heard {
    Packet(AudioPacket),
    #[cfg(feature = "opus")]
    Mixed(PcmFrame),
}

enum Stage {
    Raw,
    Opus {
        config: JitterConfig,
        users: BTreeMap<u64, JitterBuffer>,
        playouts: Vec<Playout>,
    },
    #[cfg(feature = "opus")]
    Pcm {
        mixdown: Box<Mixdown>,
        mixed: bool,
    },
}

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

impl Playing {
    fn new(frames: Consumer<ReceivedFrame>, shared: Arc<Shared>, stage: Stage) -> Self {
        Self {
            frames,
            shared,
            stage,
            ready: VecDeque::new(),
            next_tick: None,
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            ended: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Heard>> {
        loop {
            if let Some(heard) = self.ready.pop_front() {
                return Poll::Ready(Some(heard));
            }
            let now = Instant::now();
            self.take_frames(cx, now);
            if !self.ready.is_empty() {
                continue;
            }
            let Some(due) = self.next_tick else {
                return if self.ended {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            };
            if due > now {
                if self.timer.deadline() != due {
                    self.timer.as_mut().reset(due);
                }
                if self.timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            self.tick(due.into_std());
            let next = due + TICK;
            self.next_tick = (!self.stage.is_idle()).then_some(if next + CATCH_UP < now {
                now + TICK
            } else {
                next
            });
        }
    }

    /// Takes what has come. Raw frames go one by one, so that what waits stays in the queue, which is bounded.
    fn take_frames(&mut self, cx: &mut Context<'_>, now: Instant) {
        while self.ready.is_empty() && !self.ended {
            match self.frames.poll_take(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Taken::Dropped(frames))) => self.shared.lagged(frames),
                Poll::Ready(Some(Taken::Entry(frame))) => {
                    self.ready.extend(self.stage.push(frame));
                    if self.next_tick.is_none() && !self.stage.is_idle() {
                        self.next_tick = Some(now);
                    }
                }
            }
        }
    }

    fn tick(&mut self, now: std::time::Instant) {
        let ready = &mut self.ready;
        match &mut self.stage {
            Stage::Raw => {}
            Stage::Opus {
                users, playouts, ..
            } => {
                for (user, buffer) in users {
                    buffer.tick(now, playouts);
                    ready.extend(
                        playouts
                            .drain(..)
                            .filter_map(|playout| ordered(*user, playout)),
                    );
                }
            }
            #[cfg(feature = "opus")]
            Stage::Pcm { mixdown, mixed } => {
                let sum = mixdown.tick(now, |user, frame| {
                    if !*mixed && let Some(user_id) = Id::new_checked(user) {
                        let sound = Sound::Pcm(frame);
                        ready.push_back(Heard::Packet(AudioPacket { user_id, sound }));
                    }
                });
                if *mixed {
                    ready.extend(sum.map(Heard::Mixed));
                }
            }
        }
    }
}

impl Stage {
    /// Raw frames come out again at once.
    fn push(&mut self, frame: ReceivedFrame) -> Option<Heard> {
        let user = frame.user_id;
        match self {
            Self::Raw => {
                return Some(Heard::Packet(AudioPacket {
                    user_id: Id::new_checked(user)?,
                    sound: Sound::Opus {
                        // What is no Opus is of no use to anyone.
                        frame: OpusFrame::from_packet(frame.payload).ok()?,
                        sequence: frame.sequence,
                        timestamp: frame.timestamp,
                    },
                }));
            }
            Self::Opus { users, config, .. } => {
                if users.len() >= MAX_USERS && !users.contains_key(&user) {
                    let idle = users.iter().find(|(_, buffer)| buffer.is_idle());
                    let idle = idle.map(|(user, _)| *user)?;
                    users.remove(&idle);
                }
                users
                    .entry(user)
                    .or_insert_with(|| JitterBuffer::new(*config))
                    .push(packet(frame));
            }
            #[cfg(feature = "opus")]
            Self::Pcm { mixdown, .. } => mixdown.push(user, packet(frame)),
        }
        None
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Raw => true,
            Self::Opus { users, .. } => users.values().all(JitterBuffer::is_idle),
            #[cfg(feature = "opus")]
            Self::Pcm { mixdown, .. } => mixdown.is_idle(),
        }
    }
}

fn packet(frame: ReceivedFrame) -> JitterPacket {
    JitterPacket {
        ssrc: frame.ssrc,
        sequence: frame.sequence,
        timestamp: frame.timestamp,
        payload: frame.payload,
        arrival: frame.received_at,
    }
}

fn ordered(user: u64, playout: Playout) -> Option<Heard> {
    let sound = match playout {
        Playout::Frame {
            sequence,
            timestamp,
            samples,
            payload,
            ..
        } => Sound::Opus {
            frame: OpusFrame {
                data: payload,
                samples,
            },
            sequence,
            timestamp,
        },
        Playout::Lost {
            sequence,
            samples,
            fec,
        } => Sound::Lost {
            sequence,
            samples,
            fec,
        },
        // Nothing is there and nothing is known to be missing: the consumer's own pace tells it so.
        Playout::Wait { .. } => return None,
    };
    let user_id = Id::new_checked(user)?;
    Some(Heard::Packet(AudioPacket { user_id, sound }))
}
