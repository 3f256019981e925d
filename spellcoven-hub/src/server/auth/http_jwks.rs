use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::verifier::{KeySource, KeySourceError};
use crate::BoxFuture;

/// The largest JWKS read, in bytes.
const MAX_JWKS: usize = 256 * 1024;

/// Fetches a JWKS over HTTPS with hyper and rustls (ring, the system's root certificates). Follows no redirects, reads at
/// most 256 KiB.
pub struct HttpJwks {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// The URL cannot be used for keys; the caller's configuration is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwksUrl {
    /// Not an absolute URL.
    #[error("not an absolute http or https URL")]
    NotAbsolute,
    /// Plain HTTP is accepted for loopback only: whoever sits on the way could hand out keys of their own.
    #[error("plain http is accepted for loopback only")]
    Insecure,
    /// The TLS configuration cannot be made.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl HttpJwks {
    /// For one URL.
    ///
    /// # Errors
    ///
    /// See [`InvalidJwksUrl`].
    pub fn new(url: &str) -> Result<Self, InvalidJwksUrl> {
        let url: Uri = url.parse().map_err(|_| InvalidJwksUrl::NotAbsolute)?;
        let host = url.host().ok_or(InvalidJwksUrl::NotAbsolute)?;
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(InvalidJwksUrl::Insecure),
            _ => return Err(InvalidJwksUrl::NotAbsolute),
        }
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            url,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    async fn get(&self) -> Result<Vec<u8>, KeySourceError> {
        let request = Request::get(self.url.clone())
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| {
                KeySourceError::new("the request cannot be made").with_source(error)
            })?;
        let answer = self.client.request(request).await.map_err(|error| {
            KeySourceError::new("the endpoint cannot be reached").with_source(error)
        })?;
        if answer.status() != StatusCode::OK {
            return Err(KeySourceError::new(format!(
                "the endpoint answered {}",
                answer.status()
            )));
        }
        let body = Limited::new(answer.into_body(), MAX_JWKS)
            .collect()
            .await
            .map_err(|error| KeySourceError::new("the answer cannot be read").with_source(error))?;
        Ok(body.to_bytes().to_vec())
    }
}

impl KeySource for HttpJwks {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeySourceError>> {
        Box::pin(self.get())
    }
}

impl fmt::Debug for HttpJwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpJwks")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// ring by name: the hub relies on no process-wide provider.
fn tls() -> Result<rustls::ClientConfig, InvalidJwksUrl> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(InvalidJwksUrl::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
