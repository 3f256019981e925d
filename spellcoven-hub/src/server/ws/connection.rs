use std::{
    future::{pending, poll_fn},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_tungstenite::tungstenite::Message;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep_until},
};

use super::pump::{Incoming, Pump, ping};
use crate::{
    BoxFuture,
    server::{
        auth::{AuthError, Verified},
        core::to_text,
        hub::Shared,
        metrics::Metrics,
        registry::Place,
        session::{Action, Close, Session, SessionLimits},
    },
    wire::{
        AuthOk, Envelope, ErrorBody, MessageKind, PROTOCOL_VERSION, ReconnectAdvice, ResumePoint,
        close, names,
    },
};

/// A token that came with the handshake.
pub(crate) struct FirstAuth {
    pub(crate) token: String,
    pub(crate) resume: Option<ResumePoint>,
}

type Verifying = BoxFuture<'static, Result<Verified, AuthError>>;

struct Connection<S> {
    shared: Arc<Shared>,
    pump: Pump<S>,
    session: Session,
    verifying: Option<Verifying>,
    place: Place,
    user: Option<Arc<str>>,
    /// This connection's part of the gauge.
    buffered: u64,
    request_id: String,
}

enum Step {
    Stopping(Duration),
    Verified(Result<Verified, AuthError>),
    Timeout,
    Incoming(Incoming),
    Head,
}

/// How a connection ended.
enum End {
    /// We close.
    Close(Close),
    /// The peer closed, perhaps with a code.
    Peer(Option<u16>),
    /// The peer vanished.
    Gone,
}

/// Serves a connection until its end.
pub(crate) async fn run<S>(
    shared: Arc<Shared>,
    io: S,
    first: Option<FirstAuth>,
    place: Place,
    full: bool,
    request_id: String,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = SessionLimits::new(&shared.limits, shared.verifier.leeway_ms());
    let mut connection = Connection {
        pump: Pump::new(io, shared.limits.max_client_message).await,
        session: Session::new(Instant::now(), limits),
        verifying: None,
        place,
        user: None,
        buffered: 0,
        request_id,
        shared,
    };
    let end = if full {
        End::Close(Close::quiet(
            close::TOO_MANY_CONNECTIONS,
            close::reason::TOO_MANY_CONNECTIONS,
        ))
    } else {
        let started = first.and_then(|first| connection.session.begin(first.token, first.resume));
        match started.and_then(|action| connection.act(action)) {
            Some(end) => end,
            None => connection.serve().await,
        }
    };
    connection.finish(end).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    async fn serve(&mut self) -> End {
        let mut head = self.shared.head.subscribe();
        let mut stopping = self.shared.stopping.subscribe();
        // When the hub stops: this connection's turn to be closed.
        let mut leave = None;
        let timer = sleep_until(self.session.poll_timeout());
        tokio::pin!(timer);
        loop {
            let due = self.session.poll_timeout();
            let due = leave.map_or(due, |at| due.min(at));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            let read = self.session.wants_input();
            let step = tokio::select! {
                biased;
                // The senders live in the hub that `self` holds.
                spread = stopped(&mut stopping), if leave.is_none() => Step::Stopping(spread),
                result = verified(&mut self.verifying) => Step::Verified(result),
                () = &mut timer => Step::Timeout,
                incoming = poll_fn(|cx| self.pump.poll(cx, read)) => Step::Incoming(incoming),
                _ = head.changed() => Step::Head,
            };
            let now = Instant::now();
            let action = match step {
                Step::Stopping(spread) => {
                    leave = Some(now + spread.mul_f64(self.shared.with_rng(|rng| rng.f64())));
                    None
                }
                Step::Timeout if leave.is_some_and(|at| now >= at) => Some(Action::Close(
                    Close::quiet(close::GOING_AWAY, close::reason::GOING_AWAY),
                )),
                Step::Verified(result) => {
                    self.verifying = None;
                    self.session
                        .handle_verified(result, now, self.shared.clock.now_ms())
                }
                Step::Timeout => self.session.handle_timeout(now),
                Step::Incoming(Incoming::Closed(code)) => return End::Peer(code),
                Step::Incoming(Incoming::Gone) => return End::Gone,
                Step::Incoming(incoming) => self.handle_incoming(incoming, now),
                Step::Head => None,
            };
            if let Some(end) = action.and_then(|action| self.act(action)) {
                return end;
            }
            if self.account() {
                return End::Close(Close::quiet(
                    close::TRY_AGAIN_LATER,
                    close::reason::SLOW_CONSUMER,
                ));
            }
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming, now: Instant) -> Option<Action> {
        match incoming {
            Incoming::Text(text) => self.session.handle_text(&text, now),
            Incoming::Binary => self.session.handle_binary(),
            Incoming::Control => self.session.handle_control(now),
            Incoming::TooLarge => Some(Action::Close(Close::quiet(
                close::TOO_LARGE,
                close::reason::TOO_LARGE,
            ))),
            Incoming::Protocol => Some(Action::Close(Close::quiet(
                close::POLICY,
                close::reason::BAD_MESSAGE,
            ))),
            Incoming::Closed(_) | Incoming::Gone => None,
        }
    }

    fn act(&mut self, action: Action) -> Option<End> {
        match action {
            Action::Verify(token) => {
                let verifier = self.shared.verifier.clone();
                self.verifying = Some(Box::pin(async move { verifier.verify(&token).await }));
            }
            Action::Open { sub, resume } => return self.open(sub, resume),
            Action::Extended => {
                let seq = self.pump.position();
                self.acknowledge(seq, None);
            }
            Action::Snapshot => {
                let ts = self.shared.clock.now_ms();
                let snapshot = self.shared.with_core(|core| core.snapshot(ts));
                Metrics::add(&self.shared.metrics.snapshots, 1);
                self.pump.send_snapshot(snapshot.seq, snapshot.message);
            }
            Action::Ping => self.pump.send(ping()),
            Action::Close(close) => return Some(End::Close(close)),
        }
        None
    }

    /// The first token was good: from one look at the core come the place in the log and, if need be, the snapshot, so that
    /// nothing is lost or told twice in between.
    fn open(&mut self, user: Arc<str>, resume: Option<ResumePoint>) -> Option<End> {
        if !self.place.identify(&user) {
            let reason = close::reason::TOO_MANY_CONNECTIONS;
            return Some(End::Close(Close::quiet(
                close::TOO_MANY_CONNECTIONS,
                reason,
            )));
        }
        let ts = self.shared.clock.now_ms();
        let (cursor, head, snapshot) = self.shared.with_core(|core| {
            let resumed = resume.as_ref().and_then(|point| core.resume(point));
            let snapshot = (resume.is_some() && resumed.is_none()).then(|| core.snapshot(ts));
            (
                resumed.unwrap_or_else(|| core.log.subscribe()),
                core.head(),
                snapshot,
            )
        });
        let metrics = &self.shared.metrics;
        let resumed = resume.map(|_| snapshot.is_none());
        Metrics::add(&metrics.opened, 1);
        Metrics::add(&metrics.resumed, u64::from(resumed == Some(true)));
        Metrics::add(&metrics.snapshots, u64::from(resumed == Some(false)));
        let request_id = self.request_id.as_str();
        tracing::info!(
            user = &*user,
            resumed,
            request_id,
            "WebSocket client connected"
        );
        self.user = Some(user);
        self.acknowledge(cursor.at().seq, resumed);
        self.pump.go_live(cursor, head);
        if let Some(snapshot) = snapshot {
            self.pump.send_snapshot(snapshot.seq, snapshot.message);
        }
        None
    }

    fn acknowledge(&mut self, seq: u64, resumed: Option<bool>) {
        let guild_id = self.shared.guild_id;
        let payload = AuthOk {
            guild_id,
            reconnect: Some(ReconnectAdvice {
                max_attempts: self.shared.max_attempts,
            }),
            epoch: Some(self.shared.with_core(|core| core.epoch.clone())),
            seq: Some(seq),
            resumed,
        };
        let mut message = self.envelope(MessageKind::Ack, names::AUTH_OK, payload);
        message.guild_id = Some(guild_id);
        self.pump.send(Message::Text(to_text(&message)));
    }

    fn envelope<P: Serialize>(&self, kind: MessageKind, event: &str, payload: P) -> Envelope<P> {
        Envelope {
            v: PROTOCOL_VERSION,
            kind,
            event: event.to_owned(),
            payload,
            ts: self.shared.clock.now_ms(),
            guild_id: None,
            epoch: None,
            seq: None,
            error: None,
        }
    }

    /// Keeps the counters, and tells whether the client is too slow.
    fn account(&mut self) -> bool {
        let metrics = &self.shared.metrics;
        let delivered = self.pump.take_delivered();
        if delivered > 0 {
            Metrics::add(&metrics.delivered, delivered);
        }
        let buffered = self.pump.buffered(*self.shared.head.borrow());
        if buffered != self.buffered {
            let change = buffered.cast_signed() - self.buffered.cast_signed();
            metrics.buffered.fetch_add(change, Relaxed);
            self.buffered = buffered;
        }
        buffered > self.shared.limits.max_buffered as u64
    }

    async fn finish(mut self, end: End) {
        let metrics = &self.shared.metrics;
        metrics
            .buffered
            .fetch_sub(self.buffered.cast_signed(), Relaxed);
        let (code, reason) = match &end {
            End::Close(close) => (Some(close.code), close.reason),
            End::Peer(code) => (*code, "client_closed"),
            End::Gone => (None, "client_gone"),
        };
        metrics.closed.add(reason);
        let user = self.user.as_deref();
        tracing::info!(
            user,
            code,
            reason,
            request_id = self.request_id,
            "WebSocket client disconnected"
        );
        let wait = self.shared.limits.close_timeout;
        match end {
            End::Close(close) => {
                if let Some((code, message)) = close.error {
                    let mut error = self.envelope(MessageKind::Error, names::ERROR, Empty {});
                    error.error = Some(ErrorBody {
                        code,
                        message: message.to_owned(),
                    });
                    self.pump.send(Message::Text(to_text(&error)));
                }
                self.pump.close(close.code, close.reason, wait).await;
            }
            // Lets the answer to the close frame out.
            End::Peer(_) => self.pump.finish(wait).await,
            End::Gone => {}
        }
        Metrics::add(&self.shared.metrics.delivered, self.pump.take_delivered());
    }
}

/// A payload that says nothing; the envelope demands one.
#[derive(Serialize)]
struct Empty {}

async fn stopped(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stopping
        .wait_for(Option::is_some)
        .await
        .map(|spread| *spread)
    {
        Ok(Some(spread)) => spread,
        // The sender lives in the hub that the connection holds.
        _ => pending().await,
    }
}

async fn verified(verifying: &mut Option<Verifying>) -> Result<Verified, AuthError> {
    match verifying {
        Some(verifying) => verifying.await,
        None => pending().await,
    }
}
