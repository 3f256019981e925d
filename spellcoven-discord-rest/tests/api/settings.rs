//! Tokens and builders.

use std::{error::Error as _, time::Duration};

use spellcoven_discord_rest::{
    BotToken, BuildError, DiscordRestClient, DiscordRestClientBuilder, RestError, TokenError,
    Transport,
};

fn builder() -> DiscordRestClientBuilder {
    DiscordRestClient::builder(BotToken::new("t").unwrap()).base_url("http://127.0.0.1:1/api/v10")
}

#[test]
fn tokens() {
    for good in ["abc.def-ghi_jkl", "Bot abc.def"] {
        let token = BotToken::new(good).unwrap();
        assert_eq!(
            format!("{token:?} {token:#?}"),
            "BotToken(<redacted>) BotToken(<redacted>)"
        );
    }
    for (bad, expected) in [
        ("", TokenError::Empty),
        ("Bot ", TokenError::Empty),
        ("Bearer abc", TokenError::Bearer),
        ("abc\n", TokenError::Character),
        ("a b", TokenError::Character),
        ("\"abc\"", TokenError::Character),
        ("äbc", TokenError::Character),
    ] {
        let error = BotToken::new(bad).unwrap_err();
        assert_eq!(error, expected);
        assert!(bad.is_empty() || !format!("{error} {error:?}").contains(bad));
    }
}

#[test]
fn base_urls() {
    for good in [
        "https://discord.com/api/v10",
        "http://127.0.0.1:8080/api/v10/",
        "http://[::1]:80",
        "https://x",
    ] {
        let client = builder().base_url(good).transport(Nothing).build().unwrap();
        assert!(format!("{client:?}").contains(good.trim_end_matches('/')));
    }
    for bad in [
        "",
        "discord.com",
        "ftp://x",
        "https://",
        "https://u:p@x",
        "https://x?y",
        "https://x#y",
        "/api",
        "x y",
    ] {
        let error = builder()
            .base_url(bad)
            .transport(Nothing)
            .build()
            .unwrap_err();
        assert!(matches!(error, BuildError::BaseUrl), "{bad}: {error:?}");
    }
}

#[test]
fn ranges() {
    let zero = Duration::ZERO;
    for (bad, name) in [
        (builder().max_retries(11), "max_retries"),
        (builder().timeout(zero), "timeout"),
        (builder().timeout(Duration::MAX), "timeout"),
        (builder().connect_timeout(zero), "connect_timeout"),
        (
            builder().global_rate_per_second(0),
            "global_rate_per_second",
        ),
        (builder().max_waiting_calls(0), "max_waiting_calls"),
        (builder().max_buckets(0), "max_buckets"),
        (builder().max_response_bytes(0), "max_response_bytes"),
    ] {
        let error = bad.build().unwrap_err();
        assert!(
            matches!(error, BuildError::OutOfRange { setting, .. } if setting == name),
            "{error:?}"
        );
    }
    builder().max_wait(Duration::MAX).build().unwrap();
    builder().max_wait(zero).build().unwrap();
}

#[test]
fn headers() {
    for bad in ["a\nb".to_owned(), "ä".to_owned(), "x".repeat(129)] {
        assert!(matches!(
            builder().user_agent_suffix(bad).build().unwrap_err(),
            BuildError::Header(_)
        ));
    }
}

#[test]
fn root_certificates() {
    for bad in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = builder()
            .base_url("https://x")
            .extra_root_certificates(bad)
            .build()
            .unwrap_err();
        assert!(matches!(error, BuildError::Tls(_)), "{error:?}");
        assert!(error.source().is_some());
    }
}

#[test]
fn promises_of_types() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    shared::<DiscordRestClient>();
    error::<RestError>();
    error::<BuildError>();
    assert!(size_of::<RestError>() <= 16, "errors are small");
}

struct Nothing;

impl Transport for Nothing {
    fn send(
        &self,
        _: http::Request<bytes::Bytes>,
    ) -> spellcoven_discord_rest::BoxFuture<
        '_,
        Result<http::Response<bytes::Bytes>, spellcoven_discord_rest::TransportError>,
    > {
        Box::pin(std::future::pending())
    }
}
