//! The one task of a client: session, sockets, timer and orders in one loop.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use async_tungstenite::tungstenite::Message;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, Sleep},
};

use super::{
    DiscordRtcClientBuilder, ReceiveMode, VoiceStats,
    link::{Link, LinkEvent},
    port::Port,
    shared::{Orders, Shared, Target, View},
};
use crate::{
    BoxFuture, ConnectError, ConnectionState, DatagramSocket, SignalError, SignalEvent, Signalling,
    UdpOptions, VoiceConnector, VoiceEvent,
    session::{Action, LinkId, MlsDone, MlsJob, Session, UdpId},
};

/// What is taken from one place before the others get their turn, and the pace its look.
const DATAGRAMS_A_TURN: usize = 32;
const MESSAGES_A_TURN: usize = 16;
const SIGNALS_A_TURN: usize = 16;
/// Larger than any datagram of voice, whose packets stay under an Ethernet frame.
const DATAGRAM_SIZE: usize = 2048;
/// Goodbyes at a time; of more the oldest is cut short.
const MAX_CLOSING: usize = 4;
/// How long an abandoned client tries to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
const STATS_INTERVAL: Duration = Duration::from_millis(500);

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
        while !self.finished() {
            std::future::poll_fn(|cx| self.poll_turn(cx)).await;
        }
        self.publish(Instant::now());
        self.shared.end();
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

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let wake = self.session.poll_timeout().map(Instant::from_std);
        let Some(wake) = [wake, self.leave_by].into_iter().flatten().min() else {
            return false;
        };
        if wake != self.timer.deadline() {
            self.timer.as_mut().reset(wake);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        // The runtime's timer counts in milliseconds, and the turn may have begun a little before it fired.
        let now = now.max(wake);
        self.session.timeout(now.into_std());
        self.perform(cx);
        true
    }

    fn poll_orders(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Orders {
            target,
            source,
            self_mute,
            self_deaf,
            verify,
            abandoned,
        } = self.shared.take_orders(cx);
        let at = now.into_std();
        let mut worked = false;
        if let Some(source) = source {
            self.session.set_source(at, source);
            worked = true;
        }
        if self_mute.is_some() || self_deaf.is_some() {
            self.self_mute = self_mute.unwrap_or(self.self_mute);
            self.self_deaf = self_deaf.unwrap_or(self.self_deaf);
            self.session.set_self(at, self.self_mute, self.self_deaf);
            worked = true;
        }
        match target {
            Some(Target::Channel(channel, reply)) => {
                self.connecting.push_back(reply);
                self.session.connect(at, channel);
                worked = true;
            }
            Some(Target::Nowhere(replies)) => {
                self.leaving.push_back(replies);
                self.session.disconnect(at);
                worked = true;
            }
            None => {}
        }
        for (user_id, reply) in verify {
            // Without a job the reply is dropped, which says that there is no code.
            if let Some(job) = self.session.verification(user_id) {
                tokio::task::spawn_blocking(move || reply.send(job.run().ok()));
            }
        }
        if abandoned && self.leave_by.is_none() {
            self.leave_by = Some(now + LEAVE_TIMEOUT);
            self.leaving.push_back(Vec::new());
            self.session.set_source(at, None);
            self.session.disconnect(at);
            worked = true;
        }
        if worked {
            self.perform(cx);
        }
        worked
    }

    fn poll_signalling(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let at = now.into_std();
        let mut worked = false;
        for _ in 0..SIGNALS_A_TURN {
            let Some(signalling) = &mut self.signalling else {
                break;
            };
            let Poll::Ready(event) = signalling.poll_event(cx) else {
                break;
            };
            worked = true;
            match event {
                Some(SignalEvent::VoiceState(state)) => self.session.voice_state(at, state),
                Some(SignalEvent::VoiceServer(server)) => self.session.voice_server(at, server),
                Some(SignalEvent::GatewayRestarted) => self.session.gateway_restarted(at),
                None => {
                    self.signalling = None;
                    self.session.signalling_closed(at);
                }
            }
            self.perform(cx);
        }
        worked
    }

    fn poll_job(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(job) = &mut self.job else {
            return false;
        };
        let Poll::Ready(done) = Pin::new(job).poll(cx) else {
            return false;
        };
        self.job = None;
        match done {
            Ok(done) => self.session.job_done(now.into_std(), done),
            // Jobs catch their own panics; what is left is a runtime that shuts down, and this task with it.
            Err(error) => tracing::error!(%error, "work on the call's keys was lost"),
        }
        self.perform(cx);
        true
    }

    fn poll_link(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let at = now.into_std();
        let mut worked = false;
        for _ in 0..MESSAGES_A_TURN {
            let Some((id, link)) = &mut self.link else {
                break;
            };
            let id = *id;
            let Poll::Ready(event) = link.poll(cx) else {
                break;
            };
            worked = true;
            match event {
                LinkEvent::Opened => self.session.link_opened(at, id),
                LinkEvent::Failed(error) => {
                    self.link = None;
                    tracing::debug!(%error, "the voice gateway could not be reached");
                    self.session.link_failed(at, id, &error.to_string());
                }
                LinkEvent::Text(text) => self.session.link_text(at, id, &text),
                LinkEvent::Binary(bytes) => self.session.link_binary(at, id, &bytes),
                LinkEvent::Closed(code) => {
                    self.link = None;
                    self.session.link_closed(at, id, code);
                }
            }
            self.perform(cx);
        }
        worked
    }

    fn poll_udp(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let at = now.into_std();
        let mut worked = false;
        for _ in 0..DATAGRAMS_A_TURN {
            let Some((id, udp)) = &mut self.udp else {
                break;
            };
            let id = *id;
            match udp {
                Udp::Opening(opening) => {
                    let Poll::Ready(opened) = opening.as_mut().poll(cx) else {
                        break;
                    };
                    worked = true;
                    match opened.and_then(|socket| Ok((socket.local_addr()?, Port::new(socket)))) {
                        Ok((local, port)) => {
                            *udp = Udp::Open(port);
                            self.session.udp_opened(at, id, local);
                        }
                        Err(error) => self.udp_failed(at, id, &error),
                    }
                }
                Udp::Open(port) => {
                    port.poll_write(cx);
                    let Poll::Ready(received) = port.poll_recv(cx, &mut self.buffer[..]) else {
                        break;
                    };
                    worked = true;
                    match received {
                        Ok(length) => {
                            if let Some(datagram) = self.buffer.get_mut(..length) {
                                self.session.datagram(at, id, datagram);
                            }
                        }
                        Err(error) => self.udp_failed(at, id, &error),
                    }
                }
            }
            self.perform(cx);
        }
        worked
    }

    fn close_udp(&mut self) {
        self.unsent_before = self.unsent();
        self.udp = None;
    }

    fn udp_failed(&mut self, at: std::time::Instant, id: UdpId, error: &io::Error) {
        self.close_udp();
        tracing::debug!(%error, "the UDP socket is of no use");
        self.session.udp_failed(at, id);
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.closing.len();
        self.closing
            .retain_mut(|closing| closing.as_mut().poll(cx).is_pending());
        self.closing.len() < before
    }

    /// Does what the session asks for, until it asks for nothing more.
    fn perform(&mut self, cx: &mut Context<'_>) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Datagram { id, bytes } => {
                    if let Some((open, Udp::Open(port))) = &mut self.udp
                        && *open == id
                    {
                        port.send(cx, &bytes);
                    }
                    self.session.recycle(bytes);
                }
                Action::Audio(frame) => self.shared.hear(&frame),
                Action::SendText { id, text } => self.send(id, Message::text(text)),
                Action::SendBinary { id, bytes } => self.send(id, Message::binary(bytes)),
                Action::Signal(request) => self.signal(request),
                Action::OpenLink { id, url } => {
                    let link = Link::dial(Arc::clone(&self.connector), url);
                    self.link = Some((id, link));
                }
                Action::CloseLink { id, code } => self.close_link(id, code),
                Action::OpenUdp { id, remote } => {
                    let connector = Arc::clone(&self.connector);
                    let options = self.udp_options;
                    let opening = Box::pin(async move { connector.udp(remote, options).await });
                    self.udp = Some((id, Udp::Opening(opening)));
                }
                Action::CloseUdp { id } => {
                    if self.udp.as_ref().is_some_and(|(open, _)| *open == id) {
                        self.close_udp();
                    }
                }
                Action::Job(job) => self.start(job),
                Action::Event(event) => self.tell(event),
                Action::Connected(result) => {
                    self.stale = true;
                    self.publish(Instant::now());
                    if let Some(reply) = self.connecting.pop_front() {
                        // Nobody may be waiting any more.
                        let _ = reply.send(result);
                    }
                }
                Action::Disconnected => {
                    self.stale = true;
                    self.publish(Instant::now());
                    for reply in self.leaving.pop_front().into_iter().flatten() {
                        let _ = reply.send(());
                    }
                }
            }
        }
        // What was sent is written in the same turn.
        if let Some((_, link)) = &mut self.link {
            link.flush(cx);
        }
    }

    fn send(&mut self, id: LinkId, message: Message) {
        if let Some((open, link)) = &mut self.link
            && *open == id
        {
            link.send(message);
        }
    }

    fn close_link(&mut self, id: LinkId, code: u16) {
        let Some((_, link)) = self.link.take_if(|(open, _)| *open == id) else {
            return;
        };
        if let Some(closing) = link.close(code) {
            if self.closing.len() >= MAX_CLOSING {
                self.closing.pop_front();
            }
            self.closing.push_back(closing);
        }
    }

    fn signal(&mut self, request: crate::VoiceStateRequest) {
        let sent = match &mut self.signalling {
            Some(signalling) => signalling.update(request),
            None => Err(SignalError::Closed),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "op 4 was not sent");
            self.session.signal_failed(Instant::now().into_std());
        }
    }

    fn start(&mut self, job: MlsJob) {
        let span = tracing::Span::current();
        // A commit for a large call takes some 100 ms of CPU; the pace of the audio must not wait for it.
        self.job = Some(tokio::task::spawn_blocking(move || {
            span.in_scope(|| job.run())
        }));
    }

    fn tell(&mut self, event: VoiceEvent) {
        // Whoever hears an event finds the view as it is after it.
        self.stale = true;
        self.publish(Instant::now());
        self.shared.tell(&event);
    }

    fn publish(&mut self, now: Instant) {
        if !self.stale && now < self.next_stats {
            return;
        }
        self.next_stats = now + STATS_INTERVAL;
        let lagged = self.shared.audio_lagged.load(Ordering::Relaxed);
        let stats = VoiceStats::new(self.session.stats(), self.unsent(), lagged);
        if !std::mem::take(&mut self.stale) {
            self.shared.view(|view| view.stats = stats);
            return;
        }
        let view = View {
            channel: self.session.channel(),
            participants: self.session.participants(),
            stats,
            privacy_code: self.session.privacy_code().map(str::to_owned),
        };
        self.shared.view(|published| *published = view);
        let state = self.session.state();
        self.shared
            .state
            .send_if_modified(|published| std::mem::replace(published, state) != state);
    }

    fn unsent(&self) -> u64 {
        let now = match &self.udp {
            Some((_, Udp::Open(port))) => port.dropped(),
            _ => 0,
        };
        self.unsent_before + now
    }
}
