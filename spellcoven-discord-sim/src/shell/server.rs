//! The simulator on a real port.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "tls")]
use super::http::Way;
use crate::sim::Sim;
#[cfg(feature = "tls")]
use crate::tls::Authority;

/// Connections at one time.
const CONNECTIONS: usize = 10_000;

/// How long a client may take for its TLS handshake.
#[cfg(feature = "tls")]
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// A simulator that listens. Dropped, it stops listening and drops all its connections.
#[derive(Debug)]
pub struct SimServer {
    sim: Sim,
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    #[cfg(feature = "tls")]
    tls: Option<(SocketAddr, Authority)>,
}

/// How a TCP connection becomes one that requests come on.
#[derive(Clone)]
enum Door {
    Plain,
    Resume,
    #[cfg(feature = "tls")]
    Tls(tokio_rustls::TlsAcceptor),
    #[cfg(all(feature = "tls", feature = "voice"))]
    Voice(tokio_rustls::TlsAcceptor, crate::core::VoiceServerId),
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
        let task = tokio::spawn(accept(self.clone(), listener, Door::Plain, stop.clone()));
        Ok(SimServer {
            sim: self.clone(),
            addr,
            stop,
            tasks: vec![task],
            #[cfg(feature = "tls")]
            tls: None,
        })
    }
}

impl SimServer {
    /// Listens on another TCP address (port 0 for a free one) for resumes, and has READY name it as
    /// `resume_gateway_url` from now on.
    ///
    /// # Errors
    /// What binding to the address gives: it is taken, or not this machine's.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it listens nowhere else.
    pub async fn listen_resume(&mut self, addr: &str) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        self.sim
            .with(|world| world.settings_mut().resume_url = Some(format!("ws://{addr}")));
        let accepting = accept(self.sim.clone(), listener, Door::Resume, self.stop.clone());
        self.tasks.push(tokio::spawn(accepting));
        Ok(addr)
    }
}

async fn accept(sim: Sim, listener: TcpListener, door: Door, stop: CancellationToken) {
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
                    connections.spawn(enter(sim.clone(), io, door.clone()));
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

async fn enter(sim: Sim, io: TcpStream, door: Door) {
    match door {
        Door::Plain => sim.serve_connection(io).await,
        Door::Resume => sim.serve_resume_connection(io).await,
        #[cfg(feature = "tls")]
        Door::Tls(acceptor) => {
            if let Some(io) = shake_hands(io, &acceptor).await {
                sim.serve(io, Way::Secure).await;
            }
        }
        #[cfg(all(feature = "tls", feature = "voice"))]
        Door::Voice(acceptor, server) => {
            if let Some(io) = shake_hands(io, &acceptor).await {
                sim.serve_voice(io, Some(server)).await;
            }
        }
    }
}

#[cfg(feature = "tls")]
async fn shake_hands(
    io: TcpStream,
    acceptor: &tokio_rustls::TlsAcceptor,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(io)).await {
        Ok(Ok(io)) => return Some(io),
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
    None
}

#[cfg(all(feature = "tls", feature = "voice"))]
impl SimServer {
    /// A voice server on an address (port 0 for free ones): its WebSocket over TLS, as every client of Discord's voice
    /// wants it, and a UDP socket for its media. From now on VOICE_SERVER_UPDATE names it, as `host:port`. Called once
    /// more, it makes one more voice server, which channels are given only when a test says so.
    ///
    /// The addresses that the certificate is good for are `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    /// What binding to the address gives: it is taken, or not this machine's.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it listens nowhere.
    pub async fn listen_voice(
        &mut self,
        addr: &str,
        authority: &Authority,
    ) -> io::Result<crate::core::VoiceServerView> {
        let listener = TcpListener::bind(addr).await?;
        let socket = tokio::net::UdpSocket::bind(addr).await?;
        // A socket can be sent on at once only when it was once seen to be writable.
        socket.writable().await?;
        let socket = std::sync::Arc::new(socket);
        let endpoint = listener.local_addr()?.to_string();
        let udp = socket.local_addr()?;
        let server = self.sim.run(|state| {
            let id = state.world.voice_server_listens(endpoint, udp);
            let shared = std::sync::Arc::clone(&socket);
            state.voice.add_socket(id, shared);
            id
        });
        self.sim.keep_voice_time();
        let door = Door::Voice(authority.acceptor(), server);
        let accepting = accept(self.sim.clone(), listener, door, self.stop.clone());
        self.tasks.push(tokio::spawn(accepting));
        let receiving = super::udp::serve(self.sim.clone(), server, socket, self.stop.clone());
        self.tasks.push(tokio::spawn(receiving));
        let servers = self.sim.with(|world| world.voice_servers());
        let found = servers.into_iter().find(|view| view.id == server);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(feature = "tls")]
impl SimServer {
    /// Serves the same over TLS on a second address (port 0 for a free one), HTTP/1.1 alone. Clients that come this way
    /// are told `https` and `wss` URLs. The addresses that the certificate is good for are `localhost`, `127.0.0.1` and
    /// `::1`.
    ///
    /// # Errors
    /// What binding to the address gives, and [`io::ErrorKind::AlreadyExists`] for a second call.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it listens nowhere else.
    pub async fn listen_tls(&mut self, addr: &str, authority: &Authority) -> io::Result<()> {
        if self.tls.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        self.sim
            .with(|world| world.settings_mut().secure_url = Some(format!("https://{addr}")));
        let door = Door::Tls(authority.acceptor());
        let accepting = accept(self.sim.clone(), listener, door, self.stop.clone());
        self.tasks.push(tokio::spawn(accepting));
        self.tls = Some((addr, authority.clone()));
        Ok(())
    }

    /// The address of TLS; `None` before [`listen_tls`](Self::listen_tls).
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(addr, _)| *addr)
    }

    /// `https://HOST:PORT/api/v10`.
    #[must_use]
    pub fn tls_api_base(&self) -> Option<String> {
        self.tls_addr()
            .map(|addr| format!("https://{addr}/api/v10"))
    }

    /// `wss://HOST:PORT`.
    #[must_use]
    pub fn tls_gateway_url(&self) -> Option<String> {
        self.tls_addr().map(|addr| format!("wss://{addr}"))
    }

    /// The certificate to trust, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|(_, authority)| authority.ca_pem())
    }
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
        for task in &mut self.tasks {
            // The task neither panics nor is it aborted before.
            let _ = task.await;
        }
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
