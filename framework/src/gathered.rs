//! What workers contribute, as the agent gathers it: the latest value of each worker that lives, decoded once. Which
//! of them live is the master's to say.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::bus::frame::Frame;
use crate::bus::peer::{Address, Roll};
use crate::bus::{CodecError, Origin, Topic, codec, topic};
use crate::state::ObserveError;

/// One worker's value.
pub struct Contributed<T> {
    origin: Origin,
    value: Arc<T>,
}

impl<T> Contributed<T> {
    /// Who contributes it.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What it contributed last.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Contributed<T> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), value: Arc::clone(&self.value) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Contributed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {:?}", self.origin, self.origin.pid(), self.value)
    }
}

/// The contributions of all workers that live, in the order of their slots. Clones are cheap.
pub struct Gathered<T> {
    cell: Arc<Cell<T>>,
    changes: watch::Receiver<()>,
}

impl<T> Gathered<T> {
    /// The set as it is now; it stays as it is however long it is held. Takes no lock and never waits.
    #[must_use]
    pub fn get(&self) -> Arc<Vec<Contributed<T>>> {
        self.cell.current.load_full()
    }

    /// Waits for a set that this handle has not returned from here before, and returns the latest. Cancel safe.
    ///
    /// Waits for ever once the master is gone; the process ends then.
    pub async fn changed(&mut self) -> Arc<Vec<Contributed<T>>> {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.changes.mark_unchanged();
        self.get()
    }
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), changes: self.changes.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Gathered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gathered").field(&self.get()).finish()
    }
}

/// A set whose type only those who gather it know.
trait Feed: Any + Send + Sync {
    fn put(&self, what: &str, from: Address, origin: Origin, payload: &Bytes) -> Result<(), CodecError>;
    fn remove(&self, from: Address);
}

struct Cell<T> {
    current: ArcSwap<Vec<Contributed<T>>>,
    values: Mutex<BTreeMap<Address, Contributed<T>>>,
}

impl<T> Cell<T> {
    fn new() -> Self {
        Self { current: ArcSwap::default(), values: Mutex::default() }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Address, Contributed<T>>)) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut values);
        self.current.store(Arc::new(values.values().cloned().collect()));
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Feed for Cell<T> {
    fn put(&self, what: &str, from: Address, origin: Origin, payload: &Bytes) -> Result<(), CodecError> {
        let value = Arc::new(codec::decode_shared(what, payload)?);
        self.change(|values| drop(values.insert(from, Contributed { origin, value })));
        Ok(())
    }

    fn remove(&self, from: Address) {
        self.change(|values| drop(values.remove(&from)));
    }
}

/// What is known of one topic.
struct Entry {
    /// The number of the latest value of each worker, and that value.
    values: BTreeMap<Address, (u64, Bytes)>,
    feed: Option<Arc<dyn Feed>>,
    changes: watch::Sender<()>,
}

/// All contributions that have reached this process, and what it has contributed itself.
pub(crate) struct Contributions {
    roll: Roll,
    entries: Mutex<HashMap<String, Entry>>,
    /// The bytes that this process contributes to each topic.
    given: Mutex<HashMap<&'static str, usize>>,
}

impl Contributions {
    /// Nothing, from workers of these groups.
    pub(crate) fn new(roll: Roll) -> Self {
        Self { roll, entries: Mutex::default(), given: Mutex::default() }
    }

    /// Notes that this process contributes so many bytes to a topic, unless all it contributes would pass `limit`: then
    /// how much it would be.
    pub(crate) fn book(&self, topic: &'static str, bytes: usize, limit: usize) -> Result<(), usize> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let others: usize = given.iter().filter(|(name, _)| **name != topic).map(|(_, bytes)| bytes).sum();
        if others + bytes > limit {
            return Err(others + bytes);
        }
        given.insert(topic, bytes);
        Ok(())
    }

    /// A value arrived. One that does not fit the type is an error, and the worker's last one stands.
    pub(crate) fn take(&self, frame: &Frame) -> Result<(), CodecError> {
        let (from, number) = (frame.route().from, frame.number());
        let mut entries = self.entries();
        let entry = entries.entry(frame.topic().to_owned()).or_insert_with(Entry::empty);
        if entry.values.get(&from).is_some_and(|(known, _)| *known >= number) {
            return Ok(());
        }
        entry.values.insert(from, (number, frame.shared_payload()));
        if let (Some(feed), Some(origin)) = (&entry.feed, self.roll.origin(from)) {
            feed.put(&describe(frame.topic(), &origin), from, origin, &frame.shared_payload())?;
        }
        entry.changes.send_replace(());
        Ok(())
    }

    /// A worker is gone, unless what it contributed since then overtook the news: then it is another one.
    pub(crate) fn withdraw(&self, frame: &Frame) {
        let from = frame.route().from;
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(frame.topic()) else { return };
        if entry.values.get(&from).is_some_and(|(known, _)| *known < frame.number()) {
            entry.values.remove(&from);
            entry.feed.iter().for_each(|feed| feed.remove(from));
            entry.changes.send_replace(());
        }
    }

    /// The set of a topic, now and from now on. What cannot be decoded is left out, and told in the log.
    pub(crate) fn gather<T: Topic>(&self) -> Result<Gathered<T>, ObserveError> {
        topic::check(T::NAME)?;
        let mut entries = self.entries();
        let entry = entries.entry(T::NAME.to_owned()).or_insert_with(Entry::empty);
        let changes = entry.changes.subscribe();
        if let Some(feed) = &entry.feed {
            let feed: Arc<dyn Any + Send + Sync> = feed.clone();
            let cell = feed.downcast::<Cell<T>>().map_err(|_| ObserveError::OtherType(T::NAME.to_owned()))?;
            return Ok(Gathered { cell, changes });
        }
        let cell = Arc::new(Cell::new());
        for (&from, (_, payload)) in &entry.values {
            let Some(origin) = self.roll.origin(from) else { continue };
            if let Err(error) = cell.put(&describe(T::NAME, &origin), from, origin, payload) {
                tracing::error!("{error}");
            }
        }
        entry.feed = Some(cell.clone());
        Ok(Gathered { cell, changes })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn empty() -> Self {
        Self { values: BTreeMap::new(), feed: None, changes: watch::Sender::new(()) }
    }
}

impl fmt::Debug for Contributions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.entries().iter().map(|(topic, entry)| (topic, entry.values.len())))
            .finish()
    }
}

fn describe(topic: &str, origin: &Origin) -> String {
    format!("the contribution `{topic}` of {origin}")
}

#[cfg(test)]
mod tests;
