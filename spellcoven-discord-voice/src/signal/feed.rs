use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use super::{SignalError, SignalEvent, Signalling, VoiceStateRequest};

/// How many events may wait. A later event of a kind replaces what an earlier one said, so at the limit only the last
/// of each kind is kept.
const LIMIT: usize = 64;

/// Makes a [`Signalling`] for any gateway library: `send` sends op 4, and what the library hears goes into the feed.
///
/// ```
/// use spellcoven_discord_voice::{OwnVoiceState, SignalEvent, VoiceServer, VoiceServerToken, signal_pair};
///
/// let (feed, signalling) = signal_pair(|request| {
///     let d = serde_json::to_value(request).expect("it is plain data");
///     println!("to the main gateway: op 4, {d}");
///     Ok(())
/// });
/// // In the bot's event loop, for events of this guild and of the bot's own user only:
/// feed.send(SignalEvent::VoiceState(OwnVoiceState { channel_id: None, session_id: "ab12".to_owned() }));
/// feed.send(SignalEvent::VoiceServer(VoiceServer {
///     token: VoiceServerToken::new("secret"),
///     endpoint: Some("name-12345.discord.media:2048".to_owned()),
/// }));
/// # drop(signalling);
/// ```
pub fn signal_pair<F>(send: F) -> (SignalFeed, Fed<F>)
where
    F: FnMut(VoiceStateRequest) -> Result<(), SignalError> + Send + 'static,
{
    let shared = Arc::new(Shared::default());
    let feed = SignalFeed(Arc::new(FeedGuard(Arc::clone(&shared))));
    (feed, Fed { send, shared })
}

/// Where a gateway library's events go in. Clones feed the same client; when all are dropped, the client takes the main
/// gateway for gone.
#[derive(Debug, Clone)]
pub struct SignalFeed(Arc<FeedGuard>);

/// The [`Signalling`] of [`signal_pair`].
pub struct Fed<F> {
    send: F,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct FeedGuard(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<SignalEvent>,
    feed_gone: bool,
    client_gone: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&*self.lock()).finish()
    }
}

impl<F> fmt::Debug for Fed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fed").finish_non_exhaustive()
    }
}

impl SignalFeed {
    /// Tells the client of an event; `false` when the client is gone. It never blocks. At most 64 events wait; at the
    /// limit earlier events give way to later ones of the same kind, which say more.
    pub fn send(&self, event: SignalEvent) -> bool {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if state.client_gone {
            return false;
        }
        if state.events.len() >= LIMIT {
            keep_last_of_each_kind(&mut state.events);
        }
        state.events.push_back(event);
        drop(state);
        shared.waker.wake();
        true
    }

    /// Whether the client is gone.
    pub fn is_closed(&self) -> bool {
        self.0.0.lock().client_gone
    }
}

fn keep_last_of_each_kind(events: &mut VecDeque<SignalEvent>) {
    let mut kept: Vec<SignalEvent> = Vec::new();
    while let Some(event) = events.pop_back() {
        if !kept
            .iter()
            .any(|later| mem::discriminant(later) == mem::discriminant(&event))
        {
            kept.push(event);
        }
    }
    events.extend(kept.into_iter().rev());
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FeedGuard {
    fn drop(&mut self) {
        self.0.lock().feed_gone = true;
        self.0.waker.wake();
    }
}

impl<F> Drop for Fed<F> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.client_gone = true;
        state.events.clear();
    }
}

impl<F> Signalling for Fed<F>
where
    F: FnMut(VoiceStateRequest) -> Result<(), SignalError> + Send + 'static,
{
    fn update(&mut self, request: VoiceStateRequest) -> Result<(), SignalError> {
        (self.send)(request)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<SignalEvent>> {
        // Registered before the look, so that no event falls between the two.
        self.shared.waker.register(cx.waker());
        let mut state = self.shared.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.feed_gone => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
