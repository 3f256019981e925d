//! A request line without a path: `GET ?v=10 HTTP/1.1`.
//!
//! Some clients put the query right behind the host, and some of their WebSocket libraries send just that. It is not
//! valid HTTP, and the HTTP library here refuses it: the missing slash is put in on the way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const WITHOUT: &[u8; 5] = b"GET ?";
const WITH: &[u8; 6] = b"GET /?";

#[derive(Debug)]
enum Stage {
    /// So many of the first bytes were read, and all are as in [`WITHOUT`].
    Matching(usize),
    /// These bytes come first, from this one on.
    Giving(&'static [u8]),
    /// A byte that did not match comes after them.
    Other(u8),
    Passing,
}

/// A connection whose first request may lack the slash.
#[derive(Debug)]
pub(super) struct Lenient<T> {
    io: T,
    stage: Stage,
    other: Option<u8>,
}

impl<T> Lenient<T> {
    pub(super) const fn new(io: T) -> Self {
        Self {
            io,
            stage: Stage::Matching(0),
            other: None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lenient<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.stage {
                Stage::Passing => return Pin::new(&mut this.io).poll_read(cx, out),
                Stage::Other(byte) => {
                    if out.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    out.put_slice(&[byte]);
                    this.stage = Stage::Passing;
                    return Poll::Ready(Ok(()));
                }
                Stage::Giving([]) => {
                    this.stage = this.other.take().map_or(Stage::Passing, Stage::Other);
                }
                Stage::Giving(bytes) => {
                    let (now, later) = bytes.split_at(bytes.len().min(out.remaining()));
                    out.put_slice(now);
                    this.stage = Stage::Giving(later);
                    return Poll::Ready(Ok(()));
                }
                Stage::Matching(count) => {
                    let mut byte = [0];
                    let mut one = ReadBuf::new(&mut byte);
                    ready!(Pin::new(&mut this.io).poll_read(cx, &mut one))?;
                    let matched = WITHOUT.get(..count).unwrap_or_default();
                    this.stage = match one.filled().first() {
                        Some(byte)
                            if WITHOUT.get(count) == Some(byte) && count + 1 == WITHOUT.len() =>
                        {
                            Stage::Giving(WITH)
                        }
                        Some(byte) if WITHOUT.get(count) == Some(byte) => {
                            Stage::Matching(count + 1)
                        }
                        // Another request, or the end.
                        other => {
                            this.other = other.copied();
                            Stage::Giving(matched)
                        }
                    };
                }
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lenient<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
