use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// How many WebSocket connections there are, altogether and by user.
#[derive(Debug)]
pub(crate) struct Registry {
    count: watch::Sender<usize>,
    users: Mutex<BTreeMap<Arc<str>, usize>>,
    max: usize,
    max_per_user: usize,
}

/// A place in the registry; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Arc<Registry>,
    user: Option<Arc<str>>,
}

impl Registry {
    pub(crate) fn new(max: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self {
            count: watch::Sender::new(0),
            users: Mutex::default(),
            max,
            max_per_user,
        })
    }

    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Takes a place; the flag says whether it is one too many, to be closed with 4429.
    pub(crate) fn enter(self: &Arc<Self>) -> (Place, bool) {
        let mut full = false;
        self.count.send_modify(|count| {
            full = *count >= self.max;
            *count += 1;
        });
        (
            Place {
                registry: Arc::clone(self),
                user: None,
            },
            full,
        )
    }

    /// Resolves when the last connection is gone.
    pub(crate) async fn empty(&self) {
        // The sender lives in `self`, so this only ends by the condition.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Place {
    /// Counts the connection for a user; `false` where the user has too many.
    pub(crate) fn identify(&mut self, user: &str) -> bool {
        let mut users = self
            .registry
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = users
            .get_key_value(user)
            .map_or_else(|| user.into(), |(name, _)| Arc::clone(name));
        let count = users.entry(Arc::clone(&name)).or_default();
        if *count >= self.registry.max_per_user {
            return false;
        }
        *count += 1;
        self.user = Some(name);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(user) = self.user.take() {
            let mut users = self
                .registry
                .users
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = users.get_mut(&user) {
                *count -= 1;
                if *count == 0 {
                    users.remove(&user);
                }
            }
        }
        self.registry.count.send_modify(|count| *count -= 1);
    }
}
