//! Configuration from environment variables: all faults are found in one go, and secrets never print.

use std::{fmt, num::NonZeroU64, str::FromStr};

/// Reads variables and remembers every one at fault, so that a start fails once with the whole list.
pub struct Environment<'a> {
    look_up: LookUp<'a>,
    faults: Vec<String>,
}

/// Gives the value of a variable, where it has one.
type LookUp<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// One message that names every variable at fault. Values are left out: they may be secrets.
#[derive(Debug, thiserror::Error)]
#[error("the environment is not right: {}", .0.join("; "))]
pub struct EnvironmentError(Vec<String>);

/// A value that must not be printed. `Debug` shows that it is there, and nothing of it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one who needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl<'a> Environment<'a> {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_fn(|name| std::env::var(name).ok())
    }

    /// Variables from anywhere else: a file, a test.
    pub fn from_fn(look_up: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self {
            look_up: Box::new(look_up),
            faults: Vec::new(),
        }
    }

    /// A secret that must be there.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.required(name, "a value").map(Secret)
    }

    /// A value that must be there and parse; `what` says in the error what it should be ("a port number").
    pub fn required<T: FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        match self.present(name) {
            Some(text) => self.parse(name, what, &text),
            None => {
                self.faults.push(format!("{name} is missing ({what})"));
                None
            }
        }
    }

    /// A value with a default; one that is there must parse.
    pub fn or<T: FromStr>(&mut self, name: &str, what: &str, default: T) -> Option<T> {
        match self.present(name) {
            Some(text) => self.parse(name, what, &text),
            None => Some(default),
        }
    }

    /// A value that may be absent; one that is there must parse.
    pub fn optional<T: FromStr>(&mut self, name: &str, what: &str) -> Option<Option<T>> {
        match self.present(name) {
            Some(text) => self.parse(name, what, &text).map(Some),
            None => Some(None),
        }
    }

    /// Reports a fault that only whoever uses the value can find.
    pub fn fault(&mut self, name: &str, why: impl fmt::Display) {
        self.faults.push(format!("{name} {why}"));
    }

    /// All faults found so far as one error.
    #[must_use]
    pub fn into_error(self) -> EnvironmentError {
        EnvironmentError(self.faults)
    }

    /// An empty value counts as absent: that is what `NAME=` in an env file means.
    pub(crate) fn present(&self, name: &str) -> Option<String> {
        (self.look_up)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn parse<T: FromStr>(&mut self, name: &str, what: &str, text: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.faults.push(format!("{name} is not {what}"));
        }
        parsed
    }
}

/// An absolute `http` or `https` URL, kept as text without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(pub String);

impl FromStr for HttpUrl {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let uri: http::Uri = text.parse().map_err(|_| ())?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(_)) => Ok(Self(text.trim_end_matches('/').to_owned())),
            _ => Err(()),
        }
    }
}

/// What the worker is told by its environment (contract, "Environment").
#[derive(Debug)]
pub struct WorkerEnvironment {
    /// `DISCORD_BOT_TOKEN`
    pub bot_token: Secret,
    /// `PRIMARY_GUILD_ID`
    pub guild_id: u64,
    /// `HUB_ENDPOINT`
    pub hub_endpoint: HttpUrl,
    /// `HUB_SECRET`
    pub hub_secret: Secret,
    /// `BIND_ADDRESS`, default `0.0.0.0`: where `/health` listens.
    pub bind_address: std::net::IpAddr,
    /// `HEALTH_CHECK_PORT`, default 8080
    pub health_port: u16,
    /// `DISCORD_API_BASE_URL`: a proxy or a simulator in the place of Discord.
    pub api_base: Option<HttpUrl>,
}

impl WorkerEnvironment {
    /// Reads it.
    ///
    /// # Errors
    /// [`EnvironmentError`] names every variable that is missing or wrong.
    pub fn read(mut env: Environment<'_>) -> Result<Self, EnvironmentError> {
        let bot_token = env.secret("DISCORD_BOT_TOKEN");
        let guild_id = env.required::<NonZeroU64>("PRIMARY_GUILD_ID", "a guild id");
        let hub_endpoint = env.required("HUB_ENDPOINT", "an http(s) URL");
        let hub_secret = env.secret("HUB_SECRET");
        let bind_address = env.or(
            "BIND_ADDRESS",
            "an IP address",
            std::net::Ipv4Addr::UNSPECIFIED.into(),
        );
        let health_port = env.or("HEALTH_CHECK_PORT", "a port number", 8080);
        let api_base = env.optional("DISCORD_API_BASE_URL", "an http(s) URL");
        match (
            bot_token,
            guild_id,
            hub_endpoint,
            hub_secret,
            bind_address,
            health_port,
            api_base,
        ) {
            (
                Some(bot_token),
                Some(guild_id),
                Some(hub_endpoint),
                Some(hub_secret),
                Some(bind_address),
                Some(health_port),
                Some(api_base),
            ) => Ok(Self {
                bot_token,
                guild_id: guild_id.get(),
                hub_endpoint,
                hub_secret,
                bind_address,
                health_port,
                api_base,
            }),
            _ => Err(env.into_error()),
        }
    }
}

/// What the backend is told by its environment (contract, "Environment").
#[derive(Debug)]
pub struct BackendEnvironment {
    /// `DISCORD_BOT_TOKEN`
    pub bot_token: Secret,
    /// `PRIMARY_GUILD_ID`
    pub guild_id: u64,
    /// `HUB_SECRET`
    pub hub_secret: Secret,
    /// `HUB_SECRET_PREVIOUS`: a second secret that is still good while the first is being rolled out.
    pub previous_hub_secret: Option<Secret>,
    /// `JWT_ISSUER`
    pub jwt_issuer: String,
    /// `JWT_AUDIENCE`
    pub jwt_audience: String,
    /// `JWT_PUBLIC_JWK_URL`
    pub jwks_url: HttpUrl,
    /// `VITE_BASE_URL`: the one allowed origin.
    pub allowed_origin: HttpUrl,
    /// `MAX_API_RETRIES`, default 3
    pub max_api_retries: u32,
    /// `MAX_WS_RECONNECT_ATTEMPTS`, default 5: what clients are told.
    pub max_ws_reconnect_attempts: u32,
    /// `BIND_ADDRESS`, default `0.0.0.0`
    pub bind_address: std::net::IpAddr,
    /// `PORT`, default 3000
    pub port: u16,
    /// `DISCORD_API_BASE_URL`: a proxy or a simulator in the place of Discord.
    pub api_base: Option<HttpUrl>,
}

impl BackendEnvironment {
    /// Reads it.
    ///
    /// # Errors
    /// [`EnvironmentError`] names every variable that is missing or wrong.
    pub fn read(mut env: Environment<'_>) -> Result<Self, EnvironmentError> {
        let bot_token = env.secret("DISCORD_BOT_TOKEN");
        let guild_id = env.required::<NonZeroU64>("PRIMARY_GUILD_ID", "a guild id");
        let hub_secret = env.secret("HUB_SECRET");
        let previous_hub_secret = env
            .optional::<String>("HUB_SECRET_PREVIOUS", "a value")
            .flatten()
            .map(Secret);
        let jwt_issuer = env.required("JWT_ISSUER", "the issuer's URL");
        let jwt_audience = env.required("JWT_AUDIENCE", "an audience");
        let jwks_url = env.required("JWT_PUBLIC_JWK_URL", "an http(s) URL");
        let allowed_origin = env.required("VITE_BASE_URL", "an http(s) URL");
        let retries = env.or("MAX_API_RETRIES", "a whole number", 3);
        let attempts = env.or("MAX_WS_RECONNECT_ATTEMPTS", "a whole number", 5);
        let bind_address = env.or(
            "BIND_ADDRESS",
            "an IP address",
            std::net::Ipv4Addr::UNSPECIFIED.into(),
        );
        let port = env.or("PORT", "a port number", 3000);
        let api_base = env.optional("DISCORD_API_BASE_URL", "an http(s) URL");
        let secrets = (bot_token, hub_secret);
        let jwt = (jwt_issuer, jwt_audience, jwks_url, allowed_origin);
        let rest = (guild_id, retries, attempts, bind_address, port, api_base);
        let (
            (Some(bot_token), Some(hub_secret)),
            (Some(jwt_issuer), Some(jwt_audience), Some(jwks_url), Some(allowed_origin)),
            (
                Some(guild_id),
                Some(max_api_retries),
                Some(max_ws_reconnect_attempts),
                Some(bind_address),
                Some(port),
                Some(api_base),
            ),
        ) = (secrets, jwt, rest)
        else {
            return Err(env.into_error());
        };
        Ok(Self {
            bot_token,
            guild_id: guild_id.get(),
            hub_secret,
            previous_hub_secret,
            jwt_issuer,
            jwt_audience,
            jwks_url,
            allowed_origin,
            max_api_retries,
            max_ws_reconnect_attempts,
            bind_address,
            port,
            api_base,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> Environment<'a> {
        Environment::from_fn(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const WORKER: &[(&str, &str)] = &[
        ("DISCORD_BOT_TOKEN", "t0ken"),
        ("PRIMARY_GUILD_ID", "123456789012345678"),
        ("HUB_ENDPOINT", "https://example.com/api/internal/events"),
        ("HUB_SECRET", "s3cret"),
    ];

    #[test]
    fn a_worker_needs_four_variables_and_has_defaults_for_the_rest() {
        let env = WorkerEnvironment::read(environment(WORKER)).unwrap();
        assert_eq!(env.health_port, 8080);
        assert_eq!(env.guild_id, 123_456_789_012_345_678);
        assert_eq!(env.api_base, None);
    }

    #[test]
    fn one_message_names_every_variable_at_fault_and_no_value() {
        let error = WorkerEnvironment::read(environment(&[
            ("DISCORD_BOT_TOKEN", "  "),
            ("PRIMARY_GUILD_ID", "not-an-id-7531"),
            ("HUB_ENDPOINT", "ftp://host-7531/"),
            ("HUB_SECRET", "s3cret-7531"),
            ("HEALTH_CHECK_PORT", "75310"),
        ]))
        .unwrap_err()
        .to_string();
        for name in [
            "DISCORD_BOT_TOKEN",
            "PRIMARY_GUILD_ID",
            "HUB_ENDPOINT",
            "HEALTH_CHECK_PORT",
        ] {
            assert!(error.contains(name), "{error}");
        }
        assert!(
            !error.contains("HUB_SECRET") && !error.contains("7531"),
            "{error}"
        );
    }

    #[test]
    fn the_guild_id_0_is_a_fault_that_is_named() {
        let mut variables = WORKER.to_vec();
        variables[1].1 = "0";
        let error = WorkerEnvironment::read(environment(&variables))
            .unwrap_err()
            .to_string();
        assert!(error.contains("PRIMARY_GUILD_ID"), "{error}");
    }

    #[test]
    fn a_backend_names_what_it_lacks() {
        let error = BackendEnvironment::read(environment(WORKER))
            .unwrap_err()
            .to_string();
        for name in [
            "JWT_ISSUER",
            "JWT_AUDIENCE",
            "JWT_PUBLIC_JWK_URL",
            "VITE_BASE_URL",
        ] {
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let env = WorkerEnvironment::read(environment(WORKER)).unwrap();
        let printed = format!("{env:?}");
        assert!(
            !printed.contains("t0ken") && !printed.contains("s3cret"),
            "{printed}"
        );
    }
}
