//! A few lines around hyper that several tools here share: a small server, small answers, a small client.

use std::{borrow::Cow, future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use serde_json::Value;
use tokio::net::TcpListener;

/// The largest body that the server here reads and the client accepts, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Serves HTTP/1.1 on `listener` until the future is dropped; each connection is its own task.
pub async fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Bytes>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let handler = handler.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let response = match Limited::new(body, BODY_LIMIT).collect().await {
                        Ok(body) => handler(Request::from_parts(head, body.to_bytes()), peer).await,
                        Err(_) => text(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            "the body is too large or broke off",
                        ),
                    };
                    Ok::<_, std::convert::Infallible>(response.map(Full::new))
                }
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Bytes> {
    answer(status, None, Bytes::new())
}

/// A JSON answer.
#[must_use]
pub fn json(status: StatusCode, body: &Value) -> Response<Bytes> {
    raw_json(status, body.to_string())
}

/// A JSON answer whose text stands already.
#[must_use]
pub fn raw_json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    answer(status, Some("application/json"), body.into())
}

/// A plain text answer.
#[must_use]
pub fn text(status: StatusCode, body: &'static str) -> Response<Bytes> {
    answer(
        status,
        Some("text/plain; charset=utf-8"),
        Bytes::from_static(body.as_bytes()),
    )
}

/// A page.
#[must_use]
pub fn html(body: &str) -> Response<Bytes> {
    answer(
        StatusCode::OK,
        Some("text/html; charset=utf-8"),
        Bytes::copy_from_slice(body.as_bytes()),
    )
}

fn answer(status: StatusCode, kind: Option<&'static str>, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

/// The fields of a query string or a form body; of a name given twice the first counts.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`; whatever it cannot read is left out.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(bytes)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// `text` with the characters escaped that mean something in HTML.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// A plain HTTP client for loopback: the tools here talk to each other with it.
#[derive(Clone, Debug)]
pub struct WebClient {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A call to one of the local services did not work.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url}: {reason}")]
pub struct WebError {
    method: http::Method,
    url: String,
    reason: String,
}

impl WebClient {
    /// A client that keeps its connections alive.
    #[must_use]
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Sends one request and reads the whole answer, in ten seconds at most.
    ///
    /// # Errors
    /// [`WebError`] when nothing answers, or what answers breaks off; any status is an answer.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up; whether the server acted on it is unknown then.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let failed = {
            let (method, url) = (request.method().clone(), request.uri().to_string());
            move |reason: String| WebError {
                method: method.clone(),
                url: url.clone(),
                reason,
            }
        };
        let exchange = async {
            let (head, body) = self
                .client
                .request(request.map(Full::new))
                .await
                .map_err(|error| failed(chain(&error)))?
                .into_parts();
            let body = Limited::new(body, BODY_LIMIT)
                .collect()
                .await
                .map_err(|error| failed(error.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .unwrap_or_else(|_| Err(failed("no answer in ten seconds".to_owned())))
    }

    /// `GET url`, its status and its body as JSON (null where the body is none).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn get(&self, url: &str) -> Result<(StatusCode, Value), WebError> {
        self.call(http::Method::GET, url, &[], None).await
    }

    /// Any call with headers and a JSON body; its status and its body as JSON (null where the body is none).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn call(
        &self,
        method: http::Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), WebError> {
        let mut request = Request::builder().method(method.clone()).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.body(body).map_err(|error| WebError {
            method,
            url: url.to_owned(),
            reason: error.to_string(),
        })?;
        let response = self.send(request).await?;
        Ok((
            response.status(),
            serde_json::from_slice(response.body()).unwrap_or_default(),
        ))
    }
}

impl Default for WebClient {
    fn default() -> Self {
        Self::new()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
