use tokio::sync::mpsc;

use super::{ShardBuilder, ShardHandle, Shutdown};
use crate::{BotToken, GatewayError, GatewayEvent, SessionState};

/// A running shard: a task that keeps one connection to the Gateway, and the
/// receiving end of its events.
///
/// Dropping it shuts the shard down and keeps the session.
#[derive(Debug)]
pub struct Shard {
    events: mpsc::Receiver<Result<GatewayEvent, GatewayError>>,
    handle: ShardHandle,
    last_seq: Option<u64>,
}

impl Shard {
    /// Settings for a shard with this token.
    pub fn builder(token: impl Into<BotToken>) -> ShardBuilder {
        ShardBuilder::new(token.into())
    }

    pub(super) fn new(
        events: mpsc::Receiver<Result<GatewayEvent, GatewayError>>,
        handle: ShardHandle,
    ) -> Self {
        Self {
            events,
            handle,
            last_seq: None,
        }
    }

    /// The next event. `None` after the shard has shut down.
    ///
    /// # Errors
    ///
    /// Discord refused for good, or the settings cannot work; `None` follows.
    /// Everything else is answered by reconnecting and is no error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next_event(&mut self) -> Option<Result<GatewayEvent, GatewayError>> {
        let next = self.events.recv().await;
        if let Some(Ok(event)) = &next {
            self.last_seq = Some(event.seq);
        }
        next
    }

    /// A handle to the shard, for other tasks.
    pub fn handle(&self) -> ShardHandle {
        self.handle.clone()
    }

    /// Shuts the shard down and waits until it has: events that nobody took
    /// are dropped. Gives the session at the last event that
    /// [`next_event`](Self::next_event) has given, to be resumed later; `None`
    /// where there is no session, or with [`Shutdown::EndSession`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the shard: it shuts down, but nobody waits.
    pub async fn shutdown(mut self, how: Shutdown) -> Option<SessionState> {
        self.handle.shutdown(how);
        let dropped_from = self.last_seq;
        let mut dropped = false;
        let mut ready_dropped = false;
        while let Some(next) = self.events.recv().await {
            dropped = true;
            ready_dropped |=
                matches!(&next, Ok(event) if matches!(event.event, crate::Event::Ready(_)));
        }
        let session = self.handle.session()?;
        match dropped_from {
            _ if !dropped => Some(session),
            // The numbers before READY belong to another session.
            Some(seq) if !ready_dropped => Some(session.at(seq)),
            _ => None,
        }
    }
}
