//! Faults of REST, and the shapes of 429s.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::limits::Limited;
use super::request::{Pace, Response};
use super::route::Matched;
use crate::core::World;
use crate::rest_faults::{RestFault, RestFaultKind, Scope};

impl World {
    pub(super) fn take_rest_fault(&mut self, method: &str, path: &str) -> Option<RestFault> {
        let index = self
            .rest_faults
            .iter()
            .position(|fault| fault.strikes(method, path))?;
        let fault = self.rest_faults.get_mut(index)?;
        fault.times -= 1;
        let struck = fault.clone();
        if struck.times == 0 {
            self.rest_faults.remove(index);
        }
        Some(struck)
    }

    pub(super) fn apply_fault(
        &self,
        fault: &RestFault,
        mut real: Response,
        found: Option<&Matched>,
    ) -> Response {
        let delay = real.delay;
        match &fault.what {
            RestFaultKind::HangUp => real.hang_up = true,
            RestFaultKind::Hang(time) => {
                real.hang_up = true;
                real.delay = delay.saturating_add(*time);
            }
            RestFaultKind::Delay(time) => real.delay = delay.saturating_add(*time),
            RestFaultKind::WrongContentType(kind) => {
                real = real.with("content-type", kind.clone());
            }
            RestFaultKind::TruncatedBody => {
                real.body = real.body.slice(..real.body.len() / 2);
            }
            RestFaultKind::ResetMidBody => real.cut_after = Some(real.body.len() / 2),
            RestFaultKind::SlowBody { chunk, pause } => {
                real.pace = Some(Pace {
                    chunk: (*chunk).max(1),
                    pause: *pause,
                });
            }
            other => {
                real = self.made_up(other, found);
                real.delay = delay;
            }
        }
        real
    }

    /// The answer of a fault that puts its own in the place of the real one.
    fn made_up(&self, what: &RestFaultKind, found: Option<&Matched>) -> Response {
        let headers = |wait: Duration, scope| match found {
            Some(Matched::Endpoint(found)) if scope == Scope::User => Some(self.spent(found, wait)),
            _ => None,
        };
        match what {
            RestFaultKind::TooManyRequests { retry_after, scope } => too_many(&Limited {
                wait: *retry_after,
                scope: *scope,
                headers: headers(*retry_after, *scope),
            }),
            RestFaultKind::WrongRetryAfter { header, body } => {
                let mut response = too_many(&Limited {
                    wait: *body,
                    scope: Scope::User,
                    headers: headers(*body, Scope::User),
                });
                response.set("retry-after", whole_seconds(*header).to_string());
                response
            }
            RestFaultKind::CloudflareBan { retry_after } => cloudflare_ban(*retry_after),
            RestFaultKind::IpBan => ip_ban(),
            RestFaultKind::Accepted { retry_after } => Response::new(
                202,
                &json!({"message": "Not ready yet. Try again later", "code": 110_000, "retry_after": retry_after.as_secs_f64()}),
            ),
            RestFaultKind::Body {
                status,
                content_type,
                body,
            } => Response::raw(*status, content_type, body.clone()),
            RestFaultKind::Status(status) => Response::new(
                *status,
                &json!({"message": format!("{status}: Simulated"), "code": 0}),
            ),
            // These change the real answer, or leave none; they do not come here.
            RestFaultKind::HangUp
            | RestFaultKind::Hang(_)
            | RestFaultKind::Delay(_)
            | RestFaultKind::WrongContentType(_)
            | RestFaultKind::TruncatedBody
            | RestFaultKind::ResetMidBody
            | RestFaultKind::SlowBody { .. } => Response::new(500, &Value::Null),
        }
    }
}

/// Seconds, rounded up: waiting as told must be enough.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A 429 as Discord sends it.
pub(super) fn too_many(limited: &Limited) -> Response {
    let message = match limited.scope {
        Scope::Shared => "The resource is being rate limited.",
        Scope::User | Scope::Global => "You are being rate limited.",
    };
    let global = limited.scope == Scope::Global;
    // Milliseconds, rounded up so that waiting as told is enough.
    let retry_after = (limited.wait.as_secs_f64() * 1000.0).ceil() / 1000.0;
    let body = json!({"message": message, "retry_after": retry_after, "global": global});
    let mut response = Response::new(429, &body)
        .with("retry-after", whole_seconds(limited.wait).to_string())
        .with("x-ratelimit-scope", limited.scope.name());
    if global {
        response = response.with("x-ratelimit-global", "true");
    }
    if let Some(headers) = &limited.headers {
        headers.write(&mut response);
    }
    response
}

/// Cloudflare's answer to an address it has banned (observed).
pub(super) fn cloudflare_ban(retry_after: Option<Duration>) -> Response {
    let html = "<!doctype html><html><head><title>Access denied</title></head>\
        <body><h1>Error 1015</h1><p>You are being rate limited</p><p>error code: 1015</p></body></html>";
    let response = Response::raw(429, "text/html; charset=UTF-8", html);
    match retry_after {
        Some(time) => response.with("retry-after", whole_seconds(time).to_string()),
        None => response,
    }
}

/// The answer to an address that Discord itself has banned (observed).
pub(super) fn ip_ban() -> Response {
    let message = "You are being blocked from accessing our API temporarily due to exceeding our rate limits \
        frequently.";
    Response::new(429, &json!({"message": message, "code": 0}))
        .with("content-type", "application/json")
}

impl Response {
    fn raw(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut response = Self::new(status, &Value::Null).with("content-type", content_type);
        response.body = body.into();
        response
    }
}
