//! Tracks, a queue, and the player that turns them into one stream.

mod events;
mod handle;
#[cfg(feature = "opus")]
mod mix;
mod playing;
mod track;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

pub use events::{TrackEnd, TrackEvent, TrackEventKind, TrackEvents};
pub use handle::{PlayerFull, PlayerHandle};
pub use track::{Repeat, Track, TrackHandle, TrackState};

use self::{
    handle::PlayerShared,
    playing::{Playing, Turn},
    track::{PAUSE, STOP, TrackShared},
};
#[cfg(feature = "opus")]
use crate::audio::EncoderConfig;
use crate::audio::{AudioSource, InputError, NextFrame};

/// Plays tracks: mixes those that sound together, and plays the queue's one after the
/// other.
///
/// Where exactly one track sounds, its input is Opus, and its volume and gain are 1.0,
/// its packets are passed on untouched: no decoding, no encoding, no loss. Otherwise the
/// tracks are decoded and added up at 48 kHz, the sum is brought within full scale by
/// libopus's soft clip (`opus_pcm_soft_clip`, which bends only what lies beyond ±1.0 and
/// is linear elsewhere), and encoded in frames of 20 ms.
///
/// An [`AudioSource`] that never waits: orders come through values that it looks at each
/// 20 ms; where the application is just changing a list, the change counts 20 ms later.
/// Gives [`NextFrame::Idle`] while nothing sounds, and [`NextFrame::End`] when nothing is
/// left to play and all [`PlayerHandle`]s are gone.
pub struct Player {
    shared: Arc<PlayerShared>,
    handles: Weak<()>,
    playing: Vec<Playing>,
    events: VecDeque<TrackEvent>,
    /// Tracks were added or are over since the lists were last brought up to date.
    changed: bool,
    #[cfg(feature = "opus")]
    mixer: mix::Mixer,
    /// The last frame was encoded here.
    #[cfg(feature = "opus")]
    encoding: bool,
}

impl Player {
    /// A player that encodes with these settings, and the handle that gives it tracks.
    #[cfg(feature = "opus")]
    pub fn new(config: EncoderConfig) -> (Player, PlayerHandle) {
        Player::build(|shared, handles| Player {
            shared,
            handles,
            playing: Vec::new(),
            events: VecDeque::new(),
            changed: false,
            mixer: mix::Mixer::new(config),
            encoding: false,
        })
    }

    /// A player of Opus, and the handle that gives it tracks.
    #[cfg(not(feature = "opus"))]
    pub fn passthrough() -> (Player, PlayerHandle) {
        Player::build(|shared, handles| Player {
            shared,
            handles,
            playing: Vec::new(),
            events: VecDeque::new(),
            changed: false,
        })
    }

    fn build(make: impl FnOnce(Arc<PlayerShared>, Weak<()>) -> Player) -> (Player, PlayerHandle) {
        let shared = Arc::new(PlayerShared::default());
        let alive = Arc::new(());
        let player = make(Arc::clone(&shared), Arc::downgrade(&alive));
        let handle = PlayerHandle {
            shared,
            _alive: alive,
        };
        (player, handle)
    }

    fn tell(&mut self, shared: &Arc<TrackShared>, kind: TrackEventKind) {
        let track = TrackHandle {
            shared: Arc::clone(shared),
        };
        self.events.push_back(TrackEvent { track, kind });
    }

    /// Takes what is new from the handles. False where that had to be put off.
    fn admit(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(mut lists) = shared.try_lists() else {
            return false;
        };
        #[cfg(feature = "opus")]
        if let Some(config) = lists.encoder.take() {
            self.mixer.configure(config);
        }
        while let Some(track) = lists.starting.pop_front() {
            self.start(track, false);
        }
        let mut index = 0;
        while let Some(track) = lists.queue.get(index) {
            if track.shared.wanted() != STOP {
                index += 1;
            } else if let Some(track) = lists.queue.remove(index) {
                track.shared.set_state(TrackState::Ended);
                let reason = TrackEnd::Stopped;
                self.tell(&track.shared, TrackEventKind::Ended { reason });
            }
        }
        if !self.playing.iter().any(|track| track.queued)
            && let Some(track) = lists.queue.pop_front()
        {
            self.start(track, true);
        }
        if self.changed {
            self.changed = false;
            lists.playing.clear();
            let all = self.playing.iter().map(|track| Arc::clone(&track.shared));
            lists.playing.extend(all);
            let current = self.playing.iter().find(|track| track.queued);
            lists.current = current.map(|track| Arc::clone(&track.shared));
        }
        true
    }

    fn start(&mut self, track: Track, queued: bool) {
        track.shared.set_state(TrackState::Playing);
        self.tell(&track.shared, TrackEventKind::Started);
        self.playing.push(Playing::new(track, queued));
        self.changed = true;
    }

    fn end(&mut self, index: usize, reason: TrackEnd) {
        let track = self.playing.remove(index);
        track.shared.set_state(TrackState::Ended);
        self.tell(&track.shared, TrackEventKind::Ended { reason });
        self.changed = true;
    }

    fn fail(&mut self, index: usize, error: InputError) {
        let Some(track) = self.playing.get(index) else {
            return;
        };
        let shared = Arc::clone(&track.shared);
        let error = Arc::new(error);
        self.tell(&shared, TrackEventKind::Error { error });
        self.end(index, TrackEnd::Failed);
    }

    /// Does what the handles of the tracks ask for.
    fn obey(&mut self) {
        let mut index = 0;
        while let Some(track) = self.playing.get_mut(index) {
            let shared = Arc::clone(&track.shared);
            let wanted = shared.wanted();
            if wanted == STOP {
                self.end(index, TrackEnd::Stopped);
                continue;
            }
            if let Some(position) = shared.take_seek()
                && let Err(error) = track.seek(position)
            {
                if !matches!(error, InputError::Unseekable) {
                    self.fail(index, error);
                    continue;
                }
                let error = Arc::new(error);
                self.tell(&shared, TrackEventKind::Error { error });
            }
            let pause = wanted == PAUSE;
            if let Some(track) = self.playing.get_mut(index)
                && track.paused != pause
            {
                track.paused = pause;
                let (state, kind) = if pause {
                    (TrackState::Paused, TrackEventKind::Paused)
                } else {
                    (TrackState::Playing, TrackEventKind::Resumed)
                };
                shared.set_state(state);
                self.tell(&shared, kind);
            }
            index += 1;
        }
    }

    /// A track's turn has brought this. True where the track is still there.
    fn after_turn(&mut self, index: usize, looped: bool, turn: &Result<Turn, InputError>) -> bool {
        if looped && let Some(track) = self.playing.get(index) {
            let shared = Arc::clone(&track.shared);
            self.tell(&shared, TrackEventKind::Looped);
        }
        match turn {
            Ok(Turn::End) => {
                self.end(index, TrackEnd::Finished);
                false
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }

    /// The next packet of the only track that sounds, if it can be passed on.
    fn pass(&mut self, index: usize) -> Option<NextFrame> {
        let track = self.playing.get_mut(index)?;
        #[cfg(feature = "opus")]
        if track.shared.volume() != 1.0
            || track.gain != 1.0
            || track.ready() >= crate::audio::FRAME_SAMPLES
        {
            return None;
        }
        let mut looped = false;
        let turn = track.pass(&mut looped);
        // What is left of the last packet decoded still has to be heard.
        let drained = track.is_over();
        if matches!(turn, Ok(Turn::End)) && !drained {
            return None;
        }
        self.after_turn(index, looped, &turn);
        match turn {
            Ok(Turn::Packet(frame)) => Some(NextFrame::Frame(frame)),
            Ok(Turn::Mix) => None,
            Ok(Turn::Starved | Turn::End) => Some(NextFrame::Idle),
            Err(error) => {
                self.fail(index, error);
                Some(NextFrame::Idle)
            }
        }
    }

    #[cfg(feature = "opus")]
    fn mix(&mut self) -> NextFrame {
        if !self.encoding {
            self.encoding = true;
            self.mixer.interrupted();
        }
        self.mixer.begin();
        let mut index = 0;
        while let Some(track) = self.playing.get_mut(index) {
            if track.paused {
                index += 1;
                continue;
            }
            let mut looped = false;
            let turn = self.mixer.add(track, &mut looped);
            let over = matches!(turn, Ok(Turn::Mix)) && track.is_over();
            let mut stays = self.after_turn(index, looped, &turn);
            if let Err(error) = turn {
                self.fail(index, error);
            } else if over {
                self.end(index, TrackEnd::Finished);
                stays = false;
            }
            index += usize::from(stays);
        }
        match self.mixer.finish() {
            Ok(Some(frame)) => NextFrame::Frame(frame),
            Ok(None) => NextFrame::Idle,
            Err(error) => {
                tracing::warn!(%error, "20 ms could not be encoded");
                NextFrame::Idle
            }
        }
    }

    fn turn(&mut self) -> NextFrame {
        // A track that ends leaves its 20 ms to the next one.
        for _ in 0..4 {
            let admitted = self.admit();
            self.obey();
            let mut sounding = self.playing.iter().enumerate().filter(|(_, t)| !t.paused);
            let last = sounding.next_back().map(|(index, _)| index);
            let several = sounding.next().is_some();
            let Some(index) = last else {
                let idle = self.playing.is_empty() && admitted && !self.changed;
                if idle && self.handles.strong_count() == 0 {
                    return NextFrame::End;
                }
                if !self.changed {
                    return NextFrame::Idle;
                }
                continue;
            };
            let mut frame = None;
            if !several || cfg!(not(feature = "opus")) {
                frame = self.pass(index);
            }
            #[cfg(feature = "opus")]
            let frame = match frame {
                Some(frame) => {
                    self.encoding = false;
                    frame
                }
                None => self.mix(),
            };
            #[cfg(not(feature = "opus"))]
            let frame = frame.unwrap_or(NextFrame::Idle);
            if frame != NextFrame::Idle || !self.changed {
                return frame;
            }
        }
        NextFrame::Idle
    }
}

impl AudioSource for Player {
    fn next_frame(&mut self) -> NextFrame {
        let frame = self.turn();
        self.shared.events.offer(&mut self.events);
        frame
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        while !self.playing.is_empty() {
            self.end(0, TrackEnd::Stopped);
        }
        let waiting: Vec<Track> = {
            let mut lists = self.shared.lists();
            lists.playing.clear();
            lists.current = None;
            let mut waiting: Vec<Track> = lists.starting.drain(..).collect();
            waiting.extend(lists.queue.drain(..));
            waiting
        };
        for track in waiting {
            track.shared.set_state(TrackState::Ended);
            let reason = TrackEnd::Stopped;
            self.tell(&track.shared, TrackEventKind::Ended { reason });
        }
        self.shared.events.close(&mut self.events);
    }
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Player")
            .field("playing", &self.playing.len())
            .finish_non_exhaustive()
    }
}
