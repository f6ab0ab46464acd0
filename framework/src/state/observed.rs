//! What an author holds of a state: the latest version, decoded once and read without a lock.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::stream::{self, Stream};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::interest::Hold;
use crate::bus::CodecError;
use crate::bus::payload::Payload;

/// One version of a state.
#[derive(Debug)]
struct Version<T> {
    number: u64,
    value: T,
}

/// What [`Observed::get`] returns: one version, which stays as it is however long it is held.
pub struct Snapshot<T>(Arc<Version<T>>);

impl<T> Snapshot<T> {
    /// The version's number; it rises with every change, also across restarts of the agent.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.number
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version()).field("value", &**self).finish()
    }
}

/// A state that follows the agent's: always the latest version that arrived here. Clones are cheap.
pub struct Observed<T> {
    cell: Arc<Cell<T>>,
    changes: watch::Receiver<u64>,
    /// Of a keyed state: it is observed for as long as somebody holds this.
    hold: Option<Arc<Hold>>,
}

impl<T> Observed<T> {
    pub(super) fn new(cell: Arc<Cell<T>>, changes: watch::Receiver<u64>) -> Self {
        Self { cell, changes, hold: None }
    }

    pub(super) fn held_by(self, hold: Arc<Hold>) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// The latest version. Takes no lock and never waits.
    #[must_use]
    pub fn get(&self) -> Snapshot<T> {
        Snapshot(self.cell.current.load_full())
    }

    /// Why who publishes this key refuses it now, if so. Then [`get`](Self::get) has the last value from before. It is
    /// over with the next value.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        match self.cell.trouble.load().as_deref() {
            Some(Trouble::Refused(reason)) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Why the newest version that came cannot be read as a `T`, if so. Then [`get`](Self::get) has the last one that could.
    /// It is over with the next one that can, or that is a [refusal](Self::refusal).
    #[must_use]
    pub fn misfit(&self) -> Option<CodecError> {
        match self.cell.trouble.load().as_deref() {
            Some(Trouble::Unfit(misfit)) => Some(misfit.clone()),
            _ => None,
        }
    }

    /// Waits for a version that this handle has not returned from here before, and returns the latest. A
    /// slow caller misses versions in between, never the last. When the key of a keyed state is
    /// [refused](Self::refusal), that is a version, too, with the value from before, and so is the end of that, also by a
    /// value that [does not fit](Self::misfit). Cancel safe.
    ///
    /// Waits for ever once the master is gone; the process ends then.
    pub async fn changed(&mut self) -> Snapshot<T> {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.changes.mark_unchanged();
        self.get()
    }
}

impl<T: Send + Sync + 'static> Observed<T> {
    /// The latest version now, and then the latest at each [change](Self::changed), as a stream without an end. Pin it
    /// to take from it.
    pub fn into_stream(mut self) -> impl Stream<Item = Snapshot<T>> + Send + use<T> {
        self.changes.mark_changed();
        stream::unfold(self, async |mut observed| Some((observed.changed().await, observed)))
    }
}

impl<T> Clone for Observed<T> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), changes: self.changes.clone(), hold: self.hold.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Observed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.get()).finish()
    }
}

pub(super) struct Cell<T> {
    current: ArcSwap<Version<T>>,
    trouble: ArcSwapOption<Trouble>,
}

/// Why there is no newer value.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The master, or who publishes the state, refuses it, in these words.
    Refused(String),
    /// It is not of the observers' type.
    Unfit(CodecError),
}

impl<T> Cell<T> {
    pub(super) fn new(number: u64, value: T) -> Self {
        Self { current: ArcSwap::from_pointee(Version { number, value }), trouble: ArcSwapOption::empty() }
    }
}

/// A cell whose type only its observers know.
pub(super) trait Feed: Any + Send + Sync {
    fn put(&self, what: &str, number: u64, payload: &Payload) -> Result<(), CodecError>;

    /// There is no value any more; the last one stays.
    fn trouble(&self, why: &Trouble);
}

impl<T: DeserializeOwned + Send + Sync + 'static> Feed for Cell<T> {
    fn put(&self, what: &str, number: u64, payload: &Payload) -> Result<(), CodecError> {
        let value =
            payload.decode(what).inspect_err(|misfit| self.trouble(&Trouble::Unfit(misfit.clone())))?;
        self.current.store(Arc::new(Version { number, value }));
        self.trouble.store(None);
        Ok(())
    }

    fn trouble(&self, why: &Trouble) {
        self.trouble.store(Some(Arc::new(why.clone())));
    }
}
