//! What goes out: what the session asks for, and the view that handles read.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_tungstenite::tungstenite::Message;
use tokio::{sync::oneshot, time::Instant};

use super::{Driver, Turn, Udp};
use crate::{
    SignalError, VoiceEvent, VoiceStateRequest,
    client::{VoiceStats, link::Link, shared::View},
    session::{Action, LinkId, MlsJob, UdpId},
};

/// Goodbyes at a time; of more the oldest is cut short.
const MAX_CLOSING: usize = 4;
const STATS_INTERVAL: Duration = Duration::from_millis(500);

impl Driver {
    /// Does what the session asks for, until it asks for nothing more.
    pub(super) fn perform(&mut self, turn: &mut Turn<'_, '_>) {
        // The session has done all its work before it asks for anything, so the view is the same for all events in a row:
        // it is made for the first. In a call of thousands it is large, and so are the rows.
        let mut told = false;
        while let Some(action) = self.session.poll() {
            let again = std::mem::replace(&mut told, matches!(action, Action::Event(_)));
            match action {
                Action::Event(event) if again => self.shared.tell(&event),
                Action::Datagram { id, bytes } => {
                    self.send_datagram(turn, id, &bytes);
                    self.session.recycle(bytes);
                }
                Action::Audio(frame) => self.shared.hear(&frame),
                Action::SendText { id, text } => self.send(id, Message::text(text)),
                Action::SendBinary { id, bytes } => self.send(id, Message::binary(bytes)),
                Action::Signal(request) => self.signal(request),
                Action::OpenLink { id, url } => {
                    let link = Link::dial(Arc::clone(&self.connector), url);
                    self.link = Some((id, link));
                    turn.look_again();
                }
                Action::CloseLink { id, code } => {
                    self.close_link(id, code);
                    turn.look_again();
                }
                Action::OpenUdp { id, remote } => self.open_udp(turn, id, remote),
                Action::CloseUdp { id } => {
                    if self.udp.as_ref().is_some_and(|(open, _)| *open == id) {
                        self.close_udp(turn.net);
                    }
                }
                Action::Job(job) => self.start(turn, job),
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
            link.flush(turn.cx);
        }
    }

    fn send_datagram(&mut self, turn: &mut Turn<'_, '_>, id: UdpId, datagram: &[u8]) {
        let Some((_, udp)) = self.udp.as_mut().filter(|(open, _)| *open == id) else {
            return;
        };
        let taken = match udp {
            Udp::Shared(slot) => turn.net.send(*slot, turn.call, datagram),
            Udp::Open(port) => {
                port.send(turn.cx, datagram);
                true
            }
            Udp::Opening(_) => false,
        };
        self.unsent_before += u64::from(!taken);
    }

    fn open_udp(&mut self, turn: &mut Turn<'_, '_>, id: UdpId, remote: SocketAddr) {
        let options = self.udp_options;
        if self.connector.is_plain_udp()
            && let Some((slot, local)) = turn.net.attach(turn.call, remote, options)
        {
            self.udp = Some((id, Udp::Shared(slot)));
            let now = Instant::now().into_std();
            return self.session.udp_opened(now, id, local);
        }
        let connector = Arc::clone(&self.connector);
        let opening = Box::pin(async move { connector.udp(remote, options).await });
        self.udp = Some((id, Udp::Opening(opening)));
        turn.look_again();
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

    fn signal(&mut self, request: VoiceStateRequest) {
        let sent = match &mut self.signalling {
            Some(signalling) => signalling.update(request),
            None => Err(SignalError::Closed),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "op 4 was not sent");
            self.session.signal_failed(Instant::now().into_std());
        }
    }

    fn start(&mut self, turn: &mut Turn<'_, '_>, job: MlsJob) {
        let span = tracing::Span::current();
        // A commit for a large call takes longer than a frame lasts; the pace of the audio must not wait for it.
        let (reply, done) = oneshot::channel();
        self.job = Some(done);
        turn.jobs.run(move || {
            // Nobody may be waiting any more.
            let _ = reply.send(span.in_scope(|| job.run()));
        });
        turn.look_again();
    }

    fn tell(&mut self, event: VoiceEvent) {
        // Whoever hears an event finds the view as it is after it.
        self.stale = true;
        self.publish(Instant::now());
        self.shared.tell(&event);
    }

    pub(super) fn publish(&mut self, now: Instant) {
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
        #[cfg(test)]
        {
            self.published += 1;
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

    pub(super) fn unsent(&self) -> u64 {
        let now = match &self.udp {
            Some((_, Udp::Open(port))) => port.dropped(),
            _ => 0,
        };
        self.unsent_before + now
    }
}
