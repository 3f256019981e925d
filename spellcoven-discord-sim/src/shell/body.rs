//! A body as a fault may have it: whole, in slow pieces, or broken off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::core::Response;

/// The connection is dropped in the middle of a body.
#[derive(Debug, thiserror::Error)]
#[error("the simulator drops the connection")]
pub(super) struct Broken;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct FaultyBody {
    rest: Bytes,
    /// What `Content-Length` tells, and what is left of it.
    told: u64,
    chunk: usize,
    pause: Duration,
    breaks: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl FaultyBody {
    /// The body of `response`, which loses it.
    pub(super) fn of(response: &mut Response) -> Self {
        let mut rest = std::mem::take(&mut response.body);
        let told = rest.len() as u64;
        if let Some(cut) = response.cut_after {
            rest.truncate(cut);
        }
        let (chunk, pause) = response.pace.map_or((usize::MAX, Duration::ZERO), |pace| {
            (pace.chunk.max(1), pace.pause)
        });
        Self {
            rest,
            told,
            chunk,
            pause,
            breaks: response.cut_after.is_some(),
            sleep: None,
        }
    }
}

impl From<Bytes> for FaultyBody {
    fn from(rest: Bytes) -> Self {
        Self {
            told: rest.len() as u64,
            rest,
            chunk: usize::MAX,
            pause: Duration::ZERO,
            breaks: false,
            sleep: None,
        }
    }
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.rest.is_empty() && !this.breaks {
            return Poll::Ready(None);
        }
        // The pause before breaking off lets out what came before.
        let pause = if this.rest.is_empty() {
            this.pause.max(Duration::from_millis(1))
        } else {
            this.pause
        };
        if !pause.is_zero() {
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            this.sleep = None;
        }
        if this.rest.is_empty() {
            return Poll::Ready(Some(Err(Broken)));
        }
        let piece = this.rest.split_to(this.chunk.min(this.rest.len()));
        this.told -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.told)
    }
}
