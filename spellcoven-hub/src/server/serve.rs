use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tower_service::Service;

use super::hub::Hub;

/// How long [`Hub::serve`] waits for connections to end once it stops.
const DRAIN: Duration = Duration::from_secs(10);
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest request head, in bytes.
const MAX_HEAD: usize = 32 * 1024;

impl Hub {
    /// Serves one connection, such as an accepted TCP or TLS stream or an in-memory pipe, until it ends or becomes a
    /// WebSocket, which then lives on in a task of its own.
    ///
    /// # Errors
    ///
    /// The peer broke HTTP, was too slow with a head, or the connection broke.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the connection is cut, unless it is a WebSocket by then.
    pub async fn serve_connection<I>(&self, io: I) -> Result<(), hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut service = service.clone();
            async move {
                Ok::<_, Infallible>(
                    service
                        .call(request)
                        .await
                        .unwrap_or_else(|never| match never {}),
                )
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.shared.limits.header_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        tokio::pin!(connection);
        let mut stopping = self.shared.stopping.subscribe();
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            // The sender lives in the hub that `self` holds.
            _ = stopping.wait_for(Option::is_some) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    }

    /// Serves what the listener accepts until `shutdown` resolves; then closes WebSockets with 1001, lets requests end
    /// and returns, after 10 s at the latest. TCP_NODELAY is on.
    ///
    /// # Errors
    ///
    /// None at present; a failed accept is logged and tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, nothing new is accepted; open connections live on.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.shared.start();
        let max = u32::try_from(self.shared.limits.max_http_connections)
            .unwrap_or(u32::MAX)
            .max(1);
        let places = Arc::new(Semaphore::new(max as usize));
        tokio::pin!(shutdown);
        loop {
            let place = tokio::select! {
                biased;
                () = &mut shutdown => break,
                place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
            };
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Nagle's algorithm would hold small events back.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
            let hub = self.clone();
            tokio::spawn(async move {
                if let Err(error) = hub.serve_connection(stream).await {
                    tracing::debug!(%error, "an HTTP connection ended badly");
                }
                drop(place);
            });
        }
        drop(listener);
        let closed = self.shutdown(DRAIN).await;
        let requests = tokio::time::timeout(DRAIN, places.acquire_many(max))
            .await
            .is_ok();
        tracing::info!(closed, requests, "the hub has stopped");
        Ok(())
    }
}
