//! A track, and the handle by which it is controlled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::audio::{
    Input,
    input::{samples_of, time_of},
};

/// Something to play, and how.
pub struct Track {
    pub(super) input: Box<dyn Input>,
    pub(super) shared: Arc<TrackShared>,
}

impl Track {
    /// Plays the input once, from where it is, at full volume.
    pub fn new(input: impl Input + 'static) -> Track {
        Track {
            shared: Arc::new(TrackShared {
                name: None,
                duration: input.duration(),
                wanted: AtomicU8::new(PLAY),
                state: AtomicU8::new(TrackState::Queued as u8),
                volume: AtomicU32::new(1f32.to_bits()),
                loops: AtomicU64::new(0),
                seek: AtomicU64::new(NO_SEEK),
                position: AtomicU64::new(0),
            }),
            input: Box::new(input),
        }
    }

    /// A name, for the application's own use.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Track {
        // Nobody else has the state before the track is given away.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.name = Some(name.into());
        }
        self
    }

    /// As [`TrackHandle::set_volume`].
    #[must_use]
    pub fn volume(self, volume: f32) -> Track {
        self.shared.set_volume(volume);
        self
    }

    /// As [`TrackHandle::set_repeat`].
    #[must_use]
    pub fn repeat(self, repeat: Repeat) -> Track {
        self.shared.loops.store(repeat.to_bits(), Ordering::Relaxed);
        self
    }

    /// Waits for [`TrackHandle::play`] when its turn has come.
    #[must_use]
    pub fn paused(self) -> Track {
        self.shared.wanted.store(PAUSE, Ordering::Relaxed);
        self
    }
}

impl std::fmt::Debug for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Track")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

/// What happens when a track has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// It is over.
    #[default]
    Off,
    /// It is played so many more times.
    Times(u32),
    /// It is played again and again.
    Forever,
}

impl Repeat {
    fn to_bits(self) -> u64 {
        match self {
            Repeat::Off => 0,
            Repeat::Times(times) => u64::from(times),
            Repeat::Forever => u64::MAX,
        }
    }

    fn from_bits(bits: u64) -> Repeat {
        match u32::try_from(bits) {
            Ok(0) => Repeat::Off,
            Ok(times) => Repeat::Times(times),
            Err(_) => Repeat::Forever,
        }
    }
}

/// Where a track is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TrackState {
    /// Its turn has not come.
    Queued,
    /// It sounds.
    Playing,
    /// It waits for [`TrackHandle::play`].
    Paused,
    /// It is over, for good.
    Ended,
}

/// Controls one track. Clones control the same track.
///
/// Orders take effect at the next 20 ms; none of them waits. Orders to a track that
/// has ended do nothing.
#[derive(Debug, Clone)]
pub struct TrackHandle {
    pub(super) shared: Arc<TrackShared>,
}

impl TrackHandle {
    /// The name given by [`Track::name`].
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Whether both handles control the same track.
    pub fn is(&self, other: &TrackHandle) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Goes on after a pause.
    pub fn play(&self) {
        self.shared.want(PLAY);
    }

    /// Falls silent and keeps the place.
    pub fn pause(&self) {
        self.shared.want(PAUSE);
    }

    /// Ends it.
    pub fn stop(&self) {
        self.shared.want(STOP);
    }

    /// Goes to a position: exact to the sample where the track is decoded, to the
    /// packet (mostly 20 ms) where Opus is passed through. Beyond the end, the track
    /// ends, or begins anew where it repeats. Inputs that cannot seek say so with
    /// [`TrackEventKind::Error`](crate::TrackEventKind::Error) and play on.
    pub fn seek(&self, position: Duration) {
        let samples = samples_of(position).min(NO_SEEK - 1);
        self.shared.seek.store(samples, Ordering::Relaxed);
    }

    /// 1.0 leaves it as it is, 0.5 is 6 dB less, 0.0 silence; values are brought into
    /// 0.0 to 4.0. The change is spread over 20 ms, without a click. An Opus track at
    /// other than 1.0 is decoded and encoded anew. Without the feature `opus`, the
    /// volume has no effect.
    pub fn set_volume(&self, volume: f32) {
        self.shared.set_volume(volume);
    }

    /// The volume set.
    pub fn volume(&self) -> f32 {
        self.shared.volume()
    }

    /// How often it is played again; takes the place of what was set before. The input
    /// has to be able to seek.
    pub fn set_repeat(&self, repeat: Repeat) {
        self.shared.loops.store(repeat.to_bits(), Ordering::Relaxed);
    }

    /// How often it will be played again.
    pub fn repeat(&self) -> Repeat {
        Repeat::from_bits(self.shared.loops.load(Ordering::Relaxed))
    }

    /// Where it is in its life.
    pub fn state(&self) -> TrackState {
        match self.shared.state.load(Ordering::Relaxed) {
            0 => TrackState::Queued,
            1 => TrackState::Playing,
            2 => TrackState::Paused,
            _ => TrackState::Ended,
        }
    }

    /// How far it has been played, from its start.
    pub fn position(&self) -> Duration {
        time_of(self.shared.position.load(Ordering::Relaxed))
    }

    /// How long it is, where the input knows.
    pub fn duration(&self) -> Option<Duration> {
        self.shared.duration
    }
}

pub(super) const PLAY: u8 = 0;
pub(super) const PAUSE: u8 = 1;
pub(super) const STOP: u8 = 2;
const NO_SEEK: u64 = u64::MAX;

/// What handle and player share: orders one way, state the other. Single values that
/// do not depend on one another, so `Relaxed` is enough.
#[derive(Debug)]
pub(super) struct TrackShared {
    name: Option<String>,
    duration: Option<Duration>,
    wanted: AtomicU8,
    state: AtomicU8,
    volume: AtomicU32,
    loops: AtomicU64,
    seek: AtomicU64,
    position: AtomicU64,
}

impl TrackShared {
    fn want(&self, wanted: u8) {
        // A stop is for good.
        let _ = self
            .wanted
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                (before != STOP).then_some(wanted)
            });
    }

    pub(super) fn wanted(&self) -> u8 {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(super) fn set_state(&self, state: TrackState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn set_volume(&self, volume: f32) {
        let volume = if volume.is_finite() { volume } else { 1.0 };
        self.volume
            .store(volume.clamp(0.0, 4.0).to_bits(), Ordering::Relaxed);
    }

    pub(super) fn volume(&self) -> f32 {
        f32::from_bits(self.volume.load(Ordering::Relaxed))
    }

    pub(super) fn take_seek(&self) -> Option<u64> {
        let seek = self.seek.swap(NO_SEEK, Ordering::Relaxed);
        (seek != NO_SEEK).then_some(seek)
    }

    /// Takes one of the repeats that are left.
    pub(super) fn take_repeat(&self) -> bool {
        self.loops
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
                0 => None,
                u64::MAX => Some(u64::MAX),
                _ => Some(left - 1),
            })
            .is_ok()
    }

    pub(super) fn set_position(&self, samples: u64) {
        self.position.store(samples, Ordering::Relaxed);
    }
}
