//! What the application holds of a player.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use super::{
    events::{EventQueue, TrackEvents},
    track::{STOP, Track, TrackHandle, TrackShared},
};
#[cfg(feature = "opus")]
use crate::audio::EncoderConfig;

/// So many tracks play at once.
pub(super) const MAX_PLAYING: usize = 32;
/// So many tracks wait in the queue.
const MAX_QUEUED: usize = 1024;

/// Gives a [`Player`](crate::Player) its tracks. Clones serve the same player.
///
/// The player stays, silent, while there is a handle; when the last one is dropped it
/// plays what it has and ends.
#[derive(Debug, Clone)]
pub struct PlayerHandle {
    pub(super) shared: Arc<PlayerShared>,
    /// Tells the player that there is a handle.
    pub(super) _alive: Arc<()>,
}

/// The player has no room for another track: 32 play at once, 1024 wait. Stop some, or
/// come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the player has no room for another track")]
pub struct PlayerFull;

impl PlayerHandle {
    /// Plays a track at once, mixed with whatever plays. (Without the feature `opus`
    /// there is no mixing: of several tracks the latest is heard, and the others wait.)
    ///
    /// # Errors
    ///
    /// 32 tracks play already.
    pub fn play(&self, track: Track) -> Result<TrackHandle, PlayerFull> {
        let mut lists = self.shared.lists();
        if lists.starting.len() + lists.playing.len() >= MAX_PLAYING {
            return Err(PlayerFull);
        }
        let handle = TrackHandle {
            shared: Arc::clone(&track.shared),
        };
        lists.starting.push_back(track);
        Ok(handle)
    }

    /// Plays a track when those queued before it are over.
    ///
    /// # Errors
    ///
    /// 1024 tracks wait already.
    pub fn enqueue(&self, track: Track) -> Result<TrackHandle, PlayerFull> {
        let mut lists = self.shared.lists();
        if lists.queue.len() >= MAX_QUEUED {
            return Err(PlayerFull);
        }
        let handle = TrackHandle {
            shared: Arc::clone(&track.shared),
        };
        lists.queue.push_back(track);
        Ok(handle)
    }

    /// Ends the queue's track that plays; the next one follows.
    pub fn skip(&self) {
        if let Some(current) = &self.shared.lists().current {
            stop(current);
        }
    }

    /// Empties the queue. The track that plays goes on.
    pub fn clear_queue(&self) {
        // The player takes them out, and says so in its events.
        for track in &self.shared.lists().queue {
            stop(&track.shared);
        }
    }

    /// Ends all tracks and empties the queue.
    pub fn stop_all(&self) {
        let lists = self.shared.lists();
        let waiting = lists.queue.iter().chain(&lists.starting);
        for shared in waiting.map(|track| &track.shared).chain(&lists.playing) {
            stop(shared);
        }
    }

    /// The queue's track that plays, if one does.
    pub fn current(&self) -> Option<TrackHandle> {
        let lists = self.shared.lists();
        let shared = lists.current.clone()?;
        Some(TrackHandle { shared })
    }

    /// The tracks that wait, in order.
    pub fn queue(&self) -> Vec<TrackHandle> {
        let lists = self.shared.lists();
        let waiting = lists.queue.iter().map(|track| &track.shared);
        waiting
            .filter(|shared| shared.wanted() != STOP)
            .map(|shared| TrackHandle {
                shared: Arc::clone(shared),
            })
            .collect()
    }

    /// All tracks that play or are paused, the queue's among them, in the order they
    /// were started.
    pub fn tracks(&self) -> Vec<TrackHandle> {
        let lists = self.shared.lists();
        let starting = lists.starting.iter().map(|track| &track.shared);
        let all = lists.playing.iter().chain(starting);
        all.map(|shared| TrackHandle {
            shared: Arc::clone(shared),
        })
        .collect()
    }

    /// Changes the encoder's settings from the next 20 ms on.
    #[cfg(feature = "opus")]
    pub fn set_encoder(&self, config: EncoderConfig) {
        self.shared.lists().encoder = Some(config);
    }

    /// What happens to the tracks.
    pub fn events(&self) -> TrackEvents {
        TrackEvents {
            queue: Arc::clone(&self.shared.events),
        }
    }
}

fn stop(shared: &Arc<TrackShared>) {
    TrackHandle {
        shared: Arc::clone(shared),
    }
    .stop();
}

#[derive(Debug, Default)]
pub(super) struct PlayerShared {
    lists: Mutex<Lists>,
    pub(super) events: Arc<EventQueue>,
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    /// To be played at once.
    pub(super) starting: VecDeque<Track>,
    pub(super) queue: VecDeque<Track>,
    /// What the player has, as it last told.
    pub(super) playing: Vec<Arc<TrackShared>>,
    pub(super) current: Option<Arc<TrackShared>>,
    #[cfg(feature = "opus")]
    pub(super) encoder: Option<EncoderConfig>,
}

impl PlayerShared {
    pub(super) fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the player, which never waits.
    pub(super) fn try_lists(&self) -> Option<MutexGuard<'_, Lists>> {
        match self.lists.try_lock() {
            Ok(lists) => Some(lists),
            Err(std::sync::TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}
