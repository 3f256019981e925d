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
        Self { events, handle }
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
            self.handle.taken(event);
        }
        next
    }

    /// A handle to the shard, for other tasks.
    pub fn handle(&self) -> ShardHandle {
        self.handle.clone()
    }

    /// Shuts the shard down and waits until it has; events that nobody took
    /// are dropped. Gives the session at the last event that
    /// [`next_event`](Self::next_event) has given, to be resumed later: what
    /// was dropped is replayed then. `None` where there is no session, or with
    /// [`Shutdown::EndSession`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the shard: it shuts down, but nobody waits.
    pub async fn shutdown(mut self, how: Shutdown) -> Option<SessionState> {
        self.handle.shutdown(how);
        while self.events.recv().await.is_some() {}
        self.handle.session()
    }
}
