//! Several datagrams in one system call, where the system has that.

use std::{io, net::SocketAddr};

use tokio::{io::Interest, net::UdpSocket};

/// So many datagrams at most in one call. The gain of more is small (measured), and what is put together for a call lies
/// on the stack.
pub(crate) const BATCH: usize = 32;
/// Larger than any datagram of voice, whose packets stay under an Ethernet frame.
pub(crate) const DATAGRAM_SIZE: usize = 2048;

/// A datagram to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: &'a [u8],
}

/// Datagrams that were received.
pub(crate) struct Incoming {
    buffer: Box<[u8]>,
    filled: Vec<(SocketAddr, usize)>,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; BATCH * DATAGRAM_SIZE].into(),
            filled: Vec::with_capacity(BATCH),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.filled.clear();
    }

    /// Each datagram with its sender.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.buffer
            .chunks_exact_mut(DATAGRAM_SIZE)
            .zip(&self.filled)
            .filter_map(|(chunk, (from, length))| Some((*from, chunk.get_mut(..*length)?)))
    }
}

/// Sends the first of these, at most [`BATCH`]; gives how many.
///
/// # Errors
///
/// The first one was not sent. `WouldBlock` says that the socket takes none for now.
pub(crate) fn send<'a>(
    socket: &UdpSocket,
    datagrams: impl Iterator<Item = Outgoing<'a>> + Clone,
) -> io::Result<usize> {
    socket.try_io(Interest::WRITABLE, || {
        system::send(socket, datagrams.clone())
    })
}

/// Takes what has come, at most [`BATCH`] datagrams; what is longer than [`DATAGRAM_SIZE`] is cut off.
///
/// # Errors
///
/// Nothing was received. `WouldBlock` says that nothing has come.
pub(crate) fn receive(socket: &UdpSocket, incoming: &mut Incoming) -> io::Result<()> {
    incoming.filled.clear();
    socket.try_io(Interest::READABLE, || system::receive(socket, incoming))
}

#[cfg(target_os = "linux")]
mod system {
    use std::{
        array,
        cell::RefCell,
        io::{self, IoSlice, IoSliceMut},
        net::{Ipv4Addr, SocketAddr},
        os::fd::AsRawFd as _,
    };

    use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
    use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
    use tokio::net::UdpSocket;

    use super::{BATCH, DATAGRAM_SIZE, Incoming, Outgoing};

    struct Message<'a> {
        to: SocketAddrAny,
        bytes: [IoSlice<'a>; 1],
        control: SendAncillaryBuffer<'static, 'static, 'static>,
    }

    pub(super) fn send<'a>(
        socket: &UdpSocket,
        mut datagrams: impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let nothing = Outgoing {
            to: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            bytes: &[],
        };
        let mut count = 0;
        let mut messages: [Message<'_>; BATCH] = array::from_fn(|_| {
            let datagram = datagrams.next();
            count += usize::from(datagram.is_some());
            let Outgoing { to, bytes } = datagram.unwrap_or(nothing);
            Message {
                to: to.into(),
                bytes: [IoSlice::new(bytes)],
                control: SendAncillaryBuffer::default(),
            }
        });
        let mut headers = messages.each_mut().map(|message| {
            MMsgHdr::new_with_addr(&message.to, &message.bytes, &mut message.control)
        });
        let headers = headers.get_mut(..count).unwrap_or_default();
        Ok(sendmmsg(socket, headers, SendFlags::DONTWAIT)?)
    }

    /// The kernel notes in them how long an address is, and takes that for the room there is at the next call: those of
    /// IPv4 are of no use for IPv6. They are kept by thread because they hold pointers, though only for a call.
    struct Headers {
        v4: MultiHeaders<SockaddrStorage>,
        v6: MultiHeaders<SockaddrStorage>,
    }

    thread_local! {
        static HEADERS: RefCell<Headers> = RefCell::new(Headers {
            v4: MultiHeaders::preallocate(BATCH, None),
            v6: MultiHeaders::preallocate(BATCH, None),
        });
    }

    pub(super) fn receive(socket: &UdpSocket, incoming: &mut Incoming) -> io::Result<()> {
        let v4 = socket.local_addr()?.is_ipv4();
        HEADERS.with_borrow_mut(|headers| {
            let headers = if v4 { &mut headers.v4 } else { &mut headers.v6 };
            let mut chunks = incoming.buffer.chunks_exact_mut(DATAGRAM_SIZE);
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
                array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
            let messages = recvmmsg(
                socket.as_raw_fd(),
                headers,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            )?;
            for message in messages {
                // Without a sender it is nobody's.
                let from = message.address.as_ref().and_then(socket_addr);
                let from = from.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
                incoming.filled.push((from, message.bytes));
            }
            Ok(())
        })
    }

    fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(SocketAddr::from((v4.ip(), v4.port())));
        }
        let v6 = address.as_sockaddr_in6()?;
        Some(SocketAddr::from((v6.ip(), v6.port())))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use tokio::net::UdpSocket;

    use super::{BATCH, DATAGRAM_SIZE, Incoming, Outgoing};

    pub(super) fn send<'a>(
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let socket = socket2::SockRef::from(socket);
        let mut sent = 0;
        for datagram in datagrams.take(BATCH) {
            match socket.send_to(datagram.bytes, &datagram.to.into()) {
                Ok(_) => sent += 1,
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    pub(super) fn receive(socket: &UdpSocket, incoming: &mut Incoming) -> io::Result<()> {
        // Each looks at the readiness that was just seen; only the first one's "nothing" is told.
        let Incoming { buffer, filled } = incoming;
        for chunk in buffer.chunks_exact_mut(DATAGRAM_SIZE) {
            match socket.try_recv_from(chunk) {
                Ok((length, from)) => filled.push((from, length)),
                Err(_) if !filled.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    async fn pair(ip: IpAddr) -> (UdpSocket, UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind((ip, 0));
        (
            bind().await.unwrap(),
            bind().await.unwrap(),
            bind().await.unwrap(),
        )
    }

    async fn goes_both_ways(ip: IpAddr) {
        let (here, first, second) = pair(ip).await;
        let (to, also) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        let datagrams: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; 200]).collect();
        let outgoing = datagrams.iter().enumerate().map(|(place, bytes)| Outgoing {
            to: if place % 2 == 0 { to } else { also },
            bytes,
        });
        here.writable().await.unwrap();
        assert_eq!(send(&here, outgoing.clone()).unwrap(), BATCH);
        assert_eq!(send(&here, outgoing.skip(BATCH)).unwrap(), 8);
        for (there, rest) in [(&first, 0), (&second, 1)] {
            for number in (0..40u8).filter(|number| number % 2 == rest) {
                let mut buffer = [0; 300];
                let (length, from) = there.recv_from(&mut buffer).await.unwrap();
                assert_eq!(from, here.local_addr().unwrap());
                assert_eq!(buffer[..length], vec![number; 200]);
                there.send_to(&[number, 7], from).await.unwrap();
            }
        }
        let mut incoming = Incoming::new();
        let mut all = Vec::new();
        while all.len() < 40 {
            here.readable().await.unwrap();
            match receive(&here, &mut incoming) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
            }
            assert!((1..=BATCH).contains(&incoming.iter_mut().count()));
            all.extend(
                incoming
                    .iter_mut()
                    .map(|(from, bytes)| (from, bytes.to_vec())),
            );
        }
        let came: Vec<_> = (0..40u8)
            .map(|number| (if number % 2 == 0 { to } else { also }, vec![number, 7]))
            .collect();
        all.sort_by_key(|(_, bytes)| bytes[0]);
        assert_eq!(all, came);
        assert!(receive(&here, &mut incoming).is_err(), "nothing is left");
        assert_eq!(incoming.iter_mut().count(), 0);
    }

    #[tokio::test]
    async fn many_go_and_come_in_one_call() {
        goes_both_ways(Ipv4Addr::LOCALHOST.into()).await;
    }

    #[tokio::test]
    async fn with_ipv6_too_and_after_ipv4_on_the_same_thread() {
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
            println!("this machine has no IPv6");
            return;
        }
        goes_both_ways(Ipv4Addr::LOCALHOST.into()).await;
        goes_both_ways(Ipv6Addr::LOCALHOST.into()).await;
    }
}
