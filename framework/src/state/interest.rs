//! Which keyed states somebody in this process holds, and of which the master has to be told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The topics whose observers came or went since the master was told.
#[derive(Debug, Default)]
pub(super) struct Interests {
    changed: Mutex<BTreeSet<String>>,
    filled: Notify,
}

impl Interests {
    pub(super) fn note(&self, topic: &str) {
        self.changed().insert(topic.to_owned());
        self.filled.notify_one();
    }

    /// The next topic to look at. Cancel safe. For one caller.
    pub(super) async fn next(&self) -> String {
        loop {
            if let Some(topic) = self.changed().pop_first() {
                return topic;
            }
            self.filled.notified().await;
        }
    }

    fn changed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All observers of one key in this process share it; its end is that of the last.
#[derive(Debug)]
pub(super) struct Hold {
    topic: String,
    interests: Arc<Interests>,
}

impl Hold {
    pub(super) fn new(topic: &str, interests: &Arc<Interests>) -> Self {
        interests.note(topic);
        Self { topic: topic.to_owned(), interests: Arc::clone(interests) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.interests.note(&self.topic);
    }
}
