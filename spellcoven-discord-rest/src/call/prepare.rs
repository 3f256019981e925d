//! Makes a request ready to be sent as often as need be.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::value::RawValue;

use super::{Call, Options};
use crate::{
    endpoint::{Endpoint, RetryClass, Route},
    error::RestError,
    limit::{Deed, Kind},
    reason,
    validate::{self, ValidationError},
};

/// A request, ready to be sent as often as need be.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) name: &'static str,
    pub(crate) route: Route,
    pub(crate) body: Option<Bytes>,
    pub(crate) kind: Kind,
    pub(crate) deed: Deed,
    pub(crate) class: RetryClass,
    pub(crate) reason: Option<HeaderValue>,
}

impl Call {
    /// Checks and serialises an endpoint's request.
    pub(crate) fn prepare<E: Endpoint>(
        &self,
        endpoint: &E,
        reason: Option<&str>,
    ) -> Result<Prepared, RestError> {
        endpoint.validate().map_err(|error| self.invalid(error))?;
        if reason.is_some() && !endpoint.takes_reason() {
            return Err(self.invalid(ValidationError::new(
                "reason",
                "Discord takes no audit-log reason here",
            )));
        }
        let body = endpoint.body().map_err(|error| {
            let error = ValidationError::new("body", format!("cannot be written as JSON: {error}"));
            self.invalid(error)
        })?;
        let reason = endpoint
            .takes_reason()
            .then(|| reason.unwrap_or(endpoint.name()));
        self.prepare_parts(
            endpoint.name(),
            endpoint.route(),
            body,
            endpoint.retry_class(),
            reason,
        )
    }

    pub(crate) fn prepare_parts(
        &self,
        name: &'static str,
        route: Route,
        body: Option<Bytes>,
        class: RetryClass,
        reason: Option<&str>,
    ) -> Result<Prepared, RestError> {
        route.validate().map_err(|error| self.invalid(error))?;
        let reason = match reason {
            None => None,
            Some(text) => Some(
                reason::header(text, &self.request_id, &self.token).ok_or_else(|| {
                    self.invalid(ValidationError::new(
                        "request_id",
                        "does not fit into the audit-log reason",
                    ))
                })?,
            ),
        };
        let (kind, asked) = kind_of(body.as_ref());
        let deed = Deed::new(&route, &asked);
        Ok(Prepared {
            name,
            route,
            body,
            kind,
            deed,
            class,
            reason,
        })
    }
}

pub(super) fn check_options(options: &Options) -> Result<(), ValidationError> {
    if let Some(reason) = &options.reason {
        validate::length("reason", reason, 1, 512)?;
    }
    if let Some(id) = &options.request_id {
        validate::length("request_id", id, 1, 64)?;
        if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ValidationError::new(
                "request_id",
                "must be visible ASCII characters",
            ));
        }
    }
    Ok(())
}

/// Keys whose values decide whether the bot may do what is asked, beside the path.
const ASKED: [&str; 5] = [
    "channel_id",
    "parent_id",
    "permission_overwrites",
    "roles",
    "type",
];

/// The top-level keys of a JSON body, in order of the alphabet; and what in it
/// matters for permissions: these keys, with the values of those in [`ASKED`].
fn kind_of(body: Option<&Bytes>) -> (Kind, String) {
    let keys = body
        .and_then(|body| serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(body).ok());
    let keys = keys.unwrap_or_default();
    let kind = keys.keys().map(AsRef::as_ref).collect::<Vec<&str>>();
    let mut asked = kind.join(",");
    for key in ASKED {
        if let Some(value) = keys.get(key) {
            asked.push_str(value.get());
        }
    }
    (Kind::from(kind.join(",")), asked)
}
