//! A line that can be bad: silent, slow, or broken after so many bytes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How often a slow line takes bytes.
const TICK: Duration = Duration::from_millis(50);
const TICKS_PER_SECOND: u32 = 20;

#[derive(Debug, Default)]
struct State {
    silent: bool,
    /// Bytes in a second.
    pace: Option<u32>,
    /// Bytes until the line breaks.
    left: Option<usize>,
}

/// The rules of a line, for the side that sends on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Arc<Mutex<State>>);

impl Rules {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing goes out, and nothing that comes in is seen but its end.
    pub(super) fn hush(&self) {
        self.lock().silent = true;
    }

    pub(super) fn set_pace(&self, bytes_per_second: Option<u32>) {
        self.lock().pace = bytes_per_second;
    }

    /// The line breaks after so many bytes more.
    pub(super) fn stop_after(&self, bytes: usize) {
        self.lock().left = Some(bytes);
    }
}

#[derive(Debug)]
pub(super) struct Line<T> {
    io: T,
    rules: Rules,
    /// The next tick of a slow line.
    wait: Option<Pin<Box<Sleep>>>,
}

impl<T> Line<T> {
    pub(super) fn new(io: T) -> (Self, Rules) {
        let rules = Rules::default();
        let line = Self {
            io,
            rules: rules.clone(),
            wait: None,
        };
        (line, rules)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Line<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let before = out.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, out))?;
            if out.filled().len() == before || !this.rules.lock().silent {
                return Poll::Ready(Ok(()));
            }
            out.set_filled(before);
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Line<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let (silent, pace, left) = {
            let state = this.rules.lock();
            (state.silent, state.pace, state.left)
        };
        if silent {
            return Poll::Ready(Ok(bytes.len()));
        }
        let mut most = bytes.len();
        if let Some(left) = left {
            if left == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            most = most.min(left);
        }
        if let Some(pace) = pace {
            if let Some(wait) = &mut this.wait {
                ready!(wait.as_mut().poll(cx));
            }
            let tick = (pace / TICKS_PER_SECOND).max(1);
            most = most.min(usize::try_from(tick).unwrap_or(usize::MAX));
        }
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, &bytes[..most]))?;
        if let Some(pace) = pace {
            // Under a byte a tick, the byte takes longer.
            let tick = TICK.max(Duration::from_secs(1) / pace.max(1));
            this.wait = Some(Box::pin(tokio::time::sleep(tick)));
        }
        if let Some(left) = &mut this.rules.lock().left {
            *left = left.saturating_sub(written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
