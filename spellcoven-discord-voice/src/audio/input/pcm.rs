//! PCM that the application makes while it plays.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use thiserror::Error;

use super::samples_of;
use crate::audio::{Channels, FRAME_SAMPLES, Input, InputError, Produced, pcm::from_i16};

/// PCM at 48 kHz from a [`PcmWriter`], through a buffer of bounded length.
///
/// While less than 20 ms are in the buffer, the track is silent and waits. When the
/// writer is dropped, the rest is played and the track ends.
#[derive(Debug)]
pub struct PcmInput {
    shared: Arc<Shared>,
}

/// The end that the application writes to.
#[derive(Debug)]
pub struct PcmWriter {
    shared: Arc<Shared>,
    channels: Channels,
}

/// Nobody plays what is written: the track ended or was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("nobody plays this PCM any more")]
pub struct WriterClosed;

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    room: AtomicWaker,
}

#[derive(Debug)]
struct Ring {
    /// Interleaved stereo.
    samples: VecDeque<f32>,
    capacity: usize,
    writer_gone: bool,
    reader_gone: bool,
}

impl Shared {
    /// Held only to copy, so that neither side waits longer than that.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PcmInput {
    /// A writer for one channel or two, and what plays it. `buffer` is how much the
    /// writer may be ahead: 40 ms to 10 s; beyond these it is brought into range.
    pub fn new(channels: Channels, buffer: Duration) -> (PcmWriter, PcmInput) {
        let buffer = buffer.clamp(Duration::from_millis(40), Duration::from_secs(10));
        let capacity = 2 * usize::try_from(samples_of(buffer)).unwrap_or(0);
        let shared = Arc::new(Shared {
            ring: Mutex::new(Ring {
                samples: VecDeque::with_capacity(capacity),
                capacity,
                writer_gone: false,
                reader_gone: false,
            }),
            room: AtomicWaker::new(),
        });
        let writer = PcmWriter {
            shared: Arc::clone(&shared),
            channels,
        };
        (writer, PcmInput { shared })
    }
}

impl PcmWriter {
    /// Writes as many samples as there is room for (in whole sets of channels) and
    /// says how many values of `samples` that were.
    ///
    /// # Errors
    ///
    /// The track is gone.
    pub fn try_write(&mut self, samples: &[f32]) -> Result<usize, WriterClosed> {
        self.put(
            samples,
            |sample| if sample.is_finite() { sample } else { 0.0 },
        )
    }

    /// [`PcmWriter::try_write`] for 16-bit integers.
    ///
    /// # Errors
    ///
    /// The track is gone.
    pub fn try_write_i16(&mut self, samples: &[i16]) -> Result<usize, WriterClosed> {
        self.put(samples, from_i16)
    }

    /// Writes all samples, waiting for room. What is left over of a set of channels
    /// at the end is dropped.
    ///
    /// # Errors
    ///
    /// The track is gone.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped half-way, part of the samples is written.
    pub async fn write(&mut self, samples: &[f32]) -> Result<(), WriterClosed> {
        let whole = samples.len() - samples.len() % self.channels.count();
        let mut rest = samples.get(..whole).unwrap_or_default();
        while !rest.is_empty() {
            let written = poll_fn(|context| self.poll_write(context, rest)).await?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        samples: &[f32],
    ) -> Poll<Result<usize, WriterClosed>> {
        self.shared.room.register(context.waker());
        match self.try_write(samples) {
            Ok(0) => Poll::Pending,
            other => Poll::Ready(other),
        }
    }

    fn put<T: Copy>(
        &mut self,
        samples: &[T],
        convert: impl Fn(T) -> f32,
    ) -> Result<usize, WriterClosed> {
        let mut ring = self.shared.ring();
        if ring.reader_gone {
            return Err(WriterClosed);
        }
        let channels = self.channels.count();
        let room = (ring.capacity - ring.samples.len()) / 2;
        let sets = room.min(samples.len() / channels);
        let taken = samples.get(..sets * channels).unwrap_or_default();
        match self.channels {
            Channels::Stereo => ring.samples.extend(taken.iter().map(|&s| convert(s))),
            Channels::Mono => ring
                .samples
                .extend(taken.iter().flat_map(|&s| [convert(s); 2])),
        }
        Ok(taken.len())
    }
}

impl Drop for PcmWriter {
    fn drop(&mut self) {
        self.shared.ring().writer_gone = true;
    }
}

impl Drop for PcmInput {
    fn drop(&mut self) {
        self.shared.ring().reader_gone = true;
        self.shared.room.wake();
    }
}

impl Input for PcmInput {
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<Produced, InputError> {
        let mut ring = self.shared.ring();
        let ready = ring.samples.len();
        if ready < 2 * FRAME_SAMPLES && !ring.writer_gone {
            return Ok(Produced::Starved);
        }
        if ready == 0 {
            return Ok(Produced::End);
        }
        pcm.extend(ring.samples.drain(..ready.min(2 * FRAME_SAMPLES)));
        drop(ring);
        self.shared.room.wake();
        Ok(Produced::Pcm)
    }
}
