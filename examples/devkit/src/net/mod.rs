//! A network in memory: hosts that listen, dial, and die. With the runtime's clock paused everything that runs over it
//! is deterministic.

mod dial;
mod http;
mod stream;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::{
    http::{MemoryHttpError, MemoryPoster},
    stream::MemoryStream,
};

/// Bytes that a pipe holds in each direction before a writer has to wait: about what a socket buffer holds.
const PIPE: usize = 64 * 1024;
/// Connections that wait to be accepted; more are refused, as a full listen backlog does.
const BACKLOG: usize = 128;

/// A network; clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNet {
    names: Arc<Mutex<BTreeMap<String, mpsc::Sender<tokio::io::DuplexStream>>>>,
}

impl MemoryNet {
    /// A host on this network: what a process is on a real one.
    #[must_use]
    pub fn host(&self) -> MemoryHost {
        MemoryHost {
            net: self.clone(),
            killed: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<tokio::io::DuplexStream>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process's place on the network. It implements every seam through which the crates reach a network.
#[derive(Clone)]
pub struct MemoryHost {
    net: MemoryNet,
    killed: CancellationToken,
}

impl MemoryHost {
    /// Listens under `name`, in the place of whoever did before.
    #[must_use]
    pub fn listen(&self, name: &str) -> MemoryListener {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        self.net.lock().insert(name.to_owned(), sender);
        MemoryListener {
            incoming,
            killed: self.killed.clone(),
        }
    }

    /// Connects to `name`.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there; `ConnectionReset` when this host is dead.
    pub fn connect(&self, name: &str) -> io::Result<MemoryStream> {
        if self.killed.is_cancelled() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = self.net.lock().get(name).cloned().ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(PIPE);
        listener.try_send(far).map_err(|_| refused())?;
        Ok(MemoryStream::new(near, &self.killed))
    }

    /// What `kill -9` does to a process's connections: each is gone without a word, and no new one can be made.
    pub fn kill(&self) {
        self.killed.cancel();
    }
}

/// Accepts the connections to one name. Dropping it makes later ones refused.
pub struct MemoryListener {
    incoming: mpsc::Receiver<tokio::io::DuplexStream>,
    killed: CancellationToken,
}

impl MemoryListener {
    /// The next connection; `None` when another listener took the name, or the host died.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn accept(&mut self) -> Option<MemoryStream> {
        tokio::select! {
            biased;
            () = self.killed.cancelled() => None,
            stream = self.incoming.recv() => stream.map(|stream| MemoryStream::new(stream, &self.killed)),
        }
    }
}
