//! The limiter's async side: callers wait here until their request may go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    error::{RateLimitScope, RestErrorKind},
    limit::{Ask, Limiter, Observed, Ticket, Verdict},
};

/// A wait that no timer needs to tell from for ever.
const FOREVER: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The limiter, and those who wait for it. No task of its own: each waiting call
/// sleeps until its own time, or until another call wakes it.
#[derive(Debug)]
pub(crate) struct Gate {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    sleepers: BTreeMap<Ticket, Arc<Notify>>,
}

impl Gate {
    pub(crate) fn new(limiter: Limiter) -> Self {
        Self {
            origin: Instant::now(),
            state: Mutex::new(State {
                limiter,
                sleepers: BTreeMap::new(),
            }),
        }
    }

    /// Time since the client's start.
    pub(crate) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.origin)
    }

    /// Waits for the request's turn, at most `budget`, from which the wait is
    /// taken off. A retry gives its `ticket` back to keep its place.
    ///
    /// Dropping the future gives the place in line back.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        ask: Ask,
        ticket: Option<Ticket>,
        budget: &mut Duration,
    ) -> Result<Permit, RestErrorKind> {
        let start = self.now();
        let result = self
            .wait(ask, ticket, start, start + (*budget).min(FOREVER))
            .await;
        *budget = budget.saturating_sub(self.now().saturating_sub(start));
        result
    }

    async fn wait(
        self: &Arc<Self>,
        ask: Ask,
        ticket: Option<Ticket>,
        start: Duration,
        deadline: Duration,
    ) -> Result<Permit, RestErrorKind> {
        let notify = Arc::new(Notify::new());
        let ticket = {
            let mut state = self.lock();
            let ticket = state
                .limiter
                .enqueue(ask, ticket, start)
                .ok_or(RestErrorKind::QueueFull)?;
            state.sleepers.insert(ticket, notify.clone());
            ticket
        };
        let mut place = Place {
            gate: self,
            ticket,
            waiting: true,
        };
        loop {
            let now = self.now();
            let verdict = {
                let mut state = self.lock();
                let verdict = state.limiter.poll(ticket, now);
                state.wake(ticket);
                verdict
            };
            let limited = |at: Duration, scope| RestErrorKind::RateLimited {
                retry_after: at.saturating_sub(now),
                scope,
            };
            let until = match verdict {
                Verdict::Go => {
                    place.waiting = false;
                    self.lock().sleepers.remove(&ticket);
                    return Ok(Permit {
                        gate: self.clone(),
                        ticket,
                        done: false,
                    });
                }
                Verdict::Broken(until) => {
                    return Err(RestErrorKind::CircuitOpen {
                        retry_after: until.saturating_sub(now),
                    });
                }
                Verdict::At(at, scope) | Verdict::Parked(Some((at, scope))) if at > deadline => {
                    return Err(limited(at, scope));
                }
                // The deadline is over while others are still before us.
                Verdict::Parked(not_before) if now >= deadline => {
                    let (at, scope) = not_before.unwrap_or((now, RateLimitScope::Bucket));
                    return Err(limited(at, scope));
                }
                Verdict::At(at, _) => at,
                Verdict::Parked(_) => deadline,
            };
            tokio::select! {
                biased;
                () = notify.notified() => {}
                () = sleep_until(self.origin + until) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the limiter.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut Limiter) -> T) -> T {
        read(&mut self.lock().limiter)
    }
}

impl State {
    /// Wakes those whom the limiter named, except the caller itself.
    fn wake(&mut self, myself: Ticket) {
        for ticket in self.limiter.take_wakes() {
            if ticket != myself
                && let Some(sleeper) = self.sleepers.get(&ticket)
            {
                sleeper.notify_one();
            }
        }
    }
}

/// A place in line, given back when it is dropped.
struct Place<'a> {
    gate: &'a Arc<Gate>,
    ticket: Ticket,
    waiting: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.waiting {
            let now = self.gate.now();
            let mut state = self.gate.lock();
            state.limiter.cancel(self.ticket, now);
            state.sleepers.remove(&self.ticket);
            state.wake(self.ticket);
        }
    }
}

/// The right to send one request. Dropped without [`Permit::finish`] it counts
/// as a request without an answer.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    ticket: Ticket,
    done: bool,
}

impl Permit {
    /// The place in line, for a retry.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Hands in what the answer said. `extra` lengthens the wait after a 429.
    pub(crate) fn finish(mut self, observed: &Observed, extra: Duration) {
        self.done = true;
        self.release(Some(observed), extra);
    }

    fn release(&self, observed: Option<&Observed>, extra: Duration) {
        let now = self.gate.now();
        let mut state = self.gate.lock();
        let warning = state.limiter.finished(self.ticket, observed, extra, now);
        state.wake(self.ticket);
        drop(state);
        if let Some(count) = warning {
            tracing::warn!(
                count,
                limit = 10_000,
                "many requests of the last ten minutes were refused (401, 403, 429); Discord bans the address at the limit"
            );
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.done {
            self.release(None, Duration::ZERO);
        }
    }
}
