//! Requests and answers, whole and without a wire.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::error::ApiError;

/// An HTTP request, whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Whether it came over TLS: URLs in the answer then lead back to TLS.
    pub secure: bool,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            secure: false,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Adds `Authorization: Bot TOKEN`.
    #[must_use]
    pub fn bot(self, token: &str) -> Self {
        self.header("authorization", &format!("Bot {token}"))
    }

    /// Sets a JSON body and its `Content-Type`.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        self.header("content-type", "application/json")
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An HTTP answer, whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// How long to wait before sending it.
    pub delay: Duration,
    /// Close the connection instead of sending it.
    pub hang_up: bool,
    /// Drop the connection after so many bytes of the body.
    pub cut_after: Option<usize>,
    /// Send the body in pieces.
    pub pace: Option<Pace>,
}

/// How a slow body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// Bytes in a piece; at least 1.
    pub chunk: usize,
    /// Time before each piece.
    pub pause: Duration,
}

impl Response {
    pub(super) fn new(status: u16, body: &Value) -> Self {
        let body = if status == 204 {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        Self {
            status,
            headers: Vec::new(),
            body,
            delay: Duration::ZERO,
            hang_up: false,
            cut_after: None,
            pace: None,
        }
    }

    /// Sets a header, in the place of all of that name.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), value));
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        Self::new(error.status, &error.body())
    }
}
