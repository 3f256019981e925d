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
/// Errors in a row after which a socket is given up; an ICMP "port unreachable" is one error and may pass.
const MAX_ERRORS: u32 = 64;

pub(super) struct Port {
    socket: Box<dyn DatagramSocket>,
    outgoing: VecDeque<Vec<u8>>,
    errors: u32,
    dropped: u64,
}

impl Port {
    pub(super) fn new(socket: Box<dyn DatagramSocket>) -> Self {
        Self {
            socket,
            outgoing: VecDeque::new(),
            errors: 0,
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
                Poll::Ready(sent) => return self.sent(sent),
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
                    self.sent(sent);
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

    fn sent(&mut self, sent: io::Result<()>) {
        if let Err(error) = sent {
            // The session learns from its pings, if it goes on like that.
            self.dropped += 1;
            tracing::trace!(%error, "a datagram was not sent");
        }
    }
}
