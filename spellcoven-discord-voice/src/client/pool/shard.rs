//! One task that drives the calls of a shard.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep};
use tracing::Span;

use super::{
    Jobs,
    net::{LOOKS, SharedNet},
    timers::Timers,
    wakes::Wakes,
};
use crate::{
    client::driver::{Driver, Turn},
    net::{DATAGRAM_SIZE, Incoming},
};

/// Where new clients wait for their shard.
pub(super) struct Inbox {
    state: Mutex<State>,
    task: Arc<AtomicWaker>,
    /// How many clients the shard has, those that wait here included.
    pub(super) calls: AtomicUsize,
}

#[derive(Default)]
struct State {
    arrived: Vec<Newcomer>,
    /// No more come.
    closed: bool,
    /// The shard is gone.
    dead: bool,
}

struct Newcomer {
    driver: Box<Driver>,
    span: Span,
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            task: Arc::new(AtomicWaker::new()),
            calls: AtomicUsize::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of a shard that is gone ends at once.
    pub(super) fn add(&self, driver: Driver, span: Span) {
        let driver = Box::new(driver);
        let mut state = self.lock();
        if state.dead {
            drop(state);
            drop(driver);
            return;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        state.arrived.push(Newcomer { driver, span });
        drop(state);
        self.task.wake();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.task.wake();
    }
}

pub(super) struct Shard {
    inbox: Arc<Inbox>,
    calls: Vec<Option<Call>>,
    free: Vec<usize>,
    wakes: Wakes,
    timers: Timers,
    timer: Pin<Box<Sleep>>,
    /// A deadline that the timer has said is there.
    reached: Instant,
    net: SharedNet,
    jobs: Jobs,
    buffer: Box<[u8]>,
    /// There once there are shared sockets.
    incoming: Option<Box<Incoming>>,
}

struct Call {
    driver: Box<Driver>,
    span: Span,
    waker: Waker,
}

impl Shard {
    /// Must be called within a runtime.
    pub(super) fn new(inbox: Arc<Inbox>, jobs: Jobs, shared_sockets: bool) -> Self {
        let now = Instant::now();
        let task = &inbox.task;
        Self {
            calls: Vec::new(),
            free: Vec::new(),
            wakes: Wakes::new(Arc::clone(task)),
            timers: Timers::new(now.into_std()),
            timer: Box::pin(tokio::time::sleep_until(now)),
            reached: now,
            net: SharedNet::new(Arc::clone(task), shared_sockets),
            inbox,
            jobs,
            buffer: vec![0; DATAGRAM_SIZE].into(),
            incoming: None,
        }
    }

    pub(super) fn spawn(mut self) {
        let rounds = std::future::poll_fn(move |cx| self.round(cx));
        // A round is bounded, and ends in a yield. Tokio's own bound would stop a round in its middle, at the same calls
        // again and again.
        tokio::spawn(tokio::task::coop::unconstrained(rounds));
    }

    /// Looks at what was woken once, and between any two looks at the clock.
    fn round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Registered before the look, so that nothing falls between the two.
        self.inbox.task.register(cx.waker());
        let ended = self.arrivals();
        let mut more = self.pace(Instant::now());
        more |= self.receive();
        for word in 0..self.wakes.words() {
            for place in self.wakes.take(word) {
                let now = Instant::now();
                more |= self.call(place, now, |driver, turn| driver.look(turn, now));
                more |= self.pace(now);
            }
        }
        more |= self.flush();
        if ended && self.free.len() == self.calls.len() {
            return Poll::Ready(());
        }
        if more || self.is_due(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes in new clients. `true`: no more will come.
    fn arrivals(&mut self) -> bool {
        let mut state = self.inbox.lock();
        let closed = state.closed;
        if state.arrived.is_empty() {
            return closed;
        }
        let arrived = std::mem::take(&mut state.arrived);
        drop(state);
        for Newcomer { driver, span } in arrived {
            let place = self.free.pop().unwrap_or_else(|| {
                self.calls.push(None);
                self.calls.len() - 1
            });
            let waker = self.wakes.waker(place);
            if let Some(call) = self.calls.get_mut(place) {
                *call = Some(Call {
                    driver,
                    span,
                    waker,
                });
            }
            self.wakes.mark(place);
        }
        closed
    }

    /// Paces the calls that are due, in the order of their deadlines.
    fn pace(&mut self, now: Instant) -> bool {
        // The runtime's timer counts in milliseconds, and may be a little early.
        let now = now.max(self.reached);
        let at = now.into_std();
        let mut more = false;
        while let Some((due, place)) = self.timers.first()
            && due <= at
        {
            let known = self.call(place, now, |driver, turn| {
                driver.timeout(turn, now);
                true
            });
            if !known {
                self.timers.set(place, None);
            } else if self
                .timers
                .first()
                .is_some_and(|(due, again)| again == place && due <= at)
            {
                // Whatever it wants so soon, the others come first.
                self.timers.set(place, None);
                self.wakes.mark(place);
                more = true;
            }
        }
        more
    }

    /// Takes what has come on shared sockets.
    fn receive(&mut self) -> bool {
        let mut more = false;
        for word in 0..self.net.words() {
            for port in self.net.woken(word) {
                more |= self.receive_on(port);
            }
        }
        more
    }

    fn receive_on(&mut self, port: usize) -> bool {
        let mut incoming = self
            .incoming
            .take()
            .unwrap_or_else(|| Box::new(Incoming::new()));
        let mut more = true;
        for _ in 0..LOOKS {
            more = self.net.receive(port, &mut incoming);
            if !more {
                break;
            }
            let now = Instant::now();
            for (from, datagram) in incoming.iter_mut() {
                if let Some(place) = self.net.call_of(port, from) {
                    self.call(place, now, |driver, turn| {
                        driver.datagram(turn, now, datagram);
                        true
                    });
                }
            }
            self.pace(now);
        }
        self.incoming = Some(incoming);
        if more {
            self.net.again(port);
        }
        more
    }

    /// Gives a call its turn, and sees when it wants the next. `false` if it has nothing more to do for now, or is gone.
    fn call(
        &mut self,
        place: usize,
        now: Instant,
        act: impl FnOnce(&mut Driver, &mut Turn<'_, '_>) -> bool,
    ) -> bool {
        let Some(Some(call)) = self.calls.get_mut(place) else {
            return false;
        };
        let driver = &mut *call.driver;
        let mut turn = Turn {
            cx: &mut Context::from_waker(&call.waker),
            call: place,
            net: &mut self.net,
            jobs: &self.jobs,
            buffer: &mut self.buffer,
        };
        let span = call.span.enter();
        // A call that has panicked is not used any more but to end it.
        let acted = catch_unwind(AssertUnwindSafe(|| act(driver, &mut turn)));
        drop(span);
        let Ok(more) = acted else {
            self.end(place, now, true);
            return false;
        };
        if driver.is_finished(now) {
            self.end(place, now, false);
            return false;
        }
        self.timers.set(place, driver.due().map(Instant::into_std));
        if more {
            self.wakes.mark(place);
        }
        more
    }

    fn end(&mut self, place: usize, now: Instant, crashed: bool) {
        self.timers.set(place, None);
        let Some(Call { driver, span, .. }) = self.calls.get_mut(place).and_then(Option::take)
        else {
            return;
        };
        self.free.push(place);
        self.inbox.calls.fetch_sub(1, Ordering::Relaxed);
        let net = &mut self.net;
        // What the embedder gave is dropped in here, and may panic once more.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut driver = driver;
            let _span = span.enter();
            if crashed {
                tracing::error!("something that the client was given has panicked: it ends");
                driver.crashed(net);
            } else {
                driver.end(net, now);
            }
        }));
        if ended.is_err() {
            tracing::error!("something that a client was given has panicked at its end");
        }
    }

    /// `true` if a call has lost its place on a socket, and has more to do.
    fn flush(&mut self) -> bool {
        self.net.flush();
        while let Some(place) = self.net.take_unsent() {
            if let Some(Some(call)) = self.calls.get_mut(place) {
                call.driver.count_unsent();
            }
        }
        let mut more = false;
        while let Some((place, slot)) = self.net.take_broken() {
            let now = Instant::now();
            more |= self.call(place, now, |driver, turn| {
                driver.shared_udp_failed(turn, now, slot)
            });
        }
        more
    }

    /// Whether the next deadline is there; if not, the task is woken when it is.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((due, _)) = self.timers.first() else {
            return false;
        };
        let due = Instant::from_std(due);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        let is_due = self.timer.as_mut().poll(cx).is_ready();
        if is_due {
            self.reached = due;
        }
        is_due
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        state.dead = true;
        let arrived = std::mem::take(&mut state.arrived);
        drop(state);
        drop(arrived);
    }
}
