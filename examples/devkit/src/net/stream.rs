use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// One end of a connection in memory. When its host dies the other end reads the end of the stream.
pub struct MemoryStream {
    pipe: Option<DuplexStream>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl MemoryStream {
    pub(super) fn new(pipe: DuplexStream, killed: &CancellationToken) -> Self {
        Self {
            pipe: Some(pipe),
            killed: Box::pin(killed.clone().cancelled_owned()),
        }
    }

    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut DuplexStream>> {
        if self.pipe.is_some() && self.killed.as_mut().poll(context).is_ready() {
            self.pipe = None;
        }
        self.pipe
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive(context)?.poll_shutdown(context)
    }
}
