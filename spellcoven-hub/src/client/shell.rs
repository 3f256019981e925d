//! The task around the session, and the handles to it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connect::{Connector, TcpTlsConnector};
use super::session::{Output, Session};
use super::socket::{self, Closed, Frame, Socket};
use super::token::{AccessToken, TokenSource};
use super::update::Update;
use super::view::RoomsView;
use crate::future::BoxFuture;
use crate::wire::ResumePoint;

/// Commands waiting at most; more are dropped, for they say nothing new.
const COMMANDS: usize = 16;

/// Sets up a [`HubClient`]. Made by [`HubClient::builder`].
pub struct HubClientBuilder {
    url: String,
    tokens: Arc<dyn TokenSource>,
    connector: Option<Arc<dyn Connector>>,
    max_attempts: Option<u32>,
    max_message_size: usize,
    buffer: usize,
    resume: Option<ResumePoint>,
    seed: Option<u64>,
}

impl fmt::Debug for HubClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClientBuilder")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why a [`HubClient`] cannot start; the configuration is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not an absolute `ws://` or `wss://` address, or one with a user name.
    #[error("the hub's address must be an absolute ws:// or wss:// address without a user name")]
    Address,
    /// TLS cannot be set up with ring's defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl HubClientBuilder {
    /// How many times in a row to try again before giving up; default 5, which
    /// the hub's own advice replaces unless this is called. 0: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Connects through this instead of a [`TcpTlsConnector`].
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Goes on after this event, as [`RoomsView::resume_point`] gave it in an
    /// earlier life. The view then knows only what happened since, unless the
    /// hub has to send a snapshot, or
    /// [`HubClient::request_snapshot`] asks for one.
    #[must_use]
    pub fn resume(mut self, point: Option<ResumePoint>) -> Self {
        self.resume = point;
        self
    }

    /// How many updates may wait for the reader; default 256, at least 1. When
    /// they do, the client stops reading from the hub.
    #[must_use]
    pub fn buffer(mut self, updates: usize) -> Self {
        self.buffer = updates.max(1);
        self
    }

    /// The largest message taken from the hub, in bytes; default 16 MiB, which
    /// is a snapshot of about 100,000 people. A larger one breaks the
    /// connection.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Makes the jitter of the back-off repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the client's task on the current tokio runtime; it connects at
    /// once.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(self) -> Result<HubClient, StartError> {
        let url: Uri = self.url.parse().map_err(|_| StartError::Address)?;
        let secure = match url.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(StartError::Address),
        };
        if url.host().is_none_or(str::is_empty)
            || url
                .authority()
                .is_some_and(|part| part.as_str().contains('@'))
        {
            return Err(StartError::Address);
        }
        let connector: Arc<dyn Connector> = match self.connector {
            Some(connector) => connector,
            None if secure => Arc::new(TcpTlsConnector::new().map_err(StartError::Tls)?),
            None => Arc::new(TcpTlsConnector::plain()),
        };
        let rng = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let (updates_in, updates) = mpsc::channel(self.buffer);
        let (commands, commands_out) = mpsc::channel(COMMANDS);
        let driver = Driver {
            session: Session::new(self.max_attempts, self.resume, rng),
            pending: VecDeque::new(),
            updates: updates_in,
            commands: commands_out,
            tokens: self.tokens,
            connector,
            url,
            max_message_size: self.max_message_size,
            fetching: None,
            link: Link::None,
        };
        tokio::spawn(driver.run());
        Ok(HubClient {
            updates,
            handle: HubClientHandle { commands },
            view: RoomsView::new(),
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Command {
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
    /// Begins to set up a client of the hub at `url`, such as
    /// `wss://your-domain.example/api/ws`.
    #[must_use]
    pub fn builder(url: impl Into<String>, tokens: impl TokenSource) -> HubClientBuilder {
        HubClientBuilder {
            url: url.into(),
            tokens: Arc::new(tokens),
            connector: None,
            max_attempts: None,
            max_message_size: 16 * 1024 * 1024,
            buffer: 256,
            resume: None,
            seed: None,
        }
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

enum Link {
    None,
    Dialling(BoxFuture<'static, Result<Socket, String>>),
    Open(Socket),
}

struct Driver {
    session: Session,
    /// Updates beyond the reader's buffer: those of one message, since nothing
    /// is read while they wait.
    pending: VecDeque<Update>,
    updates: mpsc::Sender<Update>,
    commands: mpsc::Receiver<Command>,
    tokens: Arc<dyn TokenSource>,
    connector: Arc<dyn Connector>,
    url: Uri,
    max_message_size: usize,
    fetching: Option<BoxFuture<'static, Result<AccessToken, String>>>,
    link: Link,
}

/// What woke the driver.
enum Wake {
    Command(Option<Command>),
    ReaderGone,
    ReaderReady,
    Token(Result<AccessToken, String>),
    Dialled(Result<Socket, String>),
    Frame(Frame),
    Timeout,
}

impl Driver {
    async fn run(mut self) {
        self.session.connect(now());
        loop {
            self.perform().await;
            if self.session.is_closed() {
                break;
            }
            self.session.set_paused(!self.pending.is_empty(), now());
            match self.wait().await {
                Wake::Command(Some(command)) => self.obey(command),
                Wake::Command(None) | Wake::ReaderGone => self.session.close(),
                Wake::ReaderReady => {}
                Wake::Token(token) => self.session.handle_token(token, now()),
                Wake::Dialled(Ok(socket)) => {
                    self.link = Link::Open(socket);
                    self.session.handle_dialled(now());
                }
                Wake::Dialled(Err(reason)) => self.session.handle_dial_failed(reason, now()),
                Wake::Frame(frame) => self.handle_frame(frame).await,
                Wake::Timeout => self.session.handle_timeout(now()),
            }
        }
        // Ends with the reader, at the latest.
        while let Some(update) = self.pending.pop_front() {
            if self.updates.send(update).await.is_err() {
                break;
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let timeout = self.session.poll_timeout().map(Instant::from_std);
        let pending = !self.pending.is_empty();
        tokio::select! {
            biased;
            command = self.commands.recv() => Wake::Command(command),
            permit = self.updates.reserve(), if pending => match permit {
                Ok(permit) => {
                    if let Some(update) = self.pending.pop_front() {
                        permit.send(update);
                    }
                    Wake::ReaderReady
                }
                Err(_) => Wake::ReaderGone,
            },
            () = self.updates.closed(), if !pending => Wake::ReaderGone,
            token = poll_slot(&mut self.fetching), if !pending => Wake::Token(token),
            wake = self.link.next(), if !pending => wake,
            () = sleep_until(timeout) => Wake::Timeout,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reconnect => self.session.connect(now()),
            Command::RefreshToken => self.session.refresh_token(),
            Command::RequestSnapshot => self.session.request_snapshot(),
            Command::Close => self.session.close(),
        }
    }

    async fn handle_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Text(text) => self.session.handle_message(&text, now()),
            Frame::Other => self.session.handle_activity(now()),
            Frame::Closed(Closed { code, reason }) => {
                if let Link::Open(socket) = std::mem::replace(&mut self.link, Link::None) {
                    socket.finish().await;
                }
                tracing::info!(code, reason, "the hub's connection ended");
                self.session.handle_closed(code, reason, now());
            }
        }
    }

    async fn perform(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::FetchToken => {
                    let tokens = Arc::clone(&self.tokens);
                    self.fetching = Some(Box::pin(async move {
                        tokens
                            .token()
                            .await
                            .map_err(|error| socket::describe(&error))
                    }));
                }
                Output::Dial => {
                    let dial = socket::dial(
                        Arc::clone(&self.connector),
                        self.url.clone(),
                        self.max_message_size,
                    );
                    self.link = Link::Dialling(Box::pin(dial));
                }
                Output::Send(text) => self.write(Write::Text(text)).await,
                Output::Ping => self.write(Write::Ping).await,
                Output::Close(code) => {
                    if let Link::Open(socket) = std::mem::replace(&mut self.link, Link::None) {
                        socket.close(code).await;
                    }
                }
                Output::Update(update) => self.tell(update),
            }
        }
    }

    fn tell(&mut self, update: Update) {
        if !self.pending.is_empty() {
            self.pending.push_back(update);
        } else if let Err(mpsc::error::TrySendError::Full(update)) = self.updates.try_send(update) {
            self.pending.push_back(update);
        }
    }

    async fn write(&mut self, write: Write) {
        let Link::Open(socket) = &mut self.link else {
            return;
        };
        let result = match write {
            Write::Text(text) => socket.send_text(text).await,
            Write::Ping => socket.ping().await,
        };
        if let Err(reason) = result {
            self.link = Link::None;
            self.session.handle_closed(None, reason, now());
        }
    }
}

enum Write {
    Text(String),
    Ping,
}

impl Link {
    async fn next(&mut self) -> Wake {
        match self {
            Self::None => std::future::pending().await,
            Self::Dialling(dial) => {
                let result = dial.await;
                // A finished future must not be polled again.
                *self = Self::None;
                Wake::Dialled(result)
            }
            Self::Open(socket) => Wake::Frame(socket.next().await),
        }
    }
}

async fn poll_slot<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
