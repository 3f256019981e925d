//! Any typed endpoint.

use std::{fmt, future::IntoFuture, sync::Arc};

use crate::{
    call::{Call, Options},
    client::Inner,
    endpoint::Endpoint,
    error::RestError,
    transport::BoxFuture,
};

/// A request to a typed endpoint. Await it to send it.
///
/// # Cancel safety
///
/// Dropping the future before the request is sent takes it back and gives its
/// place in line to the next. Dropped later, Discord may act all the same.
#[must_use = "a request is sent when it is awaited"]
pub struct Execute<E> {
    client: Arc<Inner>,
    endpoint: E,
    options: Options,
}

impl<E: Endpoint> Execute<E> {
    pub(crate) fn new(client: Arc<Inner>, endpoint: E) -> Self {
        Self {
            client,
            endpoint,
            options: Options::default(),
        }
    }

    /// The reason for the guild's audit log, 1 to 512 characters; a validation
    /// error where Discord takes none. The request id is added, and the text cut
    /// where both do not fit.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.options.reason = Some(reason.into());
        self
    }

    /// The id under which the call stands in logs, errors and the audit log: 1
    /// to 64 visible ASCII characters. Default: a new one.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.options.request_id = Some(id.into());
        self
    }

    async fn run(self) -> Result<E::Response, RestError> {
        let mut call = Call::new(self.client, self.endpoint.name(), &self.options)?;
        let request = call.prepare(&self.endpoint, self.options.reason.as_deref())?;
        let answer = call.send(&request).await?;
        call.read(&answer)
    }
}

impl<E: Endpoint> IntoFuture for Execute<E> {
    type Output = Result<E::Response, RestError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<E: fmt::Debug> fmt::Debug for Execute<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
