//! What comes in: orders, the main gateway, the voice gateway, datagrams, finished work.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{Driver, Turn, Udp};
use crate::{
    SignalEvent,
    client::{
        link::LinkEvent,
        pool::{SharedNet, Slot},
        port::Port,
        shared::{Orders, Target},
    },
    session::UdpId,
};

/// What is taken from one place before the others get their turn, and the pace its look.
const DATAGRAMS_A_TURN: usize = 32;
const MESSAGES_A_TURN: usize = 16;
const SIGNALS_A_TURN: usize = 16;
/// How long an abandoned client tries to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

impl Driver {
    pub(super) fn poll_orders(&mut self, turn: &mut Turn<'_, '_>, now: Instant) -> bool {
        let Orders {
            target,
            source,
            self_mute,
            self_deaf,
            verify,
            abandoned,
            ..
        } = self.shared.take_orders(turn.cx);
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
                turn.jobs.run_code(move || {
                    // Nobody may be waiting any more.
                    let _ = reply.send(job.run().ok());
                });
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
            self.perform(turn);
        }
        worked
    }

    pub(super) fn poll_signalling(&mut self, turn: &mut Turn<'_, '_>, now: Instant) -> bool {
        let at = now.into_std();
        let mut worked = false;
        for _ in 0..SIGNALS_A_TURN {
            let Some(signalling) = &mut self.signalling else {
                break;
            };
            let Poll::Ready(event) = signalling.poll_event(turn.cx) else {
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
            self.perform(turn);
        }
        worked
    }

    pub(super) fn poll_job(&mut self, turn: &mut Turn<'_, '_>, now: Instant) -> bool {
        let Some(job) = &mut self.job else {
            return false;
        };
        let Poll::Ready(done) = Pin::new(job).poll(turn.cx) else {
            return false;
        };
        self.job = None;
        match done {
            Ok(done) => self.session.job_done(now.into_std(), done),
            // Jobs catch their own panics; what is left is a runtime that shuts down, and the client with it.
            Err(_) => tracing::error!("work on the call's keys was lost"),
        }
        self.perform(turn);
        true
    }

    pub(super) fn poll_link(&mut self, turn: &mut Turn<'_, '_>, now: Instant) -> bool {
        let at = now.into_std();
        let mut worked = false;
        for _ in 0..MESSAGES_A_TURN {
            let Some((id, link)) = &mut self.link else {
                break;
            };
            let id = *id;
            let Poll::Ready(event) = link.poll(turn.cx) else {
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
            self.perform(turn);
        }
        worked
    }

    pub(super) fn poll_udp(&mut self, turn: &mut Turn<'_, '_>, now: Instant) -> bool {
        let at = now.into_std();
        let mut worked = false;
        for _ in 0..DATAGRAMS_A_TURN {
            let Some((id, udp)) = &mut self.udp else {
                break;
            };
            let id = *id;
            match udp {
                Udp::Opening(opening) => {
                    let Poll::Ready(opened) = opening.as_mut().poll(turn.cx) else {
                        break;
                    };
                    worked = true;
                    match opened.and_then(|socket| Ok((socket.local_addr()?, Port::new(socket)))) {
                        Ok((local, port)) => {
                            *udp = Udp::Open(port);
                            self.session.udp_opened(at, id, local);
                        }
                        Err(error) => self.udp_failed(turn.net, at, id, &error),
                    }
                }
                Udp::Shared(_) => break,
                Udp::Open(port) => {
                    port.poll_write(turn.cx);
                    let Poll::Ready(received) = port.poll_recv(turn.cx, turn.buffer) else {
                        break;
                    };
                    worked = true;
                    match received {
                        Ok(length) => {
                            if let Some(datagram) = turn.buffer.get_mut(..length) {
                                self.session.datagram(at, id, datagram);
                            }
                        }
                        Err(error) => self.udp_failed(turn.net, at, id, &error),
                    }
                }
            }
            self.perform(turn);
        }
        worked
    }

    /// The place on a shared socket is of no use any more. `false` if this client has given it up before.
    pub(in crate::client) fn shared_udp_failed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        now: Instant,
        slot: Slot,
    ) -> bool {
        let Some((id, Udp::Shared(open))) = self.udp else {
            return false;
        };
        if open != slot {
            return false;
        }
        let error = io::Error::other("too many errors in a row");
        self.udp_failed(turn.net, now.into_std(), id, &error);
        self.perform(turn);
        self.publish(now);
        true
    }

    pub(super) fn close_udp(&mut self, net: &mut SharedNet) {
        self.unsent_before = self.unsent();
        if let Some((_, Udp::Shared(slot))) = self.udp.take() {
            net.detach(slot);
        }
    }

    fn udp_failed(
        &mut self,
        net: &mut SharedNet,
        at: std::time::Instant,
        id: UdpId,
        error: &io::Error,
    ) {
        self.close_udp(net);
        tracing::debug!(%error, "the UDP socket is of no use");
        self.session.udp_failed(at, id);
    }

    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.closing.len();
        self.closing
            .retain_mut(|closing| closing.as_mut().poll(cx).is_pending());
        self.closing.len() < before
    }
}
