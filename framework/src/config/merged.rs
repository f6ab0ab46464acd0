//! The merged layers, and reading types out of them with the place of every mistake.

use std::collections::BTreeMap;
use std::fmt;

use ::config::{Config, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Segment, Track};

use super::document::Layer;
use super::error::{ConfigError, Whence};
use super::hush;
use super::key_path::{KeyPath, Step};
use super::lenient::Lenient;
use super::refusal::{Refusal, Strangers, nearest};
use super::spots::{Part, Spots};
use crate::secret::{is_secret, quotes_value, without_secrets};

/// The merged layers.
///
/// A key that the type does not know is an error. Only inside a flattened struct or a tagged enum, whose
/// keys serde buffers, it takes `#[serde(deny_unknown_fields)]` to find it.
#[derive(Clone, Default)]
pub struct Merged {
    table: Map<String, Value>,
    spots: Spots,
    files: [String; 2],
}

impl Merged {
    pub(super) fn of(layers: Vec<Layer>, files: [String; 2]) -> Result<Self, ConfigError> {
        let mut builder = Config::builder();
        let mut spots = Spots::default();
        for layer in layers {
            builder = builder.add_source(Rooted(layer.table));
            spots.absorb(layer.spots);
        }
        let merged =
            builder.build().map_err(|error| ConfigError::new(Whence::Nowhere, &error.to_string()))?;
        Ok(Self { table: unroot(merged.cache), spots, files })
    }

    /// A section that the framework or a duty owns, such as `http`; a missing section is an empty one.
    ///
    /// # Errors
    /// When the section does not fit the type, or has a key that the type does not know.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let value =
            self.table.get(name).map_or_else(|| ValueKind::Table(Map::new()), |value| value.kind.clone());
        self.read(value, KeyPath::of_keys([name]), &[])
    }

    /// A section that holds a table for each of the `known` names, or for some of them.
    ///
    /// # Errors
    /// When a table does not fit the type, or there is one under another name.
    pub fn tables<T: DeserializeOwned>(
        &self,
        name: &str,
        known: &[&'static str],
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        let tables: BTreeMap<String, T> = self.section(name)?;
        match tables.keys().find(|table| !known.contains(&table.as_str())) {
            Some(stranger) => {
                let path = KeyPath::of_keys([stranger.as_str()]);
                Err(self.unknown(&KeyPath::of_keys([name]), &path, known, &[]))
            }
            None => Ok(tables),
        }
    }

    /// The author's type, from every top-level key but the `sections` that have other owners.
    ///
    /// # Errors
    /// When the keys do not fit the type, or there is one that the type does not know.
    pub fn without<T: DeserializeOwned>(&self, sections: &[&str]) -> Result<T, ConfigError> {
        let mut table = self.table.clone();
        table.retain(|key, _| !sections.contains(&key.as_str()));
        self.read(ValueKind::Table(table), KeyPath::default(), sections)
    }

    /// Where a key such as `http.body_limit` was set: a file with its line, such as `config/local.toml:12`, the name of
    /// an environment variable, or `--set`. `None` if only a default says it.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<String> {
        self.spots.describe(key)
    }

    /// The error that what `key` says cannot be used, such as `cluster.user` or `http.listen[1]`, with the place of its
    /// value.
    #[must_use]
    pub fn wrong(&self, key: &str, problem: &str) -> ConfigError {
        let path = KeyPath::of_text(key);
        self.unfit(&path, &self.discreet(&path, problem))
    }

    /// Reads a type from `value`, which is at `base`. `siblings` are keys beside those of the type.
    fn read<T: DeserializeOwned>(
        &self,
        value: ValueKind,
        base: KeyPath,
        siblings: &[&str],
    ) -> Result<T, ConfigError> {
        let (strangers, mut track, mut ignored) = (Strangers::default(), Track::new(), None);
        let mut ignore = |path: serde_ignored::Path<'_>| {
            ignored.get_or_insert_with(|| of_ignored(&path));
        };
        let tracked = serde_path_to_error::Deserializer::new(Lenient::new(value, &strangers), &mut track);
        let outcome = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut ignore));
        // A misspelt key often leaves another one missing: the misspelling is what to correct.
        if let Some(path) = ignored {
            let known = path.last_key().map_or(&[][..], |key| strangers.known_to(key));
            return Err(self.unknown(&base, &path, known, siblings));
        }
        outcome.map_err(|refusal| self.explain(&base, of_failed(&track.path()), refusal, siblings))
    }

    fn explain(&self, base: &KeyPath, path: KeyPath, refusal: Refusal, siblings: &[&str]) -> ConfigError {
        match refusal {
            Refusal::Unknown { key, known } => {
                let met = path.last_key() == Some(&key);
                let path = if met { path } else { path.child(Step::Key(key)) };
                self.unknown(base, &path, known, siblings)
            }
            Refusal::Missing(key) => self.missing(&base.clone().join(path).child(Step::Key(key.to_owned()))),
            Refusal::Unfit(message) => {
                let path = base.clone().join(path);
                self.unfit(&path, &self.discreet(&path, &message))
            }
        }
    }

    /// The words about the value at `path`, without secrets. Where serde buffers, the path ends before the value.
    fn discreet(&self, path: &KeyPath, message: &str) -> String {
        let settled = self.spots.settle(path);
        if settled.is_secret() || (quotes_value(message) && self.spots.holds_secret(&settled)) {
            return hush::without_value(message);
        }
        without_secrets(message)
    }

    fn unknown(&self, base: &KeyPath, path: &KeyPath, known: &[&str], siblings: &[&str]) -> ConfigError {
        let at_top = path.steps().len() == 1;
        let beside = if at_top { siblings } else { &[] };
        let key = path.last_key().unwrap_or_default();
        let meant = nearest(key, known.iter().chain(beside).copied());
        // A misspelt name is none that is known for its secrets.
        let may_be_secret = meant.map_or_else(|| known.iter().any(|key| is_secret(key)), is_secret);
        let settled = self.spots.settle(&base.clone().join(path.clone()));
        if settled.last_key() == Some(key) {
            let beside = settled.parent().unwrap_or_default();
            let meant = meant.map(|meant| beside.child(Step::Key(meant.to_owned())).to_string());
            let error =
                self.refuse(&settled, Part::Key, &unknown_key(&settled.to_string(), meant.as_deref()));
            return if may_be_secret { error.hushed_behind() } else { error };
        }
        // Where serde buffers, in a flattened struct or a tagged enum, the path ends before the key.
        let error = self.unfit(&settled, &unknown_key(key, meant));
        if may_be_secret { error.hushed() } else { error }
    }

    fn missing(&self, path: &KeyPath) -> ConfigError {
        let [default, special] = &self.files;
        let message = format!("missing key `{path}`: set it in {default} or {special}");
        ConfigError::new(Whence::Nowhere, &message)
    }

    fn unfit(&self, path: &KeyPath, message: &str) -> ConfigError {
        let settled = self.spots.settle(path);
        if settled == KeyPath::default() {
            return ConfigError::new(Whence::Nowhere, &format!("the configuration is refused: {message}"));
        }
        self.refuse(&settled, Part::Value, &format!("{settled}: {message}"))
    }

    fn refuse(&self, path: &KeyPath, part: Part, message: &str) -> ConfigError {
        let placed = self.spots.refuse(path, part, message);
        placed.unwrap_or_else(|| ConfigError::new(Whence::Nowhere, message))
    }
}

/// Prints names and counts; values may be secrets.
impl fmt::Debug for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys: Vec<&String> = self.table.keys().collect();
        keys.sort();
        f.debug_struct("Merged").field("keys", &keys).field("values", &self.spots.len()).finish()
    }
}

/// One key around a layer: `config` takes top-level keys for path expressions, in which `a[9]` makes an
/// array, and leaves those below alone.
const ROOT: &str = "root";

#[derive(Clone)]
struct Rooted(Map<String, Value>);

impl Source for Rooted {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(Map::from([(ROOT.to_owned(), Value::from(self.0.clone()))]))
    }
}

impl fmt::Debug for Rooted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooted").finish_non_exhaustive()
    }
}

fn unroot(merged: Value) -> Map<String, Value> {
    let root = merged.into_table().unwrap_or_default().remove(ROOT);
    root.and_then(|root| root.into_table().ok()).unwrap_or_default()
}

fn unknown_key(key: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("unknown key `{key}`: did you mean `{meant}`?"),
        None => format!("unknown key `{key}`: remove it, or correct its name"),
    }
}

/// The path of a value that the type did not ask for.
fn of_ignored(path: &serde_ignored::Path<'_>) -> KeyPath {
    use serde_ignored::Path;
    match path {
        Path::Root => KeyPath::default(),
        Path::Seq { parent, index } => of_ignored(parent).child(Step::Index(*index)),
        Path::Map { parent, key } => of_ignored(parent).child(Step::Key(key.clone())),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            of_ignored(parent)
        }
    }
}

/// The path of a value that the type refused, as far as it is known.
fn of_failed(path: &serde_path_to_error::Path) -> KeyPath {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Key(key.clone())),
        Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}
