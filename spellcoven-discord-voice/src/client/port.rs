//! One UDP socket of a call.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
};

use crate::DatagramSocket;

/// How many datagrams wait for a socket that does not take them: 40 ms of audio and some control. A new socket takes
/// nothing until the runtime has looked at it once, and the address discovery must not be lost to that. What is over
/// it is dropped and counted, as the network would: late audio is worth nothing.
const MAX_OUTGOING: usize = 8;
/// Errors in a row, of receiving or of sending, after which a socket is given up; an ICMP "port unreachable" is one error
/// and may pass.
const MAX_ERRORS: u32 = 64;

pub(super) struct Port {
    socket: Box<dyn DatagramSocket>,
    outgoing: VecDeque<Vec<u8>>,
    errors: u32,
    send_errors: u32,
    dropped: u64,
}

impl Port {
    pub(super) fn new(socket: Box<dyn DatagramSocket>) -> Self {
        Self {
            socket,
            outgoing: VecDeque::new(),
            errors: 0,
            send_errors: 0,
            dropped: 0,
        }
    }

    /// Datagrams that were not sent because the system took no more.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sends at once where the system takes it: no copy, no wait.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) {
        self.poll_write(cx);
        if self.outgoing.is_empty() {
            match self.socket.poll_send(cx, datagram) {
                Poll::Ready(sent) => return self.sent(cx, sent),
                Poll::Pending => {}
            }
        }
        if self.outgoing.len() < MAX_OUTGOING {
            self.outgoing.push_back(datagram.to_vec());
        } else {
            self.dropped += 1;
        }
    }

    /// Sends what waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) {
        while let Some(datagram) = self.outgoing.front() {
            match self.socket.poll_send(cx, datagram) {
                Poll::Ready(sent) => {
                    self.outgoing.pop_front();
                    self.sent(cx, sent);
                }
                Poll::Pending => return,
            }
        }
    }

    /// The next datagram's length. An error means that the socket is of no use any more.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.send_errors > MAX_ERRORS {
            return Poll::Ready(Err(io::Error::other("nothing can be sent")));
        }
        loop {
            match self.socket.poll_recv(cx, buffer) {
                Poll::Ready(Ok(length)) => {
                    self.errors = 0;
                    return Poll::Ready(Ok(length));
                }
                Poll::Ready(Err(error)) => {
                    self.errors += 1;
                    tracing::debug!(%error, "receiving failed");
                    if self.errors > MAX_ERRORS {
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn sent(&mut self, cx: &Context<'_>, sent: io::Result<()>) {
        let Err(error) = sent else {
            self.send_errors = 0;
            return;
        };
        self.dropped += 1;
        self.send_errors = self.send_errors.saturating_add(1);
        tracing::trace!(%error, "a datagram was not sent");
        if self.send_errors > MAX_ERRORS {
            // The next look at what has come tells of it.
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Brings nothing, and sends only one kind of datagram.
    struct Unreachable;

    impl DatagramSocket for Unreachable {
        fn poll_send(&mut self, _: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
            Poll::Ready(if datagram == b"lucky" {
                Ok(())
            } else {
                Err(io::ErrorKind::NetworkUnreachable.into())
            })
        }

        fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }
    }

    #[test]
    fn a_socket_that_sends_nothing_for_long_is_given_up() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut port = Port::new(Box::new(Unreachable));
        for _ in 0..3 {
            for _ in 0..MAX_ERRORS {
                port.send(cx, b"x");
                assert!(port.poll_recv(cx, &mut []).is_pending());
            }
            port.send(cx, b"lucky");
        }
        assert_eq!(port.dropped(), 3 * u64::from(MAX_ERRORS));
        for _ in 0..=MAX_ERRORS {
            assert!(port.poll_recv(cx, &mut []).is_pending());
            port.send(cx, b"x");
        }
        let Poll::Ready(Err(error)) = port.poll_recv(cx, &mut []) else {
            panic!("it is not given up");
        };
        assert_eq!(error.to_string(), "nothing can be sent");
    }
}
