//! Received frames put in order and decoded, at their pace, for one consumer.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::{
    AudioPacket, Sound,
    queue::{Consumer, Taken},
    shared::Shared,
};
use crate::{
    Id, JitterConfig, OpusFrame,
    audio::{JitterBuffer, JitterPacket, Playout},
    session::ReceivedFrame,
};
#[cfg(feature = "opus")]
use crate::{PcmFrame, audio::Mixdown};

const TICK: Duration = Duration::from_millis(20);
/// A consumer that comes later than this gets no burst for the time it missed: the beat begins anew.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Jitter buffers at a time; of more users, the silent ones make room, and whoever finds none is not heard.
const MAX_USERS: usize = 64;

pub(super) struct Playing {
    frames: Consumer<ReceivedFrame>,
    shared: Arc<Shared>,
    pub(super) stage: Stage,
    ready: VecDeque<Heard>,
    /// `None` while everyone is silent.
    next_tick: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    /// Frames of users for whom there was no room.
    pub(super) refused: u64,
}

/// There is no room for one more user.
struct Refused;

pub(super) enum Heard {
    Packet(AudioPacket),
    #[cfg(feature = "opus")]
    Mixed(PcmFrame),
}

pub(super) enum Stage {
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

impl Playing {
    pub(super) fn new(frames: Consumer<ReceivedFrame>, shared: Arc<Shared>, stage: Stage) -> Self {
        Self {
            frames,
            shared,
            stage,
            ready: VecDeque::new(),
            next_tick: None,
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            ended: false,
            refused: 0,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Heard>> {
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
                    match self.stage.push(frame) {
                        Ok(heard) => self.ready.extend(heard),
                        Err(Refused) => self.refused += 1,
                    }
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
    fn push(&mut self, frame: ReceivedFrame) -> Result<Option<Heard>, Refused> {
        let user = frame.user_id;
        match self {
            Self::Raw => return Ok(unordered(frame)),
            Self::Opus { users, config, .. } => {
                if users.len() >= MAX_USERS && !users.contains_key(&user) {
                    let idle = users.iter().find(|(_, buffer)| buffer.is_idle());
                    let idle = idle.map(|(user, _)| *user).ok_or(Refused)?;
                    users.remove(&idle);
                }
                users
                    .entry(user)
                    .or_insert_with(|| JitterBuffer::new(*config))
                    .push(packet(frame));
            }
            #[cfg(feature = "opus")]
            Self::Pcm { mixdown, .. } => {
                if !mixdown.push(user, packet(frame)) {
                    return Err(Refused);
                }
            }
        }
        Ok(None)
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

/// What is no Opus is of no use to anyone.
fn unordered(frame: ReceivedFrame) -> Option<Heard> {
    let sound = Sound::Opus {
        frame: OpusFrame::from_packet(frame.payload).ok()?,
        sequence: frame.sequence,
        timestamp: frame.timestamp,
    };
    let user_id = Id::new_checked(frame.user_id)?;
    Some(Heard::Packet(AudioPacket { user_id, sound }))
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
