//! Faults of REST, and the shape of a 429.

use serde_json::{Value, json};

use super::limits::Limited;
use super::request::Response;
use super::route::Matched;
use crate::core::World;
use crate::faults::{RestFault, RestFaultKind, Scope};

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
        real: Response,
        found: Option<&Matched>,
    ) -> Response {
        let delay = real.delay;
        let mut response = match &fault.what {
            RestFaultKind::Status(status) => Response::new(
                *status,
                &json!({"message": format!("{status}: Simulated"), "code": 0}),
            ),
            RestFaultKind::HangUp => Response {
                hang_up: true,
                ..real
            },
            RestFaultKind::Hang(time) => {
                return Response {
                    hang_up: true,
                    delay: delay.saturating_add(*time),
                    ..real
                };
            }
            RestFaultKind::TooManyRequests { retry_after, scope } => {
                let headers = match found {
                    Some(Matched::Endpoint(found)) if *scope == Scope::User => {
                        Some(self.spent(found, *retry_after))
                    }
                    _ => None,
                };
                too_many(&Limited {
                    wait: *retry_after,
                    scope: *scope,
                    headers,
                })
            }
            RestFaultKind::Body {
                status,
                content_type,
                body,
            } => {
                let mut response =
                    Response::new(*status, &Value::Null).with("content-type", content_type.clone());
                response.body = body.clone().into();
                response
            }
            RestFaultKind::Delay(time) => {
                return Response {
                    delay: delay.saturating_add(*time),
                    ..real
                };
            }
        };
        response.delay = delay;
        response
    }
}

/// A 429 as Discord sends it.
pub(super) fn too_many(limited: &Limited) -> Response {
    let seconds = limited.wait.as_secs_f64();
    let message = match limited.scope {
        Scope::Shared => "The resource is being rate limited.",
        Scope::User | Scope::Global => "You are being rate limited.",
    };
    let global = limited.scope == Scope::Global;
    // Milliseconds, rounded up so that waiting as told is enough.
    let retry_after = (seconds * 1000.0).ceil() / 1000.0;
    let body = json!({"message": message, "retry_after": retry_after, "global": global});
    let whole = limited.wait.as_secs() + u64::from(limited.wait.subsec_nanos() > 0);
    let mut response = Response::new(429, &body)
        .with("retry-after", whole.to_string())
        .with("x-ratelimit-scope", limited.scope.name());
    if global {
        response = response.with("x-ratelimit-global", "true");
    }
    if let Some(headers) = &limited.headers {
        headers.write(&mut response);
    }
    response
}
