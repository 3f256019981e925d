//! A simulator's settings, before it begins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Shared, Sim, State};
use crate::core::World;
use crate::intents::Intents;
use crate::settings::{RateLimit, Settings};

/// Settings of a [`Sim`]; see [`Settings`] for what each means and its default.
#[derive(Clone, Debug, Default)]
pub struct SimBuilder {
    settings: Settings,
    seed: Option<u64>,
}

impl SimBuilder {
    /// The seed of all chance: session ids, tokens, the order of GUILD_CREATE. Default: the operating system's.
    ///
    /// Ids of guilds, channels and users carry the time, so that a run is the same only if
    /// [`start_time`](Self::start_time) is, too.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Wall time at the start, Unix milliseconds. Default: the machine's clock.
    #[must_use]
    pub fn start_time(mut self, unix_ms: u64) -> Self {
        self.settings.start_unix_ms = Some(unix_ms);
        self
    }

    /// The heartbeat interval that HELLO asks for. Default 41.25 s.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.heartbeat_interval = interval;
        self
    }

    /// How long a session without a connection can be resumed. Default 120 s.
    #[must_use]
    pub fn resume_window(mut self, window: Duration) -> Self {
        self.settings.resume_window = window;
        self
    }

    /// Dispatches kept per session for a resume. Default 10 000.
    #[must_use]
    pub fn replay_limit(mut self, events: usize) -> Self {
        self.settings.replay_limit = events;
        self
    }

    /// Delay of every dispatch after its cause. Default none.
    #[must_use]
    pub fn event_delay(mut self, delay: Duration) -> Self {
        self.settings.event_delay = delay;
        self
    }

    /// `http://HOST:PORT` as clients reach this simulator; the Gateway's URL is made from it. [`Sim::listen`] sets it.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.settings.public_url = url.into();
        self
    }

    /// Whether channels that a bot cannot view are obfuscated. Default yes.
    #[must_use]
    pub fn obfuscation(mut self, on: bool) -> Self {
        self.settings.obfuscation = on;
        self
    }

    /// Privileged intents that bots may use. Default none.
    #[must_use]
    pub fn privileged_intents(mut self, intents: Intents) -> Self {
        self.settings.privileged_intents = intents;
        self
    }

    /// The bucket of a route, as `"PATCH /channels/{channel.id}"`.
    #[must_use]
    pub fn rate_limit(mut self, route: impl Into<String>, limit: RateLimit) -> Self {
        self.settings.route_limits.insert(route.into(), limit);
        self
    }

    /// Switches all REST limits off.
    #[must_use]
    pub fn no_rate_limits(mut self) -> Self {
        self.settings.rate_limits = false;
        self
    }

    /// Entries kept in the journal. Default 100 000.
    #[must_use]
    pub fn journal_limit(mut self, entries: usize) -> Self {
        self.settings.journal_limit = entries;
        self
    }

    /// Changes any other setting.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// The simulator. Its time begins now.
    #[must_use]
    pub fn build(self) -> Sim {
        self.build_with(|_| ()).0
    }

    /// The simulator, with a world that is set up at its very beginning, and what the set-up gave. The ids made there do
    /// not depend on how long it took.
    #[must_use]
    pub fn build_with<R>(self, set_up: impl FnOnce(&mut World) -> R) -> (Sim, R) {
        let mut world = World::new(self.settings, self.seed);
        let result = set_up(&mut world);
        let state = Mutex::new(State {
            world,
            #[cfg(feature = "voice")]
            voice: crate::shell::Switchboard::default(),
            doors: BTreeMap::new(),
        });
        let sim = Sim {
            shared: Arc::new(Shared {
                origin: Instant::now(),
                state,
            }),
        };
        (sim, result)
    }
}
