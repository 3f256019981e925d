//! A network in memory: named endpoints that listen, are dialled, and go down. With the runtime's clock paused
//! everything that runs over it is deterministic.

mod dial;
mod http;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{io::DuplexStream, sync::mpsc};

pub use self::http::{MemoryHttpError, MemoryPoster};

/// Bytes that a pipe holds in each direction before a writer has to wait: about what a socket buffer holds.
const PIPE: usize = 64 * 1024;
/// Connections that wait to be accepted; more are refused, as a full listen backlog does.
const BACKLOG: usize = 128;

/// A network; clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNet {
    endpoints: Arc<Mutex<BTreeMap<String, mpsc::Sender<DuplexStream>>>>,
}

/// Accepts the connections to one name. Dropping it takes the endpoint down: later dials are refused.
pub struct MemoryListener {
    incoming: mpsc::Receiver<DuplexStream>,
}

impl MemoryNet {
    /// Listens under `name`, in the place of whoever did before.
    #[must_use]
    pub fn listen(&self, name: &str) -> MemoryListener {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        self.lock().insert(name.to_owned(), sender);
        MemoryListener { incoming }
    }

    /// Connects to `name`.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there.
    pub fn dial(&self, name: &str) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let endpoint = self.lock().get(name).cloned().ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(PIPE);
        endpoint.try_send(far).map_err(|_| refused())?;
        Ok(near)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<DuplexStream>>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryListener {
    /// The next connection; `None` when another listener took the name.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn accept(&mut self) -> Option<DuplexStream> {
        self.incoming.recv().await
    }
}
