//! The seam between calls and the network.

mod connect;
mod hyper;
mod tls;

use std::{error::Error as StdError, fmt, pin::Pin};

use ::http::{Request, Response};
use bytes::Bytes;

pub use self::hyper::HyperTransport;
pub(crate) use self::{
    hyper::HyperOptions,
    tls::{TlsError, roots},
};

/// A boxed future, so that traits with async methods can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends one HTTP request and gives back the whole answer.
///
/// The seam for tests, proxies and other HTTP clients; [`HyperTransport`] is the
/// default. The request's URI is absolute and its headers are complete (only
/// `Host` and framing are left to the transport). Redirects must not be followed
/// and nothing may be retried here: only the caller knows what may be repeated.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` and reads the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`TransportError`] where there is no answer. Whether the request may have
    /// reached Discord decides what is repeated: in doubt say
    /// [`maybe_sent`](TransportError::maybe_sent). The cause must not quote the
    /// request's headers, which hold the token.
    ///
    /// # Cancel safety
    ///
    /// The client drops the future when its time-out is over or the call is
    /// dropped, and takes the request for one that may have been sent.
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// Why a transport has no answer, and whether the request may have reached
/// Discord.
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Whether the request may have reached Discord.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Surely not sent: name not found, connection refused, no connection in
    /// time, TLS failed. The request is retried.
    NotSent,
    /// Sent, or in part, or nobody knows. Only what can be repeated without harm
    /// is retried.
    MaybeSent,
    /// The answer's body is larger than allowed.
    ResponseTooLarge,
}

impl TransportError {
    /// The request surely was not sent.
    pub fn not_sent(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: TransportErrorKind::NotSent,
            source: Some(source.into()),
        }
    }

    /// The request may have been sent.
    pub fn maybe_sent(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: TransportErrorKind::MaybeSent,
            source: Some(source.into()),
        }
    }

    /// The answer is larger than allowed.
    #[must_use]
    pub fn response_too_large() -> Self {
        Self {
            kind: TransportErrorKind::ResponseTooLarge,
            source: None,
        }
    }

    /// Whether the request may have reached Discord.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("kind", &self.kind)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::NotSent => "no connection, the request was not sent",
            TransportErrorKind::MaybeSent => {
                "the connection failed after the request was, or may have been, sent"
            }
            TransportErrorKind::ResponseTooLarge => "the answer is larger than allowed",
        })
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}
