//! How a connection is made: TCP and TLS, or a function of the caller's.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower_service::Service;

use super::BoxFuture;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Opens a stream to the host of a URI.
pub(crate) type Dial = dyn Fn(Uri) -> BoxFuture<'static, io::Result<Stream>> + Send + Sync;

/// Makes connections for hyper's client, each within a time limit that covers
/// TLS as well.
#[derive(Clone)]
pub(crate) struct Connector {
    how: How,
    timeout: Duration,
}

#[derive(Clone)]
enum How {
    Network(HttpsConnector<HttpConnector>),
    Dial(Arc<Dial>),
}

impl Connector {
    pub(crate) fn network(https: HttpsConnector<HttpConnector>, timeout: Duration) -> Self {
        Self {
            how: How::Network(https),
            timeout,
        }
    }

    pub(crate) fn dial(dial: Arc<Dial>, timeout: Duration) -> Self {
        Self {
            how: How::Dial(dial),
            timeout,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.how {
            How::Network(https) => https.poll_ready(cx),
            How::Dial(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting: Self::Future = match &mut self.how {
            How::Network(https) => {
                let connecting = https.call(uri);
                Box::pin(async move { Ok(Stream::new(connecting.await?)) })
            }
            How::Dial(dial) => {
                let connecting = dial(uri);
                Box::pin(async move { Ok(connecting.await?) })
            }
        };
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(result) => result,
                Err(_) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into())
                }
            }
        })
    }
}

/// Any stream that hyper can use.
pub(crate) struct Stream(Box<dyn Both>);

trait Both: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Both for T {}

impl Stream {
    pub(crate) fn new(io: impl Read + Write + Send + Unpin + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
