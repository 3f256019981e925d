//! Work that takes longer than a frame lasts, on few threads.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::runtime::Handle;

type Job = Box<dyn FnOnce() + Send>;

/// Work on keys and, on a thread of its own, on verification codes: scrypt takes its time for each, and whoever asks
/// for many must not hold up the keys of calls.
///
/// A call has one job on keys at a time and a client waits for each verification code, so what waits is bounded by the
/// calls and the futures that there are.
#[derive(Clone)]
pub(in crate::client) struct Jobs {
    keys: Queue,
    codes: Queue,
}

impl Jobs {
    /// So many threads for keys.
    pub(in crate::client) fn new(threads: usize) -> Self {
        Self {
            keys: Queue::new(threads),
            codes: Queue::new(1),
        }
    }

    /// Work on keys. Must be called within a runtime. A job that panics is lost, and nothing else.
    pub(in crate::client) fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.keys.run(job);
    }

    /// The same for a verification code.
    pub(in crate::client) fn run_code(&self, job: impl FnOnce() + Send + 'static) {
        self.codes.run(job);
    }
}

/// Jobs run in the order in which they come, on so many threads at most. The threads are tokio's blocking ones, taken
/// while there is work: none is idle for it, and a paused clock does not run ahead of a job.
#[derive(Clone)]
struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    threads: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
}

/// A thread's turn, counted down even where the runtime ends before it begins.
struct Turn {
    shared: Arc<Shared>,
    over: bool,
}

impl Queue {
    fn new(threads: usize) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            threads: threads.max(1),
        }))
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.waiting.push_back(Box::new(job));
        if state.running >= self.0.threads {
            return;
        }
        state.running += 1;
        drop(state);
        let turn = Turn {
            shared: Arc::clone(&self.0),
            over: false,
        };
        Handle::current().spawn_blocking(move || turn.work());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn work(mut self) {
        while let Some(job) = self.next() {
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job has panicked");
            }
        }
    }

    fn next(&mut self) -> Option<Job> {
        let mut state = self.shared.lock();
        let job = state.waiting.pop_front();
        if job.is_none() {
            // Under the same lock, so that no job comes between.
            state.running = state.running.saturating_sub(1);
            self.over = true;
        }
        job
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            let mut state = self.shared.lock();
            state.running = state.running.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn as_many_run_at_a_time_as_there_are_threads_and_all_run() {
        let jobs = Jobs::new(2);
        let (started, mut running) = tokio::sync::mpsc::unbounded_channel();
        let (open, gate) = std::sync::mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        for number in 0..20 {
            let (started, gate) = (started.clone(), Arc::clone(&gate));
            jobs.run(move || {
                started.send(number).unwrap();
                gate.lock().unwrap().recv().unwrap();
            });
        }
        drop(started);
        let mut numbers = vec![running.recv().await.unwrap(), running.recv().await.unwrap()];
        for _ in 2..20 {
            // The two are kept at the gate: a third that ran would have said so before one of them goes.
            assert!(running.try_recv().is_err(), "more than two run");
            open.send(()).unwrap();
            numbers.push(running.recv().await.unwrap());
        }
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(running.recv().await, None, "each runs once");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn codes_do_not_hold_up_keys() {
        let jobs = Jobs::new(1);
        let (open, gate) = std::sync::mpsc::channel::<()>();
        // It ends when the test does.
        jobs.run_code(move || {
            let _ = gate.recv();
        });
        let (done, ran) = tokio::sync::oneshot::channel();
        jobs.run(move || done.send(()).unwrap());
        let ran = tokio::time::timeout(Duration::from_secs(10), ran).await;
        drop(open);
        ran.expect("the keys wait for the codes").unwrap();
    }

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let jobs = Jobs::new(1);
        jobs.run(|| panic!("wanted by the test"));
        let (done, ran) = tokio::sync::oneshot::channel();
        jobs.run(move || done.send(()).unwrap());
        ran.await.unwrap();
    }
}
