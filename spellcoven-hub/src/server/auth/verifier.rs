use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    claims::{self, Rules},
    jwt::{Token, TokenError},
    key_cache::{KeyCache, Lookup},
    key_set::KeySet,
};
use crate::{BoxFuture, Clock, server::policy::User};

/// How long a fetch of keys may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the keys of the identity provider come from.
///
/// The hub caches what it gets: one fetch at a time, at most one in 10 s, again after 5 minutes or for an unknown `kid`.
/// A fetch that takes longer than 5 s counts as failed.
pub trait KeySource: Send + Sync + 'static {
    /// Fetches the JWKS (RFC 7517, section 5) as JSON.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeySourceError>>;
}

/// The keys could not be had; the identity provider or the way to it is at fault. The hub keeps the keys that it has.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the identity provider cannot be had: {message}")]
pub struct KeySourceError {
    message: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl KeySourceError {
    /// With a message for the log, without secrets.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds what lies beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// A good token.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) user: User,
    pub(crate) expires_ms: u64,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthError {
    Refused(TokenError),
    /// It cannot be checked, since there are no keys.
    Unavailable,
}

/// Checks tokens; a handle that can be cloned.
#[derive(Clone)]
pub(crate) struct Verifier(Arc<Inner>);

struct Inner {
    source: Box<dyn KeySource>,
    rules: Rules,
    max_token: usize,
    clock: Arc<dyn Clock>,
    cache: Mutex<KeyCache>,
    /// Counts finished fetches.
    finished: watch::Sender<u64>,
}

impl Verifier {
    pub(crate) fn new(
        source: Box<dyn KeySource>,
        rules: Rules,
        max_token: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner {
            source,
            rules,
            max_token,
            clock,
            cache: Mutex::default(),
            finished: watch::Sender::new(0),
        }))
    }

    /// Checks a token. Waits for keys where that is needed.
    pub(crate) async fn verify(&self, token: &str) -> Result<Verified, AuthError> {
        let token = Token::parse(token, self.0.max_token).map_err(AuthError::Refused)?;
        let keys = self.keys(|keys| token.has_key(keys)).await?;
        self.check(&token, &keys).map_err(AuthError::Refused)
    }

    fn check(&self, token: &Token<'_>, keys: &KeySet) -> Result<Verified, TokenError> {
        let payload = token.verify(keys)?;
        let (user, expires_ms) = claims::check(payload, &self.0.rules, self.0.clock.now_ms())?;
        Ok(Verified { user, expires_ms })
    }

    async fn keys(&self, knows: impl Fn(&KeySet) -> bool) -> Result<Arc<KeySet>, AuthError> {
        let mut waited = false;
        loop {
            // Before the look-up, so that a fetch that ends in between is not missed.
            let mut finished = self.0.finished.subscribe();
            let lookup = self
                .0
                .with_cache(|cache| cache.lookup(Instant::now(), &knows, waited));
            match lookup {
                Lookup::Use { keys, refresh } => {
                    if refresh {
                        self.fetch();
                    }
                    return Ok(keys);
                }
                Lookup::Unavailable => return Err(AuthError::Unavailable),
                Lookup::Fetch => {
                    self.fetch();
                    // The sender lives in `self`, so this ends when the fetch does.
                    let _ = finished.changed().await;
                    waited = true;
                }
            }
        }
    }

    /// Fetches keys in a task of its own, so that a caller who goes away does not spoil it for others.
    pub(crate) fn fetch(&self) {
        if !self.0.with_cache(|cache| cache.begin(Instant::now())) {
            return;
        }
        let mut fetching = Fetching {
            inner: Arc::clone(&self.0),
            keys: None,
        };
        tokio::spawn(async move {
            let result = tokio::time::timeout(FETCH_TIMEOUT, fetching.inner.source.fetch()).await;
            fetching.keys = match result {
                Ok(Ok(json)) => KeySet::parse(&json)
                    .inspect_err(|error| tracing::warn!(%error, "the JWKS cannot be read"))
                    .ok(),
                Ok(Err(error)) => {
                    let cause = error.source().map(ToString::to_string);
                    tracing::warn!(%error, cause, "fetching the JWKS failed");
                    None
                }
                Err(_) => {
                    tracing::warn!("fetching the JWKS took too long");
                    None
                }
            };
            if let Some(keys) = &fetching.keys {
                tracing::debug!(keys = keys.len(), "fetched the JWKS");
            }
        });
    }

    /// Whether there are keys, asking for them if there are none.
    pub(crate) async fn ready(&self) -> bool {
        self.keys(|_| true).await.is_ok()
    }

    pub(crate) fn keys_age(&self) -> Option<Duration> {
        self.0.with_cache(|cache| cache.age(Instant::now()))
    }

    pub(crate) fn leeway_ms(&self) -> u64 {
        self.0.rules.leeway_s * 1000
    }
}

impl Inner {
    fn with_cache<T>(&self, f: impl FnOnce(&mut KeyCache) -> T) -> T {
        f(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends the fetch when dropped, also when the source panicked.
struct Fetching {
    inner: Arc<Inner>,
    keys: Option<KeySet>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let keys = self.keys.take();
        self.inner
            .with_cache(|cache| cache.finish(Instant::now(), keys));
        self.inner.finished.send_modify(|count| *count += 1);
    }
}
