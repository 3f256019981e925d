//! Rate limits: buckets by route and major parameter, the hidden rename limit, the global limit.
//!
//! See: Discord documentation, Topics, "Rate Limits".

use std::collections::BTreeMap;
use std::time::Duration;

use super::Response;
use super::route::Found;
use crate::core::World;
use crate::faults::Scope;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::settings::RateLimit;

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

type BucketKey = (UserId, &'static str, &'static str, u64);

/// All counters.
#[derive(Debug, Default)]
pub(in crate::core) struct Limits {
    buckets: BTreeMap<BucketKey, Window>,
    global: BTreeMap<UserId, Window>,
    /// By channel and by what changed (`name` or `topic`): each counts apart.
    renames: BTreeMap<(ChannelId, &'static str), Window>,
    members: BTreeMap<(UserId, GuildId), Duration>,
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
        if self.renames.len() > SWEEP_AT {
            self.renames.retain(|_, window| window.end() > now);
        }
    }
}

/// The hash told for a route. Making and editing messages tell the same one and count apart (observed).
fn bucket_hash(found: &Found) -> String {
    let name = match found.template {
        "/channels/{channel.id}/messages" | "/channels/{channel.id}/messages/{message.id}" => {
            "messages".to_owned()
        }
        template => format!("{} {template}", found.method),
    };
    // FNV-1a, twice, for 32 digits that look like Discord's.
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
        let name = format!("{} {}", found.method, found.template);
        let limit = self
            .settings
            .route_limits
            .get(&name)
            .copied()
            .unwrap_or(self.settings.default_limit);
        let key = (bot, found.method, found.template, found.ids.major());
        let window = self.limits.buckets.entry(key).or_insert(EMPTY);
        let counted = count(window, limit, now);
        let reset_after = window.end().saturating_sub(now);
        let checked = Checked {
            limit: limit.limit,
            remaining: limit.limit.saturating_sub(window.used),
            reset_after,
            reset_unix_ms: wall
                .saturating_add(u64::try_from(reset_after.as_millis()).unwrap_or(u64::MAX)),
            hash: bucket_hash(found),
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
        let name = format!("{} {}", found.method, found.template);
        let limit = self
            .settings
            .route_limits
            .get(&name)
            .unwrap_or(&self.settings.default_limit);
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Checked {
            limit: limit.limit,
            remaining: 0,
            reset_after: wait,
            reset_unix_ms: self.unix_ms().saturating_add(ms),
            hash: bucket_hash(found),
        }
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
