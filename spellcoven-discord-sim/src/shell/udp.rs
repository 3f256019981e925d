//! Datagrams to and from the voice servers: in memory, or through a socket.

use std::collections::VecDeque;
#[cfg(feature = "tls")]
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[cfg(feature = "tls")]
use tokio::net::UdpSocket;
#[cfg(feature = "tls")]
use tokio_util::sync::CancellationToken;

use crate::core::Datagram;
#[cfg(feature = "tls")]
use crate::core::VoiceServerId;
use crate::sim::Sim;

/// Datagrams that wait in one port; what comes when it is full is lost, as in a socket.
const WAITING: usize = 4096;
/// Datagrams taken from a socket under one lock.
#[cfg(feature = "tls")]
const BATCH: usize = 64;
/// No datagram of voice is longer.
#[cfg(feature = "tls")]
const LONGEST: usize = 65_536;

/// The receiving side of a [`VoicePort`].
#[derive(Debug, Default)]
pub(crate) struct Port(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<Datagram>,
    lost: u64,
    waker: Option<Waker>,
}

impl Port {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, datagram: Datagram) {
        let mut waiting = self.lock();
        if waiting.datagrams.len() >= WAITING {
            waiting.lost += 1;
            return;
        }
        waiting.datagrams.push_back(datagram);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

/// A UDP socket in memory, with an address of its own: what a client sends from and receives at.
///
/// Nothing here is a network: a datagram is judged by the world before [`send`](Self::send) returns, and what faults
/// delay arrives by tokio's time. At most 4096 datagrams wait to be received; what comes then is lost, and counted by
/// [`lost`](Self::lost). Dropped, its address is nobody's any more.
#[derive(Debug)]
pub struct VoicePort {
    sim: Sim,
    addr: SocketAddr,
    port: Arc<Port>,
}

impl Sim {
    /// A UDP socket in memory to reach the voice servers, with an IPv4 address of its own.
    #[must_use]
    pub fn voice_udp(&self) -> VoicePort {
        self.voice_udp_at(None)
    }

    /// The same with this address; if it is taken, its datagrams come here from now on.
    #[must_use]
    pub fn voice_udp_from(&self, addr: SocketAddr) -> VoicePort {
        self.voice_udp_at(Some(addr))
    }

    fn voice_udp_at(&self, addr: Option<SocketAddr>) -> VoicePort {
        self.keep_voice_time();
        let port = Arc::<Port>::default();
        let addr = self.run(|state| {
            let board = &mut state.voice;
            let addr = addr.unwrap_or_else(|| {
                board.made += 1;
                let [.., high, low] = board.made.to_be_bytes();
                // The documentation's own network (RFC 5737), and a port that is none of another's.
                let ip = Ipv4Addr::new(198, 51, 100, high.wrapping_add(1));
                SocketAddr::new(IpAddr::V4(ip), 40_000 + u16::from(low))
            });
            board.ports.insert(addr, Arc::clone(&port));
            addr
        });
        VoicePort {
            sim: self.clone(),
            addr,
            port,
        }
    }
}

impl VoicePort {
    /// The address that the voice servers see.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends a datagram. One to an address where no voice server is goes nowhere.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) {
        self.sim.run(|state| {
            let Some(server) = state.world.voice_server_on(to) else {
                return;
            };
            let mut bytes = std::mem::take(&mut state.voice.scratch);
            bytes.clear();
            bytes.extend_from_slice(datagram);
            let now = state.world.now();
            state
                .world
                .voice_datagram(now, server, self.addr, &mut bytes);
            state.voice.scratch = bytes;
        });
    }

    /// A datagram that is there, with the address it came from.
    #[must_use]
    pub fn try_recv(&self) -> Option<(SocketAddr, Vec<u8>)> {
        let datagram = self.port.lock().datagrams.pop_front()?;
        Some((datagram.from, datagram.bytes))
    }

    /// The next datagram. At most one task may wait for it.
    ///
    /// # Cancel safety
    /// Dropped, it has taken nothing.
    pub async fn recv(&self) -> (SocketAddr, Vec<u8>) {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same for a task that polls by hand: the last one that polled is woken.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<(SocketAddr, Vec<u8>)> {
        let mut waiting = self.port.lock();
        match waiting.datagrams.pop_front() {
            Some(datagram) => Poll::Ready((datagram.from, datagram.bytes)),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Datagrams that came while the port was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.port.lock().lost
    }
}

impl Drop for VoicePort {
    fn drop(&mut self) {
        self.sim.run(|state| {
            let ports = &mut state.voice.ports;
            if ports
                .get(&self.addr)
                .is_some_and(|port| Arc::ptr_eq(port, &self.port))
            {
                ports.remove(&self.addr);
            }
        });
    }
}

/// Takes what comes on a socket until told to stop.
#[cfg(feature = "tls")]
pub(super) async fn serve(
    sim: Sim,
    server: VoiceServerId,
    socket: Arc<UdpSocket>,
    stop: CancellationToken,
) {
    let mut bytes = vec![0; LONGEST];
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            ready = socket.readable() => if ready.is_err() {
                break;
            },
        }
        sim.run(|state| {
            for _ in 0..BATCH {
                match socket.try_recv_from(&mut bytes) {
                    Ok((len, from)) => {
                        let datagram = bytes.get_mut(..len).unwrap_or_default();
                        let now = state.world.now();
                        state.world.voice_datagram(now, server, from, datagram);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Such as an ICMP answer to one of our own datagrams: the next one may be good.
                    Err(_) => {}
                }
            }
        });
    }
}
