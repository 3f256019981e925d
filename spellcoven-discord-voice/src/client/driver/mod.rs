//! The one task of a client: session, sockets, timer and orders in one loop.

mod inputs;
mod outputs;

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, Sleep},
};

use super::{DiscordRtcClientBuilder, ReceiveMode, link::Link, port::Port, shared::Shared};
use crate::{
    BoxFuture, ConnectError, ConnectionState, DatagramSocket, Signalling, UdpOptions,
    VoiceConnector,
    session::{LinkId, MlsDone, Session, UdpId},
};

/// Larger than any datagram of voice, whose packets stay under an Ethernet frame.
const DATAGRAM_SIZE: usize = 2048;

pub(super) struct Driver {
    session: Session,
    shared: Arc<Shared>,
    signalling: Option<Box<dyn Signalling>>,
    connector: Arc<dyn VoiceConnector>,
    udp_options: UdpOptions,
    link: Option<(LinkId, Link)>,
    /// Saying goodbye on earlier connections.
    closing: VecDeque<BoxFuture<'static, ()>>,
    udp: Option<(UdpId, Udp)>,
    job: Option<JoinHandle<MlsDone>>,
    timer: Pin<Box<Sleep>>,
    buffer: Box<[u8; DATAGRAM_SIZE]>,
    connecting: VecDeque<oneshot::Sender<Result<(), ConnectError>>>,
    leaving: VecDeque<Vec<oneshot::Sender<()>>>,
    self_mute: bool,
    self_deaf: bool,
    /// Set when the last handle is gone: when to stop waiting for the goodbye.
    leave_by: Option<Instant>,
    next_stats: Instant,
    /// The view, apart from the statistics, may have changed.
    stale: bool,
    /// By earlier sockets.
    unsent_before: u64,
}

/// However the task ends, whoever waits for it is told.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

enum Udp {
    Opening(BoxFuture<'static, io::Result<Box<dyn DatagramSocket>>>),
    Open(Port),
}

impl Driver {
    /// Must be called within a runtime.
    pub(super) fn new(builder: DiscordRtcClientBuilder, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            self_mute: builder.session.self_mute,
            self_deaf: builder.session.self_deaf,
            session: Session::new(builder.session, now.into_std()),
            udp_options: if builder.settings.receive == ReceiveMode::Off {
                UdpOptions::SEND_ONLY
            } else {
                UdpOptions::default()
            },
            shared,
            signalling: Some(builder.signalling),
            connector: builder.connector,
            link: None,
            closing: VecDeque::new(),
            udp: None,
            job: None,
            timer: Box::pin(tokio::time::sleep_until(now)),
            buffer: Box::new([0; DATAGRAM_SIZE]),
            connecting: VecDeque::new(),
            leaving: VecDeque::new(),
            leave_by: None,
            next_stats: now,
            stale: true,
            unsent_before: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let _end = End(Arc::clone(&self.shared));
        while !self.finished() {
            std::future::poll_fn(|cx| self.poll_turn(cx)).await;
        }
        self.publish(Instant::now());
    }

    fn finished(&self) -> bool {
        self.leave_by.is_some_and(|by| {
            let left = self.session.state() == ConnectionState::Disconnected
                && self.closing.is_empty()
                && self.link.is_none();
            left || Instant::now() >= by
        })
    }

    /// Looks at everything once, the pace of the audio first, and takes a bounded number of things from each, so that
    /// none keeps another waiting. Ready when something was done.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let mut worked = self.poll_timer(cx, now);
        worked |= self.poll_orders(cx, now);
        worked |= self.poll_signalling(cx, now);
        worked |= self.poll_job(cx, now);
        worked |= self.poll_link(cx, now);
        worked |= self.poll_udp(cx, now);
        worked |= self.poll_closing(cx);
        if worked {
            self.perform(cx);
            self.publish(now);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
