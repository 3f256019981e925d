//! What lies between the client's handles and its task.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::sync::{oneshot, watch};

use super::{
    ReceiveMode, VoiceStats,
    queue::{Consumer, Producer, queue},
};
use crate::{
    AudioSource, ChannelMarker, ConnectError, ConnectionState, Id, JitterConfig, Participant,
    UserMarker, VoiceEvent, session::ReceivedFrame,
};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) receive: ReceiveMode,
    pub(super) sink_buffer: Duration,
    pub(super) audio_buffer: usize,
    pub(super) event_buffer: usize,
    pub(super) jitter: JitterConfig,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    orders: Mutex<Orders>,
    waker: AtomicWaker,
    view: Mutex<View>,
    pub(super) state: watch::Sender<ConnectionState>,
    listeners: Mutex<Listeners>,
    /// Frames that audio streams were too slow for.
    pub(super) audio_lagged: AtomicU64,
}

/// What the handles want. A later order replaces an earlier one of its kind, so nothing grows here.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) target: Option<Target>,
    pub(super) source: Option<Option<Box<dyn AudioSource>>>,
    pub(super) self_mute: Option<bool>,
    pub(super) self_deaf: Option<bool>,
    /// Each is held by a future that waits for it.
    pub(super) verify: Vec<(Id<UserMarker>, oneshot::Sender<Option<String>>)>,
    /// The last handle was dropped.
    pub(super) abandoned: bool,
    /// The task has ended: orders are dropped, which answers whoever waits for them.
    ended: bool,
}

pub(super) enum Target {
    Channel(Id<ChannelMarker>, oneshot::Sender<Result<(), ConnectError>>),
    Nowhere(Vec<oneshot::Sender<()>>),
}

/// What the task tells.
#[derive(Debug, Default, Clone)]
pub(super) struct View {
    pub(super) channel: Option<Id<ChannelMarker>>,
    pub(super) participants: Vec<Participant>,
    pub(super) stats: VoiceStats,
    pub(super) privacy_code: Option<String>,
}

#[derive(Default)]
struct Listeners {
    events: Vec<Producer<VoiceEvent>>,
    audio: Vec<Producer<ReceivedFrame>>,
    /// The task has ended: whoever comes now hears nothing.
    ended: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            orders: Mutex::default(),
            waker: AtomicWaker::new(),
            view: Mutex::default(),
            state: watch::Sender::new(ConnectionState::Disconnected),
            listeners: Mutex::default(),
            audio_lagged: AtomicU64::new(0),
        }
    }

    /// Changes the orders and wakes the task. What `change` gives back, and what nobody will obey any more, is dropped
    /// outside of the lock.
    pub(super) fn order<R>(&self, change: impl FnOnce(&mut Orders) -> R) -> R {
        let mut orders = lock(&self.orders);
        let result = change(&mut orders);
        let too_late = orders.ended.then(|| orders.take());
        drop(orders);
        drop(too_late);
        self.waker.wake();
        result
    }

    /// Takes all orders; the task is woken for the next ones.
    pub(super) fn take_orders(&self, cx: &mut Context<'_>) -> Orders {
        // Registered before the look, so that no order falls between the two.
        self.waker.register(cx.waker());
        lock(&self.orders).take()
    }

    pub(super) fn view<R>(&self, look: impl FnOnce(&mut View) -> R) -> R {
        look(&mut lock(&self.view))
    }

    pub(super) fn listen_to_events(&self) -> Consumer<VoiceEvent> {
        let (producer, consumer) = queue(self.settings.event_buffer);
        let mut listeners = lock(&self.listeners);
        if !listeners.ended {
            listeners.events.push(producer);
        }
        consumer
    }

    pub(super) fn listen_to_audio(&self) -> Consumer<ReceivedFrame> {
        let (producer, consumer) = queue(self.settings.audio_buffer);
        let mut listeners = lock(&self.listeners);
        if !listeners.ended {
            listeners.audio.push(producer);
        }
        consumer
    }

    pub(super) fn tell(&self, event: &VoiceEvent) {
        lock(&self.listeners)
            .events
            .retain(|listener| listener.push(event.clone()));
    }

    pub(super) fn hear(&self, frame: &ReceivedFrame) {
        lock(&self.listeners)
            .audio
            .retain(|listener| listener.push(frame.clone()));
    }

    pub(super) fn lagged(&self, frames: u64) {
        self.audio_lagged.fetch_add(frames, Ordering::Relaxed);
    }

    /// The task ends: streams end, waiting futures are answered.
    pub(super) fn end(&self) {
        let mut listeners = lock(&self.listeners);
        listeners.ended = true;
        let (events, audio) = (
            std::mem::take(&mut listeners.events),
            std::mem::take(&mut listeners.audio),
        );
        drop(listeners);
        drop((events, audio));
        let mut orders = lock(&self.orders);
        orders.ended = true;
        let too_late = orders.take();
        drop(orders);
        drop(too_late);
        self.state.send_replace(ConnectionState::Disconnected);
    }
}

impl Orders {
    /// What lasts stays.
    fn take(&mut self) -> Self {
        let (abandoned, ended) = (self.abandoned, self.ended);
        std::mem::replace(
            self,
            Self {
                abandoned,
                ended,
                ..Self::default()
            },
        )
    }

    /// What was ordered before is answered as overtaken.
    pub(super) fn set_target(&mut self, target: Target) {
        match (self.target.take(), target) {
            (Some(Target::Nowhere(mut waiting)), Target::Nowhere(more)) => {
                waiting.extend(more);
                self.target = Some(Target::Nowhere(waiting));
            }
            (Some(Target::Channel(_, reply)), target) => {
                // Nobody may be waiting any more.
                let _ = reply.send(Err(match target {
                    Target::Channel(..) => ConnectError::Superseded,
                    Target::Nowhere(_) => ConnectError::Cancelled,
                }));
                self.target = Some(target);
            }
            (Some(Target::Nowhere(waiting)), target) => {
                for reply in waiting {
                    let _ = reply.send(());
                }
                self.target = Some(target);
            }
            (None, target) => self.target = Some(target),
        }
    }
}
