//! Configures a client.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use http::{HeaderValue, Uri};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{
    BotToken, DiscordRestClient,
    client::{Config, Inner},
    gate::Gate,
    limit::{Forbidden, LimitConfig, Limiter},
    lookup::Claims,
    retry::Backoff,
    transport::{HyperOptions, HyperTransport, TlsError, Transport, roots},
};

const DEFAULT_BASE_URL: &str = "https://discord.com/api/v10";
pub(crate) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const DEFAULT_MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Configures a [`DiscordRestClient`]; [`build`](Self::build) checks it all.
#[must_use]
pub struct DiscordRestClientBuilder {
    token: BotToken,
    base_url: String,
    max_retries: u32,
    timeout: Duration,
    connect_timeout: Duration,
    max_wait: Duration,
    remember_refusals: Duration,
    max_response_bytes: usize,
    backoff: Backoff,
    limits: LimitConfig,
    transport: Option<Arc<dyn Transport>>,
    extra_roots: Vec<Vec<u8>>,
    user_agent_suffix: String,
    seed: Option<u64>,
}

/// What is wrong with a configuration. Correct it; nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL is none: it must be `https://host/path` or `http://host/path`
    /// without user, query and fragment.
    #[error(
        "the base URL must be https:// or http:// with a host, without user, query or fragment"
    )]
    BaseUrl,
    /// A setting is out of its range.
    #[error("{setting} must be {range}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        range: &'static str,
    },
    /// The user agent's suffix, or the token, cannot stand in a header.
    #[error("{0} cannot stand in an HTTP header")]
    Header(&'static str),
    /// TLS cannot be set up; the cause says why.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

impl DiscordRestClientBuilder {
    pub(crate) fn new(token: BotToken) -> Self {
        Self {
            token,
            base_url: DEFAULT_BASE_URL.to_owned(),
            max_retries: 3,
            timeout: Duration::from_secs(15),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            max_wait: Duration::from_secs(60),
            remember_refusals: Duration::from_secs(120),
            max_response_bytes: DEFAULT_MAX_RESPONSE_BYTES,
            backoff: Backoff {
                base: Duration::from_millis(500),
                cap: Duration::from_secs(10),
            },
            limits: LimitConfig {
                global_per_second: 50,
                max_waiting: 4096,
                max_buckets: 4096,
            },
            transport: None,
            extra_roots: Vec::new(),
            user_agent_suffix: String::new(),
            seed: None,
        }
    }

    /// Where the API is. Default: `https://discord.com/api/v10`.
    ///
    /// A proxy or a simulator can stand there. With `http://` the token travels
    /// in clear text: only for loopback or a network of your own.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// How often a call may be sent again (MAX_API_RETRIES), 0 to 10. Default: 3.
    ///
    /// 429s, failed connections and 5xx count alike; look-ups do not count.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The time for one attempt, from connecting to the last byte. Default: 15 s.
    /// Not zero, at most an hour.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The time to connect, TLS included; part of [`timeout`](Self::timeout) and
    /// only for the default transport. Default: 5 s. Not zero.
    ///
    /// Keep it shorter than the whole: after a failed connection even a create
    /// may be repeated, after a time-out of the whole it must be looked up first.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest that one call may wait because Discord says so (rate limits,
    /// `Retry-After` of a 5xx, a 202), all its attempts together. Default: 60 s.
    ///
    /// When it becomes plain that the wait would be longer, the call fails at once
    /// with [`RateLimited`](crate::RestErrorKind::RateLimited) (or
    /// [`ServiceUnavailable`](crate::RestErrorKind::ServiceUnavailable),
    /// [`NotReady`](crate::RestErrorKind::NotReady)). The backoff
    /// between attempts (at most 10 s each) does not count.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// How long a refusal for want of a permission (403 with code 50001 or 50013)
    /// is remembered, at most an hour. Default: 2 minutes. Zero switches it off.
    ///
    /// Meanwhile the same request fails with
    /// [`Forbidden`](crate::RestErrorKind::Forbidden) and is not sent, since
    /// each refusal counts towards the ban of the IP address. The same means:
    /// method, path, which fields the body has, and the values of those that
    /// decide about permissions (category, overwrites, roles, type, target
    /// channel). A new permission may go unnoticed for that long. At most 256 are
    /// remembered; of more, the one that ends first is forgotten.
    ///
    /// See Discord: Rate Limits, "Invalid Request Limit".
    pub fn remember_refusals(mut self, time: Duration) -> Self {
        self.remember_refusals = time;
        self
    }

    /// How many requests a second Discord allows this bot. Default: 50. At least
    /// 1. Nine tenths go at an even pace, one tenth may go at once.
    ///
    /// See Discord: Rate Limits, "Global Rate Limit".
    pub fn global_rate_per_second(mut self, requests: u32) -> Self {
        self.limits.global_per_second = requests;
        self
    }

    /// How many calls may wait for their turn. Default: 4,096. At least 1. One
    /// more fails with [`QueueFull`](crate::RestErrorKind::QueueFull).
    pub fn max_waiting_calls(mut self, calls: usize) -> Self {
        self.limits.max_waiting = calls;
        self
    }

    /// How many rate-limit buckets are remembered. Default: 4,096. At least 1.
    ///
    /// Those idle for ten minutes are forgotten, and when there are more, the
    /// ones longest unused; the cost is that the next request there goes alone.
    pub fn max_buckets(mut self, buckets: usize) -> Self {
        self.limits.max_buckets = buckets;
        self
    }

    /// The largest body of an answer in bytes. Default: 8 MiB. At least 1.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// What sends the requests. Default: a [`HyperTransport`] with this builder's
    /// settings; with one of your own the settings for TLS and connecting are its.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Trusts further root certificates (PEM, one or several), beside those of
    /// the features `rustls-native-roots` and `rustls-webpki-roots`.
    pub fn extra_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(pem.into());
        self
    }

    /// Adds to `DiscordBot (url, version)` in the `User-Agent` header: your
    /// application's name and version. Visible ASCII and spaces, at most 128
    /// characters.
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = suffix.into();
        self
    }

    /// Makes jitter, request ids and nonces repeatable. For tests only: two
    /// clients with one seed would use the same ids. Default: the operating
    /// system's randomness.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks the settings and makes the client. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the setting at fault.
    pub fn build(self) -> Result<DiscordRestClient, BuildError> {
        self.check_ranges()?;
        let (base_url, secure) = parse_base_url(&self.base_url)?;
        let authorization = self.token.header().ok_or(BuildError::Header("the token"))?;
        let user_agent = user_agent(&self.user_agent_suffix)?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => {
                let tls = |error: TlsError| BuildError::Tls(Box::new(error));
                let roots = if secure {
                    Some(roots(&self.extra_roots).map_err(tls)?)
                } else {
                    None
                };
                let options = HyperOptions {
                    roots,
                    connect_timeout: self.connect_timeout,
                    max_response_bytes: self.max_response_bytes,
                };
                Arc::new(HyperTransport::new(options).map_err(tls)?)
            }
        };
        let config = Config {
            base_url,
            authorization,
            user_agent,
            max_retries: self.max_retries,
            timeout: self.timeout,
            max_wait: self.max_wait,
            max_response_bytes: self.max_response_bytes,
            backoff: self.backoff,
        };
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        Ok(DiscordRestClient::from_inner(Inner {
            config,
            transport,
            gate: Arc::new(Gate::new(Limiter::new(self.limits))),
            claims: Mutex::new(Claims::default()),
            forbidden: Mutex::new(Forbidden::new(self.remember_refusals)),
            token_invalid: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            refused_locally: AtomicU64::new(0),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
        }))
    }

    fn check_ranges(&self) -> Result<(), BuildError> {
        let hour = Duration::from_secs(3600);
        let checks = [
            (self.max_retries <= 10, "max_retries", "0 to 10"),
            (
                !self.timeout.is_zero() && self.timeout <= hour,
                "timeout",
                "more than zero, at most an hour",
            ),
            (
                !self.connect_timeout.is_zero() && self.connect_timeout <= hour,
                "connect_timeout",
                "more than zero, at most an hour",
            ),
            (
                self.remember_refusals <= hour,
                "remember_refusals",
                "at most an hour",
            ),
            (
                (1..=10_000).contains(&self.limits.global_per_second),
                "global_rate_per_second",
                "1 to 10000",
            ),
            (
                self.limits.max_waiting > 0,
                "max_waiting_calls",
                "at least 1",
            ),
            (self.limits.max_buckets > 0, "max_buckets", "at least 1"),
            (
                self.max_response_bytes > 0,
                "max_response_bytes",
                "at least 1",
            ),
        ];
        match checks.into_iter().find(|(good, ..)| !good) {
            Some((_, setting, range)) => Err(BuildError::OutOfRange { setting, range }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DiscordRestClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscordRestClientBuilder")
            .field("token", &self.token)
            .field("base_url", &self.base_url)
            .field("max_retries", &self.max_retries)
            .field("timeout", &self.timeout)
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}

/// The base without a slash at its end, and whether it is HTTPS.
fn parse_base_url(text: &str) -> Result<(String, bool), BuildError> {
    let text = text.trim_end_matches('/');
    let uri: Uri = text.parse().map_err(|_| BuildError::BaseUrl)?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(BuildError::BaseUrl),
    };
    let authority = uri.authority().ok_or(BuildError::BaseUrl)?;
    if authority.as_str().contains('@') || authority.host().is_empty() || text.contains(['?', '#'])
    {
        return Err(BuildError::BaseUrl);
    }
    Ok((text.to_owned(), secure))
}

/// See Discord: API Reference, "User Agent".
fn user_agent(suffix: &str) -> Result<HeaderValue, BuildError> {
    let base = concat!(
        "DiscordBot (",
        env!("CARGO_PKG_REPOSITORY"),
        ", ",
        env!("CARGO_PKG_VERSION"),
        ")"
    );
    if suffix.is_empty() {
        return Ok(HeaderValue::from_static(base));
    }
    let bad = || BuildError::Header("the user agent's suffix");
    if suffix.len() > 128
        || !suffix
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        return Err(bad());
    }
    HeaderValue::from_str(&format!("{base} {suffix}")).map_err(|_| bad())
}

fn random_seed() -> Result<u64, BuildError> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| BuildError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}
