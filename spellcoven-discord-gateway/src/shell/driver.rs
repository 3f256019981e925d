//! The one task of a shard: protocol, socket, timer and consumer in one loop.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use async_tungstenite::tungstenite::Message;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep},
};

use super::{
    ShardBuilder, Shutdown,
    handle::Shared,
    link::{Link, LinkEvent},
};
use crate::{
    BoxFuture, Command, Connector, GatewayError, GatewayEvent, IdentifyQueue,
    proto::{Output, Protocol},
};

pub(super) struct Driver {
    protocol: Protocol,
    connector: Arc<dyn Connector>,
    queue: Arc<dyn IdentifyQueue>,
    shard_id: u32,
    max_message_size: usize,
    link: Link,
    /// Saying goodbye on the connection before.
    closing: Option<BoxFuture<'static, ()>>,
    grant: Option<BoxFuture<'static, ()>>,
    timer: Pin<Box<Sleep>>,
    events: mpsc::Sender<Result<GatewayEvent, GatewayError>>,
    /// What did not fit into the buffer. While anything stands here the
    /// connection is not read, so this holds what one message gave at most.
    pending: VecDeque<Result<GatewayEvent, GatewayError>>,
    last_event_seq: Option<u64>,
    commands: mpsc::Receiver<Command>,
    shutdown: watch::Receiver<Option<Shutdown>>,
    shared: Arc<Shared>,
}

enum Input {
    Shutdown(Shutdown),
    Timer,
    Granted,
    ClosingDone,
    Command(Command),
    Room,
    Link(LinkEvent),
}

impl Driver {
    /// Must be called within a runtime.
    pub(super) fn new(
        builder: ShardBuilder,
        events: mpsc::Sender<Result<GatewayEvent, GatewayError>>,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        Self {
            shard_id: builder.protocol.shard[0],
            max_message_size: builder.protocol.max_message_size,
            protocol: Protocol::new(builder.protocol, now.into_std()),
            connector: builder.connector,
            queue: builder.queue,
            link: Link::None,
            closing: None,
            grant: None,
            timer: Box::pin(tokio::time::sleep_until(now)),
            events,
            pending: VecDeque::new(),
            last_event_seq: None,
            commands,
            shutdown: shared.shutdown.subscribe(),
            shared,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.perform_outputs();
            self.shared.publish(
                &self.protocol,
                self.last_event_seq,
                !self.pending.is_empty(),
            );
            let finished = self.protocol.is_finished();
            if finished && self.closing.is_none() && self.pending.is_empty() {
                return;
            }
            let input = self.next_input().await;
            self.handle(input);
        }
    }

    async fn next_input(&mut self) -> Input {
        let finished = self.protocol.is_finished();
        let wake = self.protocol.poll_timeout().map(Instant::from_std);
        if let Some(wake) = wake
            && wake != self.timer.deadline()
        {
            self.timer.as_mut().reset(wake);
        }
        let reading = self.pending.is_empty();
        tokio::select! {
            biased;
            how = asked(&mut self.shutdown), if !finished => Input::Shutdown(how),
            // A dropped shard: nobody will take another event.
            () = self.events.closed(), if !finished || !reading => {
                self.pending.clear();
                Input::Shutdown(Shutdown::KeepSession)
            }
            () = self.timer.as_mut(), if wake.is_some() => Input::Timer,
            () = optional(&mut self.grant) => Input::Granted,
            () = optional(&mut self.closing) => Input::ClosingDone,
            Some(command) = self.commands.recv(), if self.protocol.wants_command() => {
                Input::Command(command)
            }
            _ = self.events.reserve(), if !reading => Input::Room,
            event = self.link.next(reading) => Input::Link(event),
        }
    }

    fn handle(&mut self, input: Input) {
        let now = Instant::now().into_std();
        match input {
            Input::Shutdown(how) => {
                self.protocol
                    .request_shutdown(how == Shutdown::KeepSession, now);
            }
            Input::Timer => self.protocol.handle_timeout(now),
            Input::Granted => {
                self.grant = None;
                self.protocol.identify_granted(now);
            }
            Input::ClosingDone => self.closing = None,
            Input::Command(command) => {
                if let Err(error) = self.protocol.handle_command(&command, now) {
                    // It was checked before it was queued, so only the end of
                    // the shard is left as a reason.
                    tracing::debug!(%error, "a command is dropped");
                }
            }
            // Every turn of the loop tries to empty `pending`.
            Input::Room => {}
            Input::Link(event) => self.handle_link(event, now),
        }
    }

    fn handle_link(&mut self, event: LinkEvent, now: std::time::Instant) {
        match event {
            LinkEvent::Connected => self.protocol.handle_connected(now),
            LinkEvent::ConnectFailed(error) => {
                tracing::warn!(%error, "the connection could not be opened");
                self.protocol.handle_connect_failed(now);
            }
            LinkEvent::Message(Message::Text(text)) => self.protocol.handle_message(&*text, now),
            LinkEvent::Message(Message::Binary(bytes)) => self.protocol.handle_binary(bytes, now),
            // Pings are answered by tungstenite.
            LinkEvent::Message(_) => {}
            LinkEvent::Closed(code) => {
                self.grant = None;
                self.protocol.handle_closed(code, now);
            }
        }
    }

    fn perform_outputs(&mut self) {
        while let Some(output) = self.protocol.poll_output() {
            match output {
                Output::Connect { url } => {
                    let connector = Arc::clone(&self.connector);
                    self.link = Link::dial(connector, url, self.max_message_size);
                }
                Output::Send(payload) => {
                    debug_assert!(
                        self.link.is_open(),
                        "the protocol sends on open connections"
                    );
                    self.link.send(payload.into_string());
                }
                Output::Close { code } => {
                    self.grant = None;
                    if let Some(closing) = self.link.close(code) {
                        self.closing = Some(closing);
                    }
                }
                Output::RequestIdentify => {
                    let queue = Arc::clone(&self.queue);
                    let shard_id = self.shard_id;
                    self.grant = Some(Box::pin(async move { queue.acquire(shard_id).await }));
                }
                Output::State(state) => self.shared.publish_state(state),
                Output::Dispatch(event) => self.pending.push_back(Ok(event)),
                Output::Fatal(error) => {
                    self.link = Link::None;
                    self.grant = None;
                    self.pending.push_back(Err(error));
                }
            }
        }
        self.flush_pending();
        let now = Instant::now().into_std();
        if self.pending.is_empty() {
            self.protocol.resume_reading(now);
        } else {
            self.protocol.pause_reading(now);
        }
    }

    fn flush_pending(&mut self) {
        while let Some(next) = self.pending.pop_front() {
            let seq = next.as_ref().ok().map(|event| event.seq);
            match self.events.try_send(next) {
                Ok(()) => self.last_event_seq = seq.or(self.last_event_seq),
                Err(mpsc::error::TrySendError::Full(next)) => {
                    self.pending.push_front(next);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.pending.clear(),
            }
        }
    }
}

async fn asked(shutdown: &mut watch::Receiver<Option<Shutdown>>) -> Shutdown {
    loop {
        let asked = *shutdown.borrow_and_update();
        if let Some(how) = asked {
            return how;
        }
        if shutdown.changed().await.is_err() {
            // The sender stands in `Shared`, which the driver itself holds.
            return std::future::pending().await;
        }
    }
}

async fn optional(future: &mut Option<BoxFuture<'static, ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
