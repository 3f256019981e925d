//! Setting a client up.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use tokio::sync::mpsc;

use super::connect::{Connector, TcpTlsConnector};
use super::driver::{Dialling, Driver};
use super::session::Session;
use super::shell::HubClient;
use super::token::TokenSource;
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
    pub(super) fn new(url: String, tokens: Arc<dyn TokenSource>) -> Self {
        Self {
            url,
            tokens,
            connector: None,
            max_attempts: None,
            max_message_size: 16 * 1024 * 1024,
            buffer: 256,
            resume: None,
            seed: None,
        }
    }

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

    /// Goes on after this event, as [`RoomsView::resume_point`](super::RoomsView::resume_point) gave it in an
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
        let driver = Driver::new(
            Session::new(self.max_attempts, self.resume, rng),
            Dialling {
                connector,
                url,
                max_message_size: self.max_message_size,
            },
            self.tokens,
            updates_in,
            commands_out,
        );
        tokio::spawn(driver.run());
        Ok(HubClient::new(updates, commands))
    }
}
