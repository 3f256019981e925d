//! Audio pushed into a call: a sink on one side, a source on the other.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, task::AtomicWaker};
use thiserror::Error;

use crate::{AudioSource, NextFrame, OpusFrame};

const SAMPLES_PER_SECOND: u64 = 48_000;
/// The least room of a sink: one frame of 20 ms.
const LEAST: u64 = 960;

pub(super) fn audio_sink(buffer: Duration) -> (AudioSink, SinkSource) {
    let limit =
        u64::try_from(buffer.as_micros()).unwrap_or(u64::MAX) / 1000 * (SAMPLES_PER_SECOND / 1000);
    let shared = Arc::new(Shared {
        state: Mutex::new(State::default()),
        waker: AtomicWaker::new(),
        limit: limit.max(LEAST),
    });
    (AudioSink(Arc::clone(&shared)), SinkSource(shared))
}

/// Takes Opus frames for a call, as a [`Sink`]. Made by
/// [`DiscordRtcClient::audio_sink`](crate::DiscordRtcClient::audio_sink).
///
/// At most 500 ms of audio wait in it (the builder's
/// [`sink_buffer`](crate::DiscordRtcClientBuilder::sink_buffer)); then it is not ready until the call has sent some.
/// When it runs dry the call ends the talk with silence frames, and goes on with the next frame. Frames wait while the
/// call is being joined or reconnected.
///
/// Flushing waits until the call has taken every frame, closing says that no more come and flushes. Dropping it says
/// so too: what waits is still sent.
pub struct AudioSink(Arc<Shared>);

/// The other end, which the call plays.
pub(super) struct SinkSource(Arc<Shared>);

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Another source took this one's place, the client is gone, or the sink was closed. Frames that waited are lost,
    /// but for a sink that was closed.
    #[error(
        "the call takes no more frames from this sink: it plays something else, or the client is gone"
    )]
    Closed,
    /// The sink was not asked whether it is ready, and is not.
    #[error("the sink is full: await readiness before each frame")]
    Full,
}

struct Shared {
    state: Mutex<State>,
    waker: AtomicWaker,
    /// In samples per channel.
    limit: u64,
}

#[derive(Default)]
struct State {
    frames: VecDeque<OpusFrame>,
    samples: u64,
    no_more: bool,
    source_gone: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.waker.register(cx.waker());
        let state = self.lock();
        if state.frames.is_empty() {
            Poll::Ready(Ok(()))
        } else if state.source_gone {
            Poll::Ready(Err(SinkError::Closed))
        } else {
            Poll::Pending
        }
    }
}

impl fmt::Debug for AudioSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioSink")
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

impl AudioSink {
    /// How much audio waits.
    pub fn buffered(&self) -> Duration {
        Duration::from_micros(self.0.lock().samples * 1_000_000 / SAMPLES_PER_SECOND)
    }

    /// Throws away what waits: for an interruption. Gives how much it was.
    pub fn clear(&mut self) -> Duration {
        let buffered = self.buffered();
        let mut state = self.0.lock();
        state.samples = 0;
        state.frames.clear();
        buffered
    }
}

impl Sink<OpusFrame> for AudioSink {
    type Error = SinkError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        // Registered before the look, so that no frame is taken between the two.
        self.0.waker.register(cx.waker());
        let state = self.0.lock();
        if state.source_gone || state.no_more {
            Poll::Ready(Err(SinkError::Closed))
        } else if state.samples < self.0.limit {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn start_send(self: Pin<&mut Self>, frame: OpusFrame) -> Result<(), SinkError> {
        let mut state = self.0.lock();
        // A caller that asked whether there is room is over the limit by one frame at most; one that did not is told.
        if state.source_gone || state.no_more {
            return Err(SinkError::Closed);
        }
        if state.samples >= self.0.limit {
            return Err(SinkError::Full);
        }
        // A frame of no length would have no bound.
        state.samples += u64::from(frame.samples.max(120));
        state.frames.push_back(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.0.poll_empty(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.0.lock().no_more = true;
        self.0.poll_empty(cx)
    }
}

impl Drop for AudioSink {
    fn drop(&mut self) {
        self.0.lock().no_more = true;
    }
}

impl AudioSource for SinkSource {
    fn next_frame(&mut self) -> NextFrame {
        let mut state = self.0.lock();
        let Some(frame) = state.frames.pop_front() else {
            return if state.no_more {
                NextFrame::End
            } else {
                NextFrame::Idle
            };
        };
        state.samples = state
            .samples
            .saturating_sub(u64::from(frame.samples.max(120)));
        drop(state);
        self.0.waker.wake();
        NextFrame::Frame(frame)
    }
}

impl Drop for SinkSource {
    fn drop(&mut self) {
        self.0.lock().source_gone = true;
        self.0.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::FutureExt as _;

    use super::*;

    fn ready(sink: &mut AudioSink) -> Poll<Result<(), SinkError>> {
        Pin::new(sink).poll_ready(&mut Context::from_waker(Waker::noop()))
    }

    fn send(sink: &mut AudioSink) -> Result<(), SinkError> {
        Pin::new(sink).start_send(OpusFrame::SILENCE)
    }

    #[test]
    fn half_a_second_waits_and_then_the_sink_is_not_ready() {
        let (mut sink, mut source) = audio_sink(Duration::from_millis(500));
        for _ in 0..25 {
            assert_eq!(ready(&mut sink), Poll::Ready(Ok(())));
            send(&mut sink).unwrap();
        }
        assert_eq!(sink.buffered(), Duration::from_millis(500));
        assert_eq!(ready(&mut sink), Poll::Pending);
        assert_eq!(send(&mut sink), Err(SinkError::Full));
        assert!(matches!(source.next_frame(), NextFrame::Frame(_)));
        assert_eq!(ready(&mut sink), Poll::Ready(Ok(())));
    }

    #[test]
    fn dry_is_idle_and_closed_is_the_end() {
        let (mut sink, mut source) = audio_sink(Duration::from_millis(500));
        assert_eq!(source.next_frame(), NextFrame::Idle);
        send(&mut sink).unwrap();
        let close = futures_util::SinkExt::<OpusFrame>::close(&mut sink).now_or_never();
        assert_eq!(close, None, "a frame waits");
        assert_eq!(ready(&mut sink), Poll::Ready(Err(SinkError::Closed)));
        assert!(matches!(source.next_frame(), NextFrame::Frame(_)));
        assert_eq!(source.next_frame(), NextFrame::End);
    }

    #[test]
    fn a_source_that_is_gone_closes_the_sink() {
        let (mut sink, source) = audio_sink(Duration::ZERO);
        send(&mut sink).unwrap();
        drop(source);
        assert_eq!(ready(&mut sink), Poll::Ready(Err(SinkError::Closed)));
        let flush = futures_util::SinkExt::<OpusFrame>::flush(&mut sink).now_or_never();
        assert_eq!(flush, Some(Err(SinkError::Closed)));
    }
}
