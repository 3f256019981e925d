//! Rate limits, bans and errors of REST.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::act::{Call, Done, ok};
use crate::{RateLimit, RestFault, RestFaultKind, Scope, When};

#[derive(Deserialize)]
struct Limits {
    route: Option<String>,
    limit: Option<u32>,
    /// Seconds.
    window: Option<f64>,
    count: Option<u32>,
    /// Seconds.
    retry_after: Option<f64>,
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    clear: bool,
}

fn seconds(number: f64, name: &str) -> Result<Duration, (u16, String)> {
    Duration::try_from_secs_f64(number)
        .map_err(|_| (400, format!("{name} is a number of seconds from 0 on")))
}

/// A fault that strikes no time would only take a place among those that wait.
fn from_one(count: u32) -> Result<(), (u16, String)> {
    match count {
        0 => Err((400, "count is from 1 on".to_owned())),
        _ => Ok(()),
    }
}

/// `{route, limit, window}` sets a bucket, `{count}` orders 429s, `{clear: true}` takes both back.
pub(super) fn rate_limit(call: &Call<'_>) -> Done {
    let wanted: Limits = call.body()?;
    if wanted.clear {
        call.sim.clear_rate_limits();
        return ok();
    }
    if let Some(count) = wanted.count {
        from_one(count)?;
        let retry_after = seconds(wanted.retry_after.unwrap_or(1.0), "retry_after")?;
        let scope = wanted.scope;
        let what = RestFaultKind::TooManyRequests { retry_after, scope };
        let fault = RestFault::once(wanted.route.unwrap_or_default(), what).times(count);
        call.sim.fail_rest(fault);
        return ok();
    }
    let (Some(route), Some(limit), Some(window)) = (wanted.route, wanted.limit, wanted.window)
    else {
        return Err((
            400,
            "give {route, limit, window}, {count}, or {clear: true}".to_owned(),
        ));
    };
    let limit = RateLimit {
        limit,
        window: seconds(window, "window")?,
    };
    if limit.limit == 0 || limit.window.is_zero() {
        return Err((400, "limit is from 1 on, window above 0".to_owned()));
    }
    let routes = call.sim.limit_route(&route, limit);
    if routes == 0 {
        return Err((400, format!("there is no route {route:?}")));
    }
    Ok(json!({ "ok": true, "routes": routes }))
}

#[derive(Deserialize)]
struct Fail {
    #[serde(default = "one")]
    count: u32,
    #[serde(default = "bad_gateway")]
    status: u16,
    #[serde(default, rename = "match")]
    matches: String,
    #[serde(default)]
    when: When,
}

const fn one() -> u32 {
    1
}

const fn bad_gateway() -> u16 {
    502
}

pub(super) fn fail(call: &Call<'_>) -> Done {
    let wanted: Fail = call.body()?;
    if !(500..600).contains(&wanted.status) {
        return Err((400, "status is from 500 to 599".to_owned()));
    }
    from_one(wanted.count)?;
    call.sim.fail_rest(RestFault {
        matches: wanted.matches,
        times: wanted.count,
        what: RestFaultKind::Status(wanted.status),
        when: wanted.when,
    });
    ok()
}

#[derive(Deserialize)]
struct BanFor {
    ms: u64,
}

/// Bans the address of all clients for so long; 0 lifts the ban.
pub(super) fn ban(call: &Call<'_>) -> Done {
    let wanted: BanFor = call.body()?;
    call.sim.ban_address(Duration::from_millis(wanted.ms));
    ok()
}

/// Takes back everything that REST still had before it.
pub(super) fn clear(call: &Call<'_>) -> Done {
    call.sim.clear_rate_limits();
    call.sim.clear_rest_faults();
    ok()
}
