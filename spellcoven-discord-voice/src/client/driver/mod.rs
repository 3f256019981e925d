//! One client: session, sockets, timer and orders, looked at in turns.

mod inputs;
mod outputs;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io, sync::Arc, task::Context};

use tokio::{sync::oneshot, time::Instant};

use super::{
    DiscordRtcClientBuilder, ReceiveMode,
    link::Link,
    pool::{Jobs, SharedNet, Slot},
    port::Port,
    shared::Shared,
};
use crate::{
    BoxFuture, CallError, ConnectError, ConnectionState, DatagramSocket, EndReason, GuildMarker,
    Id, Signalling, UdpOptions, VoiceConnector, VoiceEvent, VoiceStateRequest,
    session::{LinkId, MlsDone, Session, UdpId},
};

/// What all clients of a shard share, and which of them has its turn.
pub(super) struct Turn<'a, 'c> {
    /// Wakes this client and no other.
    pub(super) cx: &'a mut Context<'c>,
    pub(super) call: usize,
    pub(super) net: &'a mut SharedNet,
    pub(super) jobs: &'a Jobs,
    /// Room for a datagram.
    pub(super) buffer: &'a mut [u8],
}

impl Turn<'_, '_> {
    /// What was begun just now is polled by a look, and whoever has its turn by the time or a datagram gets none.
    fn look_again(&self) {
        self.cx.waker().wake_by_ref();
    }
}

pub(super) struct Driver {
    guild_id: Id<GuildMarker>,
    session: Session,
    shared: Arc<Shared>,
    signalling: Option<Box<dyn Signalling>>,
    connector: Arc<dyn VoiceConnector>,
    udp_options: UdpOptions,
    link: Option<(LinkId, Link)>,
    /// Saying goodbye on earlier connections.
    closing: VecDeque<BoxFuture<'static, ()>>,
    udp: Option<(UdpId, Udp)>,
    job: Option<oneshot::Receiver<MlsDone>>,
    connecting: VecDeque<oneshot::Sender<Result<(), ConnectError>>>,
    leaving: VecDeque<Vec<oneshot::Sender<()>>>,
    self_mute: bool,
    self_deaf: bool,
    /// Set when the last handle is gone: when to stop waiting for the goodbye.
    leave_by: Option<Instant>,
    next_stats: Instant,
    /// The view, apart from the statistics, may have changed.
    stale: bool,
    /// How often the view was made.
    #[cfg(test)]
    published: usize,
    /// By earlier sockets.
    unsent_before: u64,
}

enum Udp {
    Opening(BoxFuture<'static, io::Result<Box<dyn DatagramSocket>>>),
    Open(Port),
    /// A place on a socket of the shard.
    Shared(Slot),
}

impl Driver {
    pub(super) fn new(builder: DiscordRtcClientBuilder, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            guild_id: builder.session.guild_id,
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
            connecting: VecDeque::new(),
            leaving: VecDeque::new(),
            leave_by: None,
            next_stats: now,
            stale: true,
            #[cfg(test)]
            published: 0,
            unsent_before: 0,
        }
    }

    /// Whether there is nothing left to do: the last handle is gone, and the client has left.
    pub(super) fn is_finished(&self, now: Instant) -> bool {
        self.leave_by.is_some_and(|by| {
            let left = self.session.state() == ConnectionState::Disconnected
                && self.closing.is_empty()
                && self.link.is_none();
            left || now >= by
        })
    }

    /// When [`timeout`](Self::timeout) is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        let session = self.session.poll_timeout().map(Instant::from_std);
        match (session, self.leave_by) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The time has come: the beat of the audio above all.
    pub(super) fn timeout(&mut self, turn: &mut Turn<'_, '_>, now: Instant) {
        self.session.timeout(now.into_std());
        self.perform(turn);
        self.publish(now);
    }

    /// Looks at everything but the time once, and takes a bounded number of things from each, so that none keeps another
    /// waiting, or another client. `true` when something was done: then there may be more to do.
    pub(super) fn look(&mut self, turn: &mut Turn<'_, '_>, now: Instant) -> bool {
        let mut worked = self.poll_orders(turn, now);
        worked |= self.poll_signalling(turn, now);
        worked |= self.poll_job(turn, now);
        worked |= self.poll_link(turn, now);
        worked |= self.poll_udp(turn, now);
        worked |= self.poll_closing(turn.cx);
        if worked {
            self.perform(turn);
            self.publish(now);
        }
        worked
    }

    /// A datagram that came by the shard's socket.
    pub(super) fn datagram(&mut self, turn: &mut Turn<'_, '_>, now: Instant, datagram: &mut [u8]) {
        if let Some((id, Udp::Shared(_))) = self.udp {
            self.session.datagram(now.into_std(), id, datagram);
            self.perform(turn);
            self.publish(now);
        }
    }

    /// A datagram was not sent by the shard's socket.
    pub(super) fn count_unsent(&mut self) {
        self.unsent_before += 1;
    }

    /// The client is done: the view stays as it is then.
    pub(super) fn end(&mut self, net: &mut SharedNet, now: Instant) {
        self.close_udp(net);
        self.publish(now);
    }

    /// Something that the embedder gave has panicked, and what is in here may be amiss: the call ends, as well as that
    /// is still possible.
    pub(super) fn crashed(&mut self, net: &mut SharedNet) {
        self.close_udp(net);
        self.shared.view(|view| {
            view.channel = None;
            view.participants.clear();
            view.privacy_code = None;
        });
        let reason = EndReason::Failed(CallError::Panicked);
        self.shared.tell(&VoiceEvent::Ended(reason));
        if let Some(signalling) = &mut self.signalling {
            // Nobody is there to hear of an error.
            let _ = signalling.update(VoiceStateRequest::new(self.guild_id, None));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // However it comes about, whoever waits is told.
        self.shared.end();
    }
}
