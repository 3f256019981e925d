//! UDP sockets that several calls share, so that datagrams of several calls go in one system call.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::net::UdpSocket;

use super::wakes::{Places, Wakes};
use crate::{
    UdpOptions,
    net::{BATCH, Incoming, Outgoing, shared_udp},
};

/// Calls on one socket. The system's receive buffer (some 200 to 550 small datagrams by default on Linux) is shared by
/// them, and with so many there is room for a pause of 200 ms; a call of [`BATCH`] is full.
const CALLS: usize = 32;
/// Sockets of which each serves one call with the same voice server, for the datagrams of a socket are told apart by
/// where they come from. Further calls with that server get connected sockets of their own.
const SAME_REMOTE: usize = 8;
/// Datagrams that wait for a socket that takes none; of more, the newest are dropped.
const MAX_OUTGOING: usize = 256;
/// Looks at one socket in a row.
pub(super) const LOOKS: usize = 4;
/// Errors in a row after which a socket (of receiving) or a call's place on it (of sending) is given up.
const MAX_ERRORS: u32 = 64;

/// A shared socket and the remote address that is this call's there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct Slot {
    port: usize,
    remote: SocketAddr,
}

/// All shared sockets of one shard.
pub(in crate::client) struct SharedNet {
    ports: Vec<Option<Port>>,
    wakes: Wakes,
    /// Those with something to send.
    dirty: Vec<usize>,
    /// Whose datagrams were not sent, once for each.
    unsent: Vec<usize>,
    /// Whose place is of no use any more.
    broken: Vec<(usize, Slot)>,
    enabled: bool,
}

struct Port {
    socket: UdpSocket,
    options: UdpOptions,
    is_v4: bool,
    /// By the remote address. Nothing ever goes through it in order.
    calls: HashMap<SocketAddr, usize>,
    outgoing: Vec<Entry>,
    bytes: Vec<u8>,
    waker: Waker,
    dirty: bool,
    errors: u32,
    /// Errors of sending in a row, by the remote address; empty as a rule.
    failing: HashMap<SocketAddr, u32>,
}

struct Entry {
    to: SocketAddr,
    call: usize,
    length: usize,
}

impl SharedNet {
    pub(in crate::client) fn new(task: Arc<AtomicWaker>, enabled: bool) -> Self {
        Self {
            ports: Vec::new(),
            wakes: Wakes::new(task),
            dirty: Vec::new(),
            unsent: Vec::new(),
            broken: Vec::new(),
            enabled,
        }
    }

    /// A place on a shared socket and its local address; `None` where the call does better with one of its own.
    pub(in crate::client) fn attach(
        &mut self,
        call: usize,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> Option<(Slot, SocketAddr)> {
        if !self.enabled {
            return None;
        }
        let mut taken = 0;
        let mut free = None;
        for (place, port) in self.ports.iter().enumerate() {
            let Some(port) = port else {
                continue;
            };
            if port.is_v4 != remote.is_ipv4() || port.options != options || port.is_broken() {
                continue;
            }
            if port.calls.contains_key(&remote) {
                taken += 1;
            } else if port.calls.len() < CALLS && free.is_none() {
                free = Some(place);
            }
        }
        if taken >= SAME_REMOTE {
            return None;
        }
        let place = match free {
            Some(place) => place,
            None => self.open(remote, options)?,
        };
        let port = self.ports.get_mut(place)?.as_mut()?;
        let local = port.socket.local_addr().ok()?;
        port.calls.insert(remote, call);
        let slot = Slot {
            port: place,
            remote,
        };
        Some((slot, local))
    }

    fn open(&mut self, remote: SocketAddr, options: UdpOptions) -> Option<usize> {
        let socket = shared_udp(remote, options)
            .inspect_err(|error| tracing::debug!(%error, "no shared UDP socket"))
            .ok()?;
        let place = self
            .ports
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.ports.push(None);
                self.ports.len() - 1
            });
        let waker = self.wakes.waker(place);
        // It is looked at once, which registers the waker.
        self.wakes.mark(place);
        *self.ports.get_mut(place)? = Some(Port {
            socket,
            options,
            is_v4: remote.is_ipv4(),
            calls: HashMap::new(),
            outgoing: Vec::new(),
            bytes: Vec::new(),
            waker,
            dirty: false,
            errors: 0,
            failing: HashMap::new(),
        });
        Some(place)
    }

    /// Gives the place up. What was to be sent goes first.
    pub(in crate::client) fn detach(&mut self, slot: Slot) {
        self.flush_port(slot.port);
        let Some(entry) = self.ports.get_mut(slot.port) else {
            return;
        };
        if let Some(port) = entry {
            port.calls.remove(&slot.remote);
            port.failing.remove(&slot.remote);
            if port.calls.is_empty() {
                *entry = None;
            }
        }
    }

    /// Has a datagram sent with the next [`flush`](Self::flush). `false`: it was dropped.
    pub(in crate::client) fn send(&mut self, slot: Slot, call: usize, datagram: &[u8]) -> bool {
        let Some(Some(port)) = self.ports.get_mut(slot.port) else {
            return false;
        };
        if port.outgoing.len() >= MAX_OUTGOING {
            return false;
        }
        port.outgoing.push(Entry {
            to: slot.remote,
            call,
            length: datagram.len(),
        });
        port.bytes.extend_from_slice(datagram);
        if !port.dirty {
            port.dirty = true;
            self.dirty.push(slot.port);
        }
        if port.outgoing.len() == BATCH {
            self.flush_port(slot.port);
        }
        true
    }

    /// Sends what waits, as far as the system takes it.
    pub(super) fn flush(&mut self) {
        while let Some(place) = self.dirty.pop() {
            if let Some(Some(port)) = self.ports.get_mut(place) {
                port.dirty = false;
            }
            self.flush_port(place);
        }
    }

    fn flush_port(&mut self, place: usize) {
        if let Some(Some(port)) = self.ports.get_mut(place) {
            let broken = &mut self.broken;
            port.flush(&mut self.unsent, |call, remote| {
                let slot = Slot {
                    port: place,
                    remote,
                };
                broken.push((call, slot));
            });
        }
    }

    /// Whose datagrams were not sent, once for each datagram.
    pub(super) fn take_unsent(&mut self) -> Option<usize> {
        self.unsent.pop()
    }

    /// How many words of sockets there are, for [`woken`](Self::woken).
    pub(super) fn words(&self) -> usize {
        self.wakes.words()
    }

    /// The sockets of a word that were woken since.
    pub(super) fn woken(&self, word: usize) -> Places {
        self.wakes.take(word)
    }

    /// Looks at a socket that was woken: what waited is sent, what has come is taken. Call it so long as it gives `true`,
    /// each time after what is in `incoming` was dealt with, at most [`LOOKS`] times.
    pub(super) fn receive(&mut self, place: usize, incoming: &mut Incoming) -> bool {
        incoming.clear();
        self.flush_port(place);
        let Some(Some(port)) = self.ports.get_mut(place) else {
            return false;
        };
        let more = port.receive(incoming);
        if port.is_broken() {
            self.give_up(place);
        }
        more
    }

    /// All calls of this socket need another one. It is closed when the last of them has left it.
    fn give_up(&mut self, place: usize) {
        let Some(Some(port)) = self.ports.get(place) else {
            return;
        };
        let slots = port.calls.iter().map(|(remote, call)| {
            let slot = Slot {
                port: place,
                remote: *remote,
            };
            (*call, slot)
        });
        let before = self.broken.len();
        self.broken.extend(slots);
        if let Some(added) = self.broken.get_mut(before..) {
            added.sort_unstable_by_key(|(call, _)| *call);
        }
    }

    /// A call whose place is of no use any more, and which place that was: it may have another one by now.
    pub(super) fn take_broken(&mut self) -> Option<(usize, Slot)> {
        self.broken.pop()
    }

    /// Looks at a socket again in the next round.
    pub(super) fn again(&self, place: usize) {
        self.wakes.mark(place);
    }

    /// Whose datagrams from there are.
    pub(super) fn call_of(&self, place: usize, from: SocketAddr) -> Option<usize> {
        let port = self.ports.get(place)?.as_ref()?;
        port.calls.get(&from).copied()
    }
}

impl Port {
    fn is_broken(&self) -> bool {
        self.errors >= MAX_ERRORS
    }

    fn flush(&mut self, unsent: &mut Vec<usize>, mut broken: impl FnMut(usize, SocketAddr)) {
        let (mut first, mut begin) = (0, 0);
        while first < self.outgoing.len() {
            let entries = self.outgoing.get(first..).unwrap_or_default();
            let mut rest = self.bytes.get(begin..).unwrap_or_default();
            let datagrams = entries.iter().map_while(move |entry| {
                let (bytes, after) = rest.split_at_checked(entry.length)?;
                rest = after;
                Some(Outgoing {
                    to: entry.to,
                    bytes,
                })
            });
            let done = match crate::net::send(&self.socket, datagrams) {
                Ok(sent) => {
                    let sent = sent.max(1);
                    if !self.failing.is_empty() {
                        for entry in entries.iter().take(sent) {
                            self.failing.remove(&entry.to);
                        }
                    }
                    sent
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut cx = Context::from_waker(&self.waker);
                    match self.socket.poll_send_ready(&mut cx) {
                        Poll::Ready(Ok(())) => continue,
                        _ => break,
                    }
                }
                Err(error) => {
                    tracing::trace!(%error, "a datagram was not sent");
                    if let Some(entry) = entries.first() {
                        unsent.push(entry.call);
                        // Of a call that has left there may be something yet.
                        if self.calls.contains_key(&entry.to) {
                            let errors = self.failing.entry(entry.to).or_default();
                            *errors += 1;
                            if *errors >= MAX_ERRORS {
                                *errors = 0;
                                broken(entry.call, entry.to);
                            }
                        }
                    }
                    1
                }
            };
            begin += entries
                .iter()
                .take(done)
                .map(|entry| entry.length)
                .sum::<usize>();
            first += done;
        }
        self.outgoing.drain(..first.min(self.outgoing.len()));
        self.bytes.drain(..begin.min(self.bytes.len()));
    }

    /// `true` if there may be more.
    fn receive(&mut self, incoming: &mut Incoming) -> bool {
        loop {
            match crate::net::receive(&self.socket, incoming) {
                Ok(()) => {
                    self.errors = 0;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut cx = Context::from_waker(&self.waker);
                    match self.socket.poll_recv_ready(&mut cx) {
                        Poll::Ready(Ok(())) => {}
                        _ => return false,
                    }
                }
                // An ICMP answer to some datagram of some call: the next look may bring something.
                Err(error) => {
                    return self.receive_failed(&error);
                }
            }
        }
    }

    /// `true` if it is worth another look.
    fn receive_failed(&mut self, error: &io::Error) -> bool {
        tracing::debug!(%error, "receiving failed");
        self.errors = self.errors.saturating_add(1);
        !self.is_broken()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    async fn there() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn net() -> SharedNet {
        SharedNet::new(Arc::new(AtomicWaker::new()), true)
    }

    fn attach(net: &mut SharedNet, call: usize, remote: SocketAddr) -> Option<Slot> {
        let slot = net.attach(call, remote, UdpOptions::default());
        slot.map(|(slot, _)| slot)
    }

    async fn receive(net: &mut SharedNet, port: usize) -> Vec<(usize, Vec<u8>)> {
        let mut incoming = Incoming::new();
        loop {
            socket(net, port).readable().await.unwrap();
            if net.receive(port, &mut incoming) {
                let known = incoming
                    .iter_mut()
                    .filter_map(|(from, bytes)| Some((net.call_of(port, from)?, bytes.to_vec())));
                return known.collect();
            }
        }
    }

    fn socket(net: &SharedNet, port: usize) -> &UdpSocket {
        &net.ports[port].as_ref().unwrap().socket
    }

    /// The runtime has to look at a socket once before it takes anything.
    async fn writable(net: &SharedNet, slot: Slot) {
        socket(net, slot.port).writable().await.unwrap();
    }

    #[tokio::test]
    async fn calls_share_a_socket_and_each_gets_what_its_server_sends() {
        let (mut net, first, second, stranger) =
            (net(), there().await, there().await, there().await);
        let one = attach(&mut net, 7, first.1).unwrap();
        let other = attach(&mut net, 9, second.1).unwrap();
        assert_eq!(one.port, other.port);
        assert!(net.send(one, 7, b"to the first"));
        assert!(net.send(other, 9, b"to the second"));
        writable(&net, one).await;
        net.flush();
        let mut buffer = [0; 100];
        let (length, here) = first.0.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"to the first");
        let (length, same) = second.0.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], same), (&b"to the second"[..], here));
        let here = SocketAddr::from(([127, 0, 0, 1], here.port()));
        stranger.0.send_to(b"nobody's", here).await.unwrap();
        second.0.send_to(b"9", here).await.unwrap();
        first.0.send_to(b"7", here).await.unwrap();
        let came = receive(&mut net, one.port).await;
        assert_eq!(came, [(9, b"9".to_vec()), (7, b"7".to_vec())]);
        net.detach(one);
        assert_eq!(net.call_of(other.port, first.1), None);
        assert_eq!(net.call_of(other.port, second.1), Some(9));
        net.detach(other);
        assert!(net.ports.iter().all(Option::is_none), "it is closed");
        assert!(!net.send(other, 9, b"too late"));
    }

    #[tokio::test]
    async fn a_socket_serves_one_call_of_a_server_and_no_more_than_it_can() {
        let mut net = net();
        let remote = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let same: Vec<_> = (0..10)
            .filter_map(|call| attach(&mut net, call, remote(5000)))
            .map(|slot| slot.port)
            .collect();
        assert_eq!(same, (0..SAME_REMOTE).collect::<Vec<_>>());
        for call in 0..CALLS - 1 {
            let port = 6000 + u16::try_from(call).unwrap();
            assert_eq!(attach(&mut net, call, remote(port)).unwrap().port, 0);
        }
        assert_eq!(attach(&mut net, 99, remote(7000)).unwrap().port, 1);
        let sends_only = net.attach(100, remote(7001), UdpOptions::SEND_ONLY);
        assert_eq!(sends_only.unwrap().0.port, SAME_REMOTE);
        assert!(
            SharedNet::new(Arc::new(AtomicWaker::new()), false)
                .attach(0, remote(5000), UdpOptions::default())
                .is_none()
        );
    }

    #[tokio::test]
    async fn what_the_system_does_not_take_is_bounded_and_counted() {
        let (mut net, to) = (net(), there().await);
        let slot = attach(&mut net, 3, to.1).unwrap();
        // The runtime has not looked at the socket, so it takes nothing.
        let taken = (0..300).filter(|_| net.send(slot, 3, b"x")).count();
        assert_eq!(taken, MAX_OUTGOING);
        writable(&net, slot).await;
        net.receive(slot.port, &mut Incoming::new());
        assert!(net.send(slot, 3, b"x"), "there is room again");
        // No system sends so much in a datagram.
        let slot = attach(&mut net, 4, (Ipv4Addr::LOCALHOST, 9).into()).unwrap();
        assert!(net.send(slot, 4, &[0; 70_000]));
        net.flush();
        assert_eq!(net.take_unsent(), Some(4));
        assert_eq!(net.take_unsent(), None);
    }

    #[tokio::test]
    async fn a_deaf_socket_is_told_to_its_calls_and_takes_no_more() {
        let (mut net, first, second) = (net(), there().await, there().await);
        let one = attach(&mut net, 7, first.1).unwrap();
        let other = attach(&mut net, 9, second.1).unwrap();
        let port = net.ports[one.port].as_mut().unwrap();
        let error = io::Error::other("wanted by the test");
        for _ in 1..MAX_ERRORS {
            assert!(port.receive_failed(&error));
        }
        assert!(!port.receive_failed(&error));
        net.receive(one.port, &mut Incoming::new());
        assert_eq!(net.take_broken(), Some((9, other)));
        assert_eq!(net.take_broken(), Some((7, one)));
        assert_eq!(net.take_broken(), None);
        let third = attach(&mut net, 8, (Ipv4Addr::LOCALHOST, 9).into()).unwrap();
        assert_ne!(third.port, one.port);
        net.detach(one);
        net.detach(other);
        assert!(net.ports[one.port].is_none(), "it is closed");
    }

    #[tokio::test]
    async fn a_call_whose_datagrams_are_not_sent_for_long_is_told() {
        let (mut net, to) = (net(), there().await);
        let good = attach(&mut net, 3, to.1).unwrap();
        let bad = attach(&mut net, 4, (Ipv4Addr::LOCALHOST, 9).into()).unwrap();
        // No system sends so much in a datagram.
        let large = vec![0; 70_000];
        writable(&net, good).await;
        writable(&net, bad).await;
        net.receive(good.port, &mut Incoming::new());
        for round in 1..2 * MAX_ERRORS - 1 {
            assert!(net.send(bad, 4, &large));
            assert!(net.send(good, 3, b"x"));
            if round == MAX_ERRORS - 1 {
                assert!(net.send(bad, 4, b"one that is sent"));
            }
            net.flush();
            assert_eq!(net.take_broken(), None, "{round}");
        }
        net.send(bad, 4, &large);
        net.flush();
        assert_eq!(net.take_broken(), Some((4, bad)));
        assert_eq!(net.take_broken(), None);
    }
}
