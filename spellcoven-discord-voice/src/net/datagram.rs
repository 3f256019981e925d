use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Poll, ready},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::ReadBuf, net::UdpSocket};

/// Datagrams to and from one address: the media path of one call.
///
/// It is polled, so that no packet costs an allocation or a task, and so that sending several at once can be added
/// with a default.
pub trait DatagramSocket: Send + 'static {
    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, whole or not at all. `Pending` means that it was not taken, and that the task is woken
    /// when it may be tried again.
    ///
    /// # Errors
    ///
    /// It was not sent; the next one may be. An ICMP answer to an earlier datagram may show here.
    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>>;

    /// Takes one datagram; what does not fit into `buffer` is cut off. The number is that of its bytes.
    ///
    /// # Errors
    ///
    /// Nothing was received; the next call may receive. An ICMP answer to a datagram that was sent may show here.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
}

/// What a client asks of a [`DatagramSocket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UdpOptions {
    /// The size of the system's receive buffer in bytes, `None` for the system's default. A client that does not
    /// receive asks for a small one: whatever does not fit is thrown away by the system at no cost.
    pub receive_buffer: Option<usize>,
}

/// Of a socket that several calls share: as much as there is.
const SHARED_RECEIVE: usize = 4 << 20;
/// The same where none of them receives.
const SHARED_SEND_ONLY: usize = 64 << 10;

impl UdpOptions {
    /// Room for a few datagrams only: RTCP, pings and the address discovery are all that a client without receiving
    /// reads.
    pub(crate) const SEND_ONLY: Self = Self {
        receive_buffer: Some(8 << 10),
    };
}

/// A connected socket. Must be called within a runtime.
pub(super) fn udp(remote: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
    let socket = bound(remote, options.receive_buffer)?;
    // Connected, so that the system drops what others send.
    socket.connect(&remote.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket for several remote addresses, all of the family of `remote`. Must be called within a runtime.
pub(crate) fn shared_udp(remote: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
    let receive_buffer = if options.receive_buffer.is_some() {
        SHARED_SEND_ONLY
    } else {
        SHARED_RECEIVE
    };
    UdpSocket::from_std(bound(remote, Some(receive_buffer))?.into())
}

fn bound(remote: SocketAddr, receive_buffer: Option<usize>) -> io::Result<Socket> {
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = receive_buffer {
        // Only a wish: a system that refuses gives its default, one that gives less gives its largest.
        let _ = socket.set_recv_buffer_size(bytes);
    }
    socket.bind(&any.into())?;
    Ok(socket)
}

impl DatagramSocket for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        UdpSocket::local_addr(self)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
        UdpSocket::poll_send(self, cx, datagram).map_ok(|_| ())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(UdpSocket::poll_recv(self, cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}
