//! Endpoints: what a request says and what its answer is.

mod channel;
mod gateway;
mod guild;
mod message;
mod route;

use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;

pub(crate) use self::{
    channel::DeleteChannelEndpoint,
    guild::{AuditLog, CreateChannelBody},
    message::MessageBody,
};
pub use self::{
    channel::GetChannel,
    gateway::GetGatewayBot,
    guild::GetChannels,
    route::{Major, Route},
};
use crate::validate::ValidationError;

/// Whether a request may be sent again after a failure that leaves open whether
/// Discord acted on it (a 5xx, a time-out, a connection lost after sending).
///
/// A request that surely was not acted on (never sent, or answered 429) is
/// always retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RetryClass {
    /// Doing it twice is the same as doing it once: it is sent again.
    Idempotent,
    /// Doing it twice would be doing a second thing: it is not sent again, the
    /// call fails with [`OutcomeUnknown`](crate::RestErrorKind::OutcomeUnknown).
    NotIdempotent,
    /// Discord itself recognises the repetition for about a minute
    /// (`nonce` with `enforce_nonce`): it is sent again within that minute.
    Deduplicated,
}

impl RetryClass {
    /// What a method promises by RFC 9110, with PATCH counted as not idempotent:
    /// a repeated PATCH can undo what another did meanwhile.
    #[must_use]
    pub fn of_method(method: &Method) -> Self {
        if matches!(
            *method,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS
        ) {
            Self::Idempotent
        } else {
            Self::NotIdempotent
        }
    }
}

/// A typed request to any endpoint, for
/// [`DiscordRestClient::execute`](crate::DiscordRestClient::execute).
///
/// ```
/// use http::Method;
/// use spellcoven_discord_rest::{Endpoint, Major, Route};
/// use twilight_model::voice::VoiceRegion;
///
/// /// `GET /voice/regions`
/// struct GetVoiceRegions;
///
/// impl Endpoint for GetVoiceRegions {
///     type Response = Vec<VoiceRegion>;
///
///     fn route(&self) -> Route {
///         Route::new(Method::GET, "/voice/regions", Major::None)
///     }
/// }
/// ```
pub trait Endpoint: Send + Sync + 'static {
    /// What a 2xx answer's body is. An empty body is read as JSON `null`, so
    /// `()` fits a 204.
    type Response: DeserializeOwned + Send + 'static;

    /// Where the request goes.
    fn route(&self) -> Route;

    /// The name of the operation, for logs. Default: the path template.
    fn name(&self) -> &'static str {
        self.route().template()
    }

    /// The JSON body, if the request has one. Default: none.
    ///
    /// # Errors
    ///
    /// What `serde_json` says; the call then fails before anything is sent.
    fn body(&self) -> Result<Option<Bytes>, serde_json::Error> {
        Ok(None)
    }

    /// Whether it may be sent again when the outcome is unknown. Default:
    /// [`RetryClass::of_method`].
    fn retry_class(&self) -> RetryClass {
        RetryClass::of_method(self.route().method())
    }

    /// Whether Discord takes an audit-log reason here. Default: no; a reason
    /// that is given all the same is a validation error.
    fn takes_reason(&self) -> bool {
        false
    }

    /// Checks the input before anything is sent. Default: nothing to check.
    ///
    /// # Errors
    ///
    /// The first field at fault.
    fn validate(&self) -> Result<(), ValidationError> {
        Ok(())
    }
}
