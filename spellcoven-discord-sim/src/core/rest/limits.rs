//! Rate limits: buckets by route and major parameter, the hidden rename limit, shared limits, the global limit, and the
//! ban for too many invalid requests.
//!
//! See: Discord documentation, Topics, "Rate Limits".

use std::collections::BTreeMap;
use std::time::Duration;

use super::Response;
use super::faults::{cloudflare_ban, ip_ban};
use super::route::{Found, named};
use crate::core::World;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::rest_faults::Scope;
use crate::settings::{Ban, RateLimit};

/// Windows kept before those that are over are swept out.
const SWEEP_AT: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Duration,
    length: Duration,
    used: u32,
}

impl Window {
    fn end(self) -> Duration {
        self.start.saturating_add(self.length)
    }
}

/// Whose bucket, under which name, for which major parameter.
type BucketKey = (UserId, String, u64);

/// All counters.
#[derive(Debug, Default)]
pub(in crate::core) struct Limits {
    buckets: BTreeMap<BucketKey, Window>,
    global: BTreeMap<UserId, Window>,
    /// By channel and by what changed (`name` or `topic`): each counts apart.
    renames: BTreeMap<(ChannelId, &'static str), Window>,
    members: BTreeMap<(UserId, GuildId), Duration>,
    /// By route and major parameter, whoever asks.
    shared: BTreeMap<(String, u64), Window>,
    /// Answers with 401, 403 or 429 to the one address that all clients here have.
    invalid: Option<Window>,
    banned_until: Option<Duration>,
}

/// The state of a bucket, for the headers.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    limit: u32,
    remaining: u32,
    reset_after: Duration,
    reset_unix_ms: u64,
    hash: String,
}

impl Checked {
    pub(super) fn write(&self, response: &mut Response) {
        let ms = u64::try_from(self.reset_after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let decimal = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
        for (name, value) in [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-reset", decimal(self.reset_unix_ms)),
            ("x-ratelimit-reset-after", decimal(ms)),
            ("x-ratelimit-bucket", self.hash.clone()),
        ] {
            response.headers.push((name.to_owned(), value));
        }
    }
}

/// A request that has to wait.
#[derive(Clone, Debug)]
pub(super) struct Limited {
    pub(super) wait: Duration,
    pub(super) scope: Scope,
    pub(super) headers: Option<Checked>,
}

/// Counts one request in a fixed window that begins with its first. The window after it, or the wait.
fn count(window: &mut Window, limit: RateLimit, now: Duration) -> Result<Window, Duration> {
    if window.used == 0 || window.end() <= now {
        *window = Window {
            start: now,
            length: limit.window,
            used: 0,
        };
    }
    if window.used >= limit.limit.max(1) {
        return Err(window.end().saturating_sub(now));
    }
    window.used += 1;
    Ok(*window)
}

const EMPTY: Window = Window {
    start: Duration::ZERO,
    length: Duration::ZERO,
    used: 0,
};

impl Limits {
    /// The wait before a whole guild's members may be asked for again; `None` counts the request.
    pub(in crate::core) fn members_request(
        &mut self,
        now: Duration,
        bot: UserId,
        guild: GuildId,
        window: Duration,
    ) -> Option<Duration> {
        self.members.retain(|_, at| at.saturating_add(window) > now);
        if let Some(at) = self.members.get(&(bot, guild)) {
            return Some(at.saturating_add(window).saturating_sub(now));
        }
        self.members.insert((bot, guild), now);
        None
    }

    fn sweep(&mut self, now: Duration) {
        if self.buckets.len() > SWEEP_AT {
            self.buckets.retain(|_, window| window.end() > now);
        }
        if self.shared.len() > SWEEP_AT {
            self.shared.retain(|_, window| window.end() > now);
        }
        if self.renames.len() > SWEEP_AT {
            self.renames.retain(|_, window| window.end() > now);
        }
    }
}

/// A route as the settings name it.
fn route_name(found: &Found) -> String {
    format!("{} {}", found.method, found.template)
}

/// 32 digits that look like Discord's, made of a bucket's name.
fn bucket_hash(name: &str) -> String {
    // FNV-1a, twice.
    let hash = |seed: u64| {
        name.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    format!(
        "{:016x}{:016x}",
        hash(0xcbf2_9ce4_8422_2325),
        hash(0x9ae1_6a3b_2f90_404f)
    )
}

impl World {
    /// Counts a request in the global window and in its bucket. `None`: there are no limits.
    pub(super) fn check_limits(
        &mut self,
        bot: UserId,
        found: &Found,
    ) -> Result<Option<Checked>, Limited> {
        if !self.settings.rate_limits {
            return Ok(None);
        }
        let now = self.now;
        let wall = self.unix_ms();
        self.limits.sweep(now);
        let global = self.limits.global.entry(bot).or_insert(EMPTY);
        if let Err(wait) = count(global, self.settings.global_limit, now) {
            return Err(Limited {
                wait,
                scope: Scope::Global,
                headers: None,
            });
        }
        let name = route_name(found);
        if let Some(limit) = self.settings.shared_limits.get(&name).copied() {
            let key = (name.clone(), found.ids.major());
            let window = self.limits.shared.entry(key).or_insert(EMPTY);
            if let Err(wait) = count(window, limit, now) {
                return Err(Limited {
                    wait,
                    scope: Scope::Shared,
                    headers: None,
                });
            }
        }
        let bucket = self.settings.bucket_of(&name);
        let limit = bucket.limit;
        let hash = bucket_hash(bucket.hash);
        let key = (bot, bucket.counter.to_owned(), found.ids.major());
        let window = self.limits.buckets.entry(key).or_insert(EMPTY);
        let counted = count(window, limit, now);
        let reset_after = window.end().saturating_sub(now);
        let checked = Checked {
            limit: limit.limit,
            remaining: limit.limit.saturating_sub(window.used),
            reset_after,
            reset_unix_ms: wall
                .saturating_add(u64::try_from(reset_after.as_millis()).unwrap_or(u64::MAX)),
            hash,
        };
        match counted {
            Ok(_) => Ok(Some(checked)),
            Err(wait) => Err(Limited {
                wait,
                scope: Scope::User,
                headers: Some(checked),
            }),
        }
    }

    /// What the headers tell of a bucket that a fault declares spent.
    pub(super) fn spent(&self, found: &Found, wait: Duration) -> Checked {
        let name = route_name(found);
        let bucket = self.settings.bucket_of(&name);
        let limit = bucket.limit;
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Checked {
            limit: limit.limit,
            remaining: 0,
            reset_after: wait,
            reset_unix_ms: self.unix_ms().saturating_add(ms),
            hash: bucket_hash(bucket.hash),
        }
    }

    /// The answer to everybody while the address is banned.
    pub(super) fn banned(&mut self) -> Option<Response> {
        let until = self.limits.banned_until?;
        if until <= self.now {
            self.limits.banned_until = None;
            return None;
        }
        let wait = until.saturating_sub(self.now);
        Some(match self.settings.ban {
            Ban::Cloudflare { retry_after } => cloudflare_ban(retry_after.then_some(wait)),
            Ban::Json => ip_ban(),
        })
    }

    /// Counts an answer that Discord counts as invalid: 401, 403, and 429 but for the scope `shared`. One too many bans
    /// the address; here all clients have the same.
    ///
    /// See: Discord documentation, Topics, "Rate Limits", "Invalid Request Limit".
    pub(super) fn count_invalid(&mut self, response: &Response) {
        let shared = response.header("x-ratelimit-scope") == Some(Scope::Shared.name());
        let counts = matches!(response.status, 401 | 403) || (response.status == 429 && !shared);
        if !self.settings.rate_limits || response.hang_up || !counts {
            return;
        }
        let now = self.now;
        let limit = self.settings.invalid_limit;
        let window = self.limits.invalid.get_or_insert(EMPTY);
        // The last one that is let through is also the one that starts the ban.
        let full = count(window, limit, now).map_or(true, |window| window.used >= limit.limit);
        if full {
            self.limits.invalid = None;
            self.ban_address(self.settings.ban_time);
            self.complain(
                "a REST client",
                format!("{} invalid requests: the address is banned", limit.limit),
            );
        }
    }

    /// Bans the address of all clients from REST for so long; zero lifts a ban. Which answer they get is
    /// [`Settings::ban`](crate::Settings::ban).
    pub fn ban_address(&mut self, time: Duration) {
        self.limits.banned_until = (!time.is_zero()).then(|| self.now.saturating_add(time));
        self.acted(None, format!("address banned for {time:?}"));
    }

    /// Sets the limit of the routes that a text names: `"POST /guilds/{id}/channels"`, `"/channels/123"` (every method).
    /// The routes, as the settings name them; empty if there are none.
    pub fn limit_route(&mut self, route: &str, limit: RateLimit) -> Vec<String> {
        let routes = named(route);
        for route in &routes {
            let counter = self.settings.bucket_of(route).counter.to_owned();
            let before = self.settings.route_limits.insert(counter.clone(), limit);
            self.replaced_limits.entry(counter).or_insert(before);
        }
        self.acted(None, format!("limit of {routes:?}: {limit:?}"));
        routes
    }

    /// Takes back what [`limit_route`](Self::limit_route) set and every 429 that is still ordered, forgets what was
    /// counted, and lifts a ban.
    pub fn clear_rate_limits(&mut self) {
        for (route, before) in std::mem::take(&mut self.replaced_limits) {
            match before {
                Some(limit) => self.settings.route_limits.insert(route, limit),
                None => self.settings.route_limits.remove(&route),
            };
        }
        self.rest_faults.retain(|fault| !fault.what.is_limit());
        self.reset_rate_limits();
        self.acted(None, "rate limits cleared");
    }

    /// Forgets what every REST limit has counted, and lifts a ban.
    pub fn reset_rate_limits(&mut self) {
        self.limits = Limits::default();
    }

    /// How many answers of the present window count as invalid.
    #[must_use]
    pub fn invalid_requests(&self) -> u32 {
        self.limits
            .invalid
            .filter(|window| window.end() > self.now)
            .map_or(0, |window| window.used)
    }

    /// Counts a change of a channel's name or topic in the hidden limit that the headers do not show.
    pub(super) fn check_rename(
        &mut self,
        channel: ChannelId,
        what: &'static str,
    ) -> Result<(), Limited> {
        if !self.settings.rate_limits {
            return Ok(());
        }
        let now = self.now;
        let window = self.limits.renames.entry((channel, what)).or_insert(EMPTY);
        match count(window, self.settings.rename_limit, now) {
            Ok(_) => Ok(()),
            // The scope header of this answer is not known; it is the bot's own doing.
            Err(wait) => Err(Limited {
                wait,
                scope: Scope::User,
                headers: None,
            }),
        }
    }
}
