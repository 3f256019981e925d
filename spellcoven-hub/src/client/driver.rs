//! The task around the session.

use std::collections::VecDeque;
use std::sync::Arc;

use http::Uri;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connect::Connector;
use super::session::{Output, Session};
use super::shell::Command;
use super::socket::{self, Closed, Frame, Socket};
use super::token::{AccessToken, TokenSource};
use super::update::Update;
use crate::future::BoxFuture;

enum Link {
    None,
    Dialling(BoxFuture<'static, Result<Socket, String>>),
    Open(Socket),
}

pub(super) struct Driver {
    session: Session,
    /// Updates beyond the reader's buffer: those of one message, since nothing
    /// is read while they wait.
    pending: VecDeque<Update>,
    updates: mpsc::Sender<Update>,
    commands: mpsc::Receiver<Command>,
    tokens: Arc<dyn TokenSource>,
    dialling: Dialling,
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

/// What it takes to dial.
pub(super) struct Dialling {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) url: Uri,
    pub(super) max_message_size: usize,
}

impl Driver {
    pub(super) fn new(
        session: Session,
        dialling: Dialling,
        tokens: Arc<dyn TokenSource>,
        updates: mpsc::Sender<Update>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            session,
            pending: VecDeque::new(),
            updates,
            commands,
            tokens,
            dialling,
            fetching: None,
            link: Link::None,
        }
    }

    pub(super) async fn run(mut self) {
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
                    let dial = {
                        let Dialling {
                            connector,
                            url,
                            max_message_size,
                        } = &self.dialling;
                        socket::dial(Arc::clone(connector), url.clone(), *max_message_size)
                    };
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
