//! The path to a value, such as `upstream[0].host`.

use std::fmt;

use crate::secret::is_secret;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// The steps from the root to a value; sorted, a path stands right before those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

impl KeyPath {
    /// A path through tables only.
    pub(super) fn of_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    /// The path that is written so, such as `http.listen[1]`; its keys are bare ones.
    pub(super) fn of_text(text: &str) -> Self {
        let steps = |part: &str| {
            let indexed = part.strip_suffix(']').and_then(|part| part.split_once('['));
            let indexed = indexed.and_then(|(key, index)| Some((key.to_owned(), index.parse().ok()?)));
            match indexed {
                Some((key, index)) => vec![Step::Key(key), Step::Index(index)],
                None => vec![Step::Key(part.to_owned())],
            }
        };
        text.split('.').flat_map(steps).collect()
    }

    /// The path one step further.
    pub(super) fn child(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path to what holds this value; the root has none.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, parents) = self.0.split_last()?;
        Some(Self(parents.to_vec()))
    }

    /// The last step's key.
    pub(super) fn last_key(&self) -> Option<&str> {
        match self.0.last()? {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        }
    }

    /// This path, then the steps of `other`.
    pub(super) fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The steps from the root.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether the value, or what holds it, has the name of a secret.
    pub(super) fn is_secret(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Key(key) if is_secret(key)))
    }

    /// Whether this value is inside the one at `other`.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            let dot = if position == 0 { "" } else { "." };
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_bare(key) => write!(f, "{dot}{key}")?,
                Step::Key(key) => write!(f, "{dot}{key:?}")?,
            }
        }
        Ok(())
    }
}

/// The path through tables as errors and origins write it: `http.body_limit`.
pub(crate) fn path_text(keys: &[&str]) -> String {
    KeyPath::of_keys(keys.iter().copied()).to_string()
}

fn is_bare(key: &str) -> bool {
    let bare = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    !key.is_empty() && key.chars().all(bare)
}
