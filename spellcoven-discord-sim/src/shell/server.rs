//! The simulator on a real port.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::sim::Sim;

/// Connections at one time.
const CONNECTIONS: usize = 10_000;

/// A simulator that listens. Dropped, it stops listening and drops all its connections.
#[derive(Debug)]
pub struct SimServer {
    addr: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Sim {
    /// Listens on a TCP address (port 0 for a free one) and serves REST and Gateway there. Sets the public URL.
    ///
    /// # Errors
    /// What binding to the address gives: it is taken, or not this machine's.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it listens nowhere.
    pub async fn listen(&self, addr: &str) -> io::Result<SimServer> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        self.with(|world| world.settings_mut().public_url = format!("http://{addr}"));
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(self.clone(), listener, stop.clone()));
        Ok(SimServer { addr, stop, task })
    }
}

async fn accept(sim: Sim, listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                // Over the bound a connection is dropped unanswered.
                Ok(_) if connections.len() >= CONNECTIONS => {}
                Ok((io, _)) => {
                    // Without it small frames wait for acknowledgements; failing to set it only costs time.
                    let _ = io.set_nodelay(true);
                    let sim = sim.clone();
                    connections.spawn(async move { sim.serve_connection(io).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

impl SimServer {
    /// The address it listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://HOST:PORT/api/v10`, the base for REST clients.
    #[must_use]
    pub fn api_base(&self) -> String {
        format!("http://{}/api/v10", self.addr)
    }

    /// `ws://HOST:PORT`, the Gateway's URL.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    /// Stops listening and drops all connections. Sessions and the world stay with the [`Sim`].
    ///
    /// # Cancel safety
    /// Once polled, it stops all the same if dropped; only the waiting for the end is cut short.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        // The task neither panics nor is it aborted before.
        let _ = (&mut self.task).await;
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
