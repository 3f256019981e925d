use std::{fmt, sync::Arc};

use http::Uri;

use super::{
    auth::{HttpJwks, InvalidJwksUrl, KeySource, Rules},
    hub::{Hub, Parts},
    limits::Limits,
    policy::{AnyUser, RoomPolicy},
    rooms::RoomService,
};
use crate::{
    Clock, SystemClock,
    wire::{HubSecret, Snowflake},
};

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The token's `iss`, exactly (JWT_ISSUER).
    pub issuer: String,
    /// The token's `aud`, or one of them (JWT_AUDIENCE).
    pub audience: String,
}

/// Builds a [`Hub`]; see [`Hub::builder`].
///
/// Needed: [`rooms`](Self::rooms), [`jwt`](Self::jwt), [`hub_secret`](Self::hub_secret), and either
/// [`jwks_url`](Self::jwks_url) or [`key_source`](Self::key_source).
pub struct HubBuilder {
    guild_id: Snowflake,
    rooms: Option<Arc<dyn RoomService>>,
    keys: Option<Box<dyn KeySource>>,
    jwks_url: Option<String>,
    jwt: Option<JwtConfig>,
    leeway_s: u64,
    secret: Option<HubSecret>,
    previous: Option<HubSecret>,
    origin: Option<String>,
    policy: Box<dyn RoomPolicy>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    max_attempts: u32,
    require_worker: bool,
    seed: Option<u64>,
}

/// A hub cannot be built so; the caller's configuration is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Something needed was not given: call the builder's method of this name.
    #[error("the hub's builder was not given {0}")]
    Missing(&'static str),
    /// The issuer or the audience is empty.
    #[error("the JWT {0} is empty")]
    EmptyJwt(&'static str),
    /// The leeway is above 60 s.
    #[error("the JWT leeway is above 60 s")]
    Leeway,
    /// Not the origin of a web page: scheme and host, perhaps a port.
    #[error("the allowed origin is not http(s)://host[:port]")]
    Origin,
    /// The JWKS URL cannot be used.
    #[error("the JWKS URL cannot be used")]
    JwksUrl(#[source] InvalidJwksUrl),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl HubBuilder {
    pub(crate) fn new(guild_id: Snowflake) -> Self {
        Self {
            guild_id,
            rooms: None,
            keys: None,
            jwks_url: None,
            jwt: None,
            leeway_s: 5,
            secret: None,
            previous: None,
            origin: None,
            policy: Box::new(AnyUser),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            max_attempts: 5,
            require_worker: true,
            seed: None,
        }
    }

    /// What the hub needs of Discord.
    #[must_use]
    pub fn rooms(mut self, rooms: impl RoomService) -> Self {
        self.rooms = Some(Arc::new(rooms));
        self
    }

    /// Where the identity provider's keys come from; instead of [`jwks_url`](Self::jwks_url).
    #[must_use]
    pub fn key_source(mut self, keys: impl KeySource) -> Self {
        self.keys = Some(Box::new(keys));
        self
    }

    /// The URL of the identity provider's JWKS (JWT_PUBLIC_JWK_URL). HTTPS, or HTTP on loopback.
    #[must_use]
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// What a token must say.
    #[must_use]
    pub fn jwt(mut self, jwt: JwtConfig) -> Self {
        self.jwt = Some(jwt);
        self
    }

    /// By how many seconds the clocks of hub and identity provider may differ, 0 to 60. Default 5.
    #[must_use]
    pub fn jwt_leeway_s(mut self, seconds: u64) -> Self {
        self.leeway_s = seconds;
        self
    }

    /// The secret shared with the worker (HUB_SECRET).
    #[must_use]
    pub fn hub_secret(mut self, secret: HubSecret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// A second secret that is accepted as well, while it is being replaced.
    #[must_use]
    pub fn previous_hub_secret(mut self, secret: HubSecret) -> Self {
        self.previous = Some(secret);
        self
    }

    /// The one web origin that may call the API and open WebSockets (VITE_BASE_URL); a path is ignored. By default none:
    /// every browser is refused. Programs that send no `Origin` are not concerned.
    #[must_use]
    pub fn allowed_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Who may make and end rooms. Default [`AnyUser`].
    #[must_use]
    pub fn policy(mut self, policy: impl RoomPolicy) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Where wall time comes from. Default [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Every bound. Default [`Limits::default`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What `auth.ok` advises clients to do (MAX_WS_RECONNECT_ATTEMPTS). Default 5.
    #[must_use]
    pub fn max_ws_reconnect_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Whether `/ready` answers 503 while the worker is missing. Default `true`. With `false` it only tells so: for a worker
    /// that neither pings nor sends snapshots, which is not heard of before its first event.
    #[must_use]
    pub fn require_worker(mut self, require: bool) -> Self {
        self.require_worker = require;
        self
    }

    /// Makes request ids and the names of nameless rooms repeatable, for tests. The epoch is random all the same.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the hub. Nothing is fetched yet, and Discord, worker and identity provider may all be down.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(self) -> Result<Hub, BuildError> {
        let jwt = self.jwt.ok_or(BuildError::Missing("jwt"))?;
        for (name, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
            if value.is_empty() {
                return Err(BuildError::EmptyJwt(name));
            }
        }
        if self.leeway_s > 60 {
            return Err(BuildError::Leeway);
        }
        let keys = match (self.keys, self.jwks_url) {
            (Some(keys), _) => keys,
            (None, Some(url)) => Box::new(HttpJwks::new(&url).map_err(BuildError::JwksUrl)?),
            (None, None) => return Err(BuildError::Missing("jwks_url or key_source")),
        };
        let secret = self.secret.ok_or(BuildError::Missing("hub_secret"))?;
        let rules = Rules {
            issuer: jwt.issuer,
            audience: jwt.audience,
            leeway_s: self.leeway_s,
        };
        Hub::assemble(Parts {
            guild_id: self.guild_id,
            rooms: self.rooms.ok_or(BuildError::Missing("rooms"))?,
            keys,
            rules,
            secrets: [Some(secret), self.previous]
                .into_iter()
                .flatten()
                .collect(),
            origin: self
                .origin
                .map(|origin| normalise(&origin).ok_or(BuildError::Origin))
                .transpose()?,
            policy: self.policy,
            clock: self.clock,
            limits: self.limits,
            max_attempts: self.max_attempts,
            require_worker: self.require_worker,
            rng: self
                .seed
                .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
        })
    }
}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder")
            .field("guild_id", &self.guild_id)
            .finish_non_exhaustive()
    }
}

/// The origin of a URL as a browser writes it: lower case, no default port, no path (RFC 6454, section 6.2).
fn normalise(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let host = uri.host()?.to_ascii_lowercase();
    if host.is_empty() || host.contains('*') || uri.authority()?.as_str().contains('@') {
        return None;
    }
    Some(match uri.port_u16() {
        Some(port) if port != default => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::normalise;
    use crate::{Hub, wire::Snowflake};

    #[test]
    fn what_is_missing_is_named_by_its_method() {
        let error = Hub::builder(Snowflake::new(1)).build().unwrap_err();
        assert_eq!(error.to_string(), "the hub's builder was not given jwt");
    }

    #[test]
    fn origins_are_written_as_browsers_do() {
        let good = |url| normalise(url).unwrap();
        assert_eq!(good("https://Your-Web.app/"), "https://your-web.app");
        assert_eq!(good("https://a.example:443/path"), "https://a.example");
        assert_eq!(good("http://localhost:5173"), "http://localhost:5173");
        for bad in [
            "*",
            "https://*.example",
            "a.example",
            "ftp://a.example",
            "https://u@a.example",
            "",
        ] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }
}
