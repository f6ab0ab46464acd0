//! What the agent is asked for: the keys that somebody in the cluster observes, by the name of their state, until
//! whoever publishes that state has taken them. `keyed` is who does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bus::topic;

/// All that is wanted of this process.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    names: Mutex<BTreeMap<String, Name>>,
}

/// The keys of one state.
#[derive(Debug, Default)]
struct Name {
    /// With the number of the wish: a key that was given up and is wanted again has another.
    keys: BTreeMap<String, u64>,
    last_wish: u64,
    /// What the publisher has not taken yet.
    changed: BTreeSet<String>,
    filled: Arc<Notify>,
    is_claimed: bool,
}

/// What has changed about one key: the number of the wish, if it is wanted.
pub(crate) type Change = (String, Option<u64>);

impl Wanted {
    /// Somebody observes the keyed state `topic`.
    pub(crate) fn add(&self, topic: &str) {
        self.change(topic, |name, key| {
            name.last_wish += 1;
            name.keys.insert(key.to_owned(), name.last_wish);
        });
    }

    /// Nobody observes it any more.
    pub(crate) fn remove(&self, topic: &str) {
        self.change(topic, |name, key| {
            name.keys.remove(key);
        });
        self.forget_unclaimed(topic);
    }

    /// Who publishes a name later need not hear of keys that nobody wanted any more by then, and perhaps nobody ever does.
    fn forget_unclaimed(&self, topic: &str) {
        let Some((called, key)) = topic::split(topic) else { return };
        let mut names = self.names();
        if let Some(name) = names.get_mut(called).filter(|name| !name.is_claimed) {
            name.changed.remove(key);
            if name.keys.is_empty() {
                names.remove(called);
            }
        }
    }

    fn change(&self, topic: &str, change: impl FnOnce(&mut Name, &str)) {
        let Some((name, key)) = topic::split(topic) else { return };
        let mut names = self.names();
        let name = names.entry(name.to_owned()).or_default();
        change(name, key);
        name.changed.insert(key.to_owned());
        name.filled.notify_one();
    }

    /// Makes the caller the one publisher of a name; `false` if there is one.
    pub(crate) fn claim(&self, name: &str) -> bool {
        let mut names = self.names();
        let name = names.entry(name.to_owned()).or_default();
        !std::mem::replace(&mut name.is_claimed, true)
    }

    /// The publisher of a name is gone; the next one hears of all its keys anew.
    pub(crate) fn release(&self, name: &str) {
        let mut names = self.names();
        if let Some(of) = names.get_mut(name) {
            of.is_claimed = false;
            of.changed = of.keys.keys().cloned().collect();
            of.filled.notify_one();
            if of.keys.is_empty() {
                names.remove(name);
            }
        }
    }

    /// What has changed since the last call; waits until something has. Cancel safe. For the one publisher.
    pub(crate) async fn changes(&self, name: &str) -> Vec<Change> {
        loop {
            let filled = {
                let mut names = self.names();
                let name = names.entry(name.to_owned()).or_default();
                let changed = std::mem::take(&mut name.changed);
                if !changed.is_empty() {
                    let wish = |key: String| {
                        name.keys.get(&key).copied().map_or((key.clone(), None), |wish| (key, Some(wish)))
                    };
                    return changed.into_iter().map(wish).collect();
                }
                Arc::clone(&name.filled)
            };
            filled.notified().await;
        }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_wanted_before_there_was_a_publisher_is_not_lost() {
        let wanted = Wanted::default();
        for topic in ["price\0eu", "price\0us", "other\0x"] {
            wanted.add(topic);
        }
        wanted.remove("price\0us");
        assert!(wanted.claim("price"));
        assert!(!wanted.claim("price"), "there is one publisher");
        let changes = wanted.changes("price").await;
        assert_eq!(changes, [("eu".to_owned(), Some(1))]);
        wanted.remove("price\0eu");
        assert_eq!(wanted.changes("price").await, [("eu".to_owned(), None)]);
    }

    #[tokio::test]
    async fn the_next_publisher_of_a_name_hears_of_all_its_keys() {
        let wanted = Wanted::default();
        assert!(wanted.claim("price"));
        ["price\0eu", "price\0us"].iter().for_each(|topic| wanted.add(topic));
        wanted.remove("price\0us");
        assert_eq!(wanted.changes("price").await.len(), 2);
        wanted.release("price");
        assert!(wanted.claim("price"));
        assert_eq!(wanted.changes("price").await, [("eu".to_owned(), Some(1))]);
        wanted.remove("price\0eu");
        wanted.release("price");
        assert!(wanted.names().is_empty());
    }

    #[test]
    fn names_that_nobody_publishes_leave_nothing_behind() {
        let wanted = Wanted::default();
        wanted.add("price\0eu");
        for key in 0..100 {
            let topics = [format!("price\0{key}"), format!("name-{key}\0x")];
            topics.iter().for_each(|topic| wanted.add(topic));
            topics.iter().for_each(|topic| wanted.remove(topic));
        }
        let names = wanted.names();
        assert_eq!(names.keys().collect::<Vec<_>>(), ["price"]);
        assert_eq!((names["price"].keys.len(), names["price"].changed.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_key_that_is_wanted_again_is_another_wish() {
        let wanted = Wanted::default();
        assert!(wanted.claim("price"));
        wanted.add("price\0eu");
        let before = wanted.changes("price").await;
        wanted.remove("price\0eu");
        wanted.add("price\0eu");
        let after = wanted.changes("price").await;
        assert!(before[0].1 < after[0].1, "{before:?} {after:?}");
    }
}
