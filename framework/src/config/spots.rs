//! Where each value of the merged layers was set.
//!
//! Kept beside the values, because merging keeps no origin of a table. The rule is that of the values:
//! tables merge, everything else replaces.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::error::ConfigError;
use super::key_path::{KeyPath, Step};
use super::origin::Origin;

/// Where one value was set.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// The layer.
    pub(super) origin: Arc<Origin>,
    /// The bytes of the key; of an element of an array those of its value.
    pub(super) key: Range<usize>,
    /// The bytes of the value.
    pub(super) value: Range<usize>,
    /// Whether the value is a table, which merges.
    pub(super) is_table: bool,
}

/// Which part of an assignment an error is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// The spots of all values.
#[derive(Debug, Clone, Default)]
pub(super) struct Spots(BTreeMap<KeyPath, Spot>);

impl Spots {
    /// Lays the spots of one more layer over these; a value comes before those inside it.
    pub(super) fn absorb(&mut self, layer: Vec<(KeyPath, Spot)>) {
        for (path, spot) in layer {
            let merges = spot.is_table && self.0.get(&path).is_none_or(|older| older.is_table);
            if !merges {
                self.forget_below(&path);
            }
            self.0.insert(path, spot);
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where the value was set whose path reads `key`: there, or further up with all that it holds.
    pub(super) fn describe(&self, key: &str) -> Option<String> {
        let says = |(path, spot): &(&KeyPath, &Spot)| match key.strip_prefix(&path.to_string()) {
            Some(rest) => rest.is_empty() || (!spot.is_table && rest.starts_with(['.', '['])),
            None => false,
        };
        // What is inside comes later.
        let (_, spot) = self.0.iter().rfind(says)?;
        Some(spot.origin.describe(spot.key.clone()))
    }

    /// The deepest value on the way to `path` that was set.
    pub(super) fn settle(&self, path: &KeyPath) -> KeyPath {
        let mut reached = KeyPath::default();
        for step in path.steps() {
            let Some(next) = self.next(&reached, step) else {
                break;
            };
            reached = next;
        }
        reached
    }

    /// Whether the value at `path` is a secret, or holds one.
    pub(super) fn holds_secret(&self, path: &KeyPath) -> bool {
        path.is_secret() || self.below(path).any(KeyPath::is_secret)
    }

    /// The error about the value at `path`; when nobody set it, `otherwise`.
    pub(super) fn refuse(&self, path: &KeyPath, part: Part, message: &str) -> Option<ConfigError> {
        let spot = self.0.get(path)?;
        let span = match part {
            Part::Key => spot.key.clone(),
            Part::Value => spot.value.clone(),
        };
        Some(spot.origin.refuse(span, message))
    }

    /// One step down; steps over the name of an enum's variant, which not every path mentions.
    fn next(&self, from: &KeyPath, step: &Step) -> Option<KeyPath> {
        let direct = from.child(step.clone());
        if self.0.contains_key(&direct) {
            return Some(direct);
        }
        let through_variant = self.only_child(from)?.child(step.clone());
        self.0.contains_key(&through_variant).then_some(through_variant)
    }

    fn only_child(&self, of: &KeyPath) -> Option<KeyPath> {
        let depth = of.steps().len() + 1;
        let mut children = self.below(of).filter(|path| path.steps().len() == depth);
        let only = children.next()?;
        children.next().is_none().then(|| only.clone())
    }

    fn below(&self, path: &KeyPath) -> impl Iterator<Item = &KeyPath> {
        let from_path = self.0.range(path.clone()..).map(|(below, _)| below);
        let root = path.clone();
        from_path.skip_while(move |below| **below == root).take_while({
            let path = path.clone();
            move |below| below.is_below(&path)
        })
    }

    fn forget_below(&mut self, path: &KeyPath) {
        let stale: Vec<KeyPath> = self.below(path).cloned().collect();
        for path in stale {
            self.0.remove(&path);
        }
    }
}
