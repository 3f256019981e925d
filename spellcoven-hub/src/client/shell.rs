//! The client as its reader holds it, and the handle for other tasks.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::builder::HubClientBuilder;
use super::token::TokenSource;
use super::update::Update;
use super::view::RoomsView;

#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Reconnect,
    RefreshToken,
    RequestSnapshot,
    Close,
}

/// A client of `/api/ws`: gives [`Update`]s and keeps a [`RoomsView`].
///
/// Dropping it closes the connection and ends its task.
///
/// # Examples
///
/// ```
/// use spellcoven_hub::client::{HubClient, Update};
/// # use spellcoven_hub::client::{BoxFuture, Connector, DialError, IoStream};
/// # struct NoHub;
/// # impl Connector for NoHub {
/// #     fn dial<'a>(&'a self, _: &'a http::Uri) -> BoxFuture<'a, Result<Box<dyn IoStream>, DialError>> {
/// #         Box::pin(async { Err(DialError::Connect(std::io::ErrorKind::ConnectionRefused.into())) })
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = HubClient::builder("ws://127.0.0.1:3000/api/ws", "a token")
///     .max_attempts(1)
/// #   .connector(NoHub)
///     .start()?;
/// while let Some(update) = client.next().await {
///     match update {
///         Update::Event { event, .. } => println!("{event:?}; now {} rooms", client.view().room_count()),
///         Update::Disconnected { reason, retry_in, .. } => println!("{reason}; again in {retry_in:?}"),
///         // A program with a person in front offers `client.reconnect()` here.
///         Update::GaveUp { .. } | Update::Unauthorized { .. } => break,
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HubClient {
    updates: mpsc::Receiver<Update>,
    handle: HubClientHandle,
    view: RoomsView,
}

impl HubClient {
    pub(super) fn new(updates: mpsc::Receiver<Update>, commands: mpsc::Sender<Command>) -> Self {
        Self {
            updates,
            handle: HubClientHandle { commands },
            view: RoomsView::new(),
        }
    }

    /// Begins to set up a client of the hub at `url`, such as
    /// `wss://your-domain.example/api/ws`.
    #[must_use]
    pub fn builder(url: impl Into<String>, tokens: impl TokenSource) -> HubClientBuilder {
        HubClientBuilder::new(url.into(), Arc::new(tokens))
    }

    /// The next update, which is in [`view`](Self::view) when this returns.
    /// `None` after [`close`](Self::close). After [`Update::GaveUp`] and
    /// [`Update::Unauthorized`] it waits until somebody calls
    /// [`reconnect`](HubClientHandle::reconnect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped midway, no update is lost.
    pub async fn next(&mut self) -> Option<Update> {
        let update = self.updates.recv().await?;
        self.view.apply(&update);
        Some(update)
    }

    /// The rooms as of the last update that [`next`](Self::next) returned.
    #[must_use]
    pub fn view(&self) -> &RoomsView {
        &self.view
    }

    /// A handle for other tasks.
    #[must_use]
    pub fn handle(&self) -> HubClientHandle {
        self.handle.clone()
    }

    /// See [`HubClientHandle::reconnect`].
    pub fn reconnect(&self) {
        self.handle.reconnect();
    }

    /// See [`HubClientHandle::refresh_token`].
    pub fn refresh_token(&self) {
        self.handle.refresh_token();
    }

    /// See [`HubClientHandle::request_snapshot`].
    pub fn request_snapshot(&self) {
        self.handle.request_snapshot();
    }

    /// See [`HubClientHandle::close`].
    pub fn close(&self) {
        self.handle.close();
    }
}

/// Commands to a [`HubClient`] from any task. After the client is gone they do
/// nothing.
#[derive(Debug, Clone)]
pub struct HubClientHandle {
    commands: mpsc::Sender<Command>,
}

impl HubClientHandle {
    /// Tries again at once, with a fresh count of attempts: the manual
    /// reconnect after [`Update::GaveUp`] or [`Update::Unauthorized`]. It also
    /// cuts a wait between attempts short. On a standing connection it does
    /// nothing.
    pub fn reconnect(&self) {
        self.command(Command::Reconnect);
    }

    /// Asks the token source for a new token and sends it to the hub, so that
    /// the connection outlives the old one. Without a connection it does
    /// nothing: the next attempt asks the source anyway.
    pub fn refresh_token(&self) {
        self.command(Command::RefreshToken);
    }

    /// Asks the hub for a snapshot; it comes as [`Update::Snapshot`]. Without a
    /// connection it does nothing.
    pub fn request_snapshot(&self) {
        self.command(Command::RequestSnapshot);
    }

    /// Closes the connection and ends the client's task; what waits for the
    /// reader can still be read.
    pub fn close(&self) {
        self.command(Command::Close);
    }

    fn command(&self, command: Command) {
        // Full: 16 commands wait already. Closed: the client is gone.
        let _ = self.commands.try_send(command);
    }
}
