//! A single assignment from outside the files: an environment variable, or `--set key=value`.

use std::sync::Arc;

use ::config::{Map, Value};
use toml::de::DeValue;

use super::document::{Layer, Reader};
use super::error::{ConfigError, Whence};
use super::key_path::KeyPath;
use super::origin::Origin;

/// What the names of the variables that set keys start with.
pub(super) const PREFIX: &str = "HATCHERY_";

/// How deep a key may be nested; also keeps hostile input from exhausting the stack.
const MAX_DEPTH: usize = 32;

/// The layer that one environment variable makes: `HATCHERY_HTTP__BODY_LIMIT` sets `http.body_limit`.
pub(super) fn from_variable(name: &str, value: &str) -> Result<Layer, ConfigError> {
    let key = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    layer(Origin::Variable(name.to_owned()), &key.split("__").collect::<Vec<_>>(), value)
}

/// The layer that one `--set` makes.
pub(super) fn from_override(assignment: &str) -> Result<Layer, ConfigError> {
    let Some((key, value)) = assignment.split_once('=') else {
        let whence = Whence::Named(format!("--set {}", key_of(assignment)));
        return Err(ConfigError::new(whence, "there is no value: write it as key=value"));
    };
    let key = key.trim();
    layer(Origin::Override(key.to_owned()), &key.split('.').collect::<Vec<_>>(), value)
}

/// What is surely a key of an assignment that is none: the rest may be a secret.
fn key_of(assignment: &str) -> String {
    let is_other = |letter: char| !letter.is_alphanumeric() && !"._-".contains(letter);
    match assignment.find(is_other) {
        Some(end) => format!("{}…", &assignment[..end]),
        None => assignment.to_owned(),
    }
}

fn layer(origin: Origin, keys: &[&str], text: &str) -> Result<Layer, ConfigError> {
    check(keys).map_err(|message| origin.refuse(0..0, &message))?;
    let mut reader = Reader::new(Arc::new(origin));
    for depth in 1..keys.len() {
        reader.note(KeyPath::of_keys(keys[..depth].iter().copied()), 0..0, 0..0, true);
    }
    let value = value(&mut reader, KeyPath::of_keys(keys.iter().copied()), text)?;
    Ok(Layer { table: nest(keys, value), spots: reader.spots })
}

fn check(keys: &[&str]) -> Result<(), String> {
    if keys.iter().any(|key| key.is_empty()) {
        return Err("a part of the key is empty: write a name between the separators".to_owned());
    }
    if keys.len() > MAX_DEPTH {
        return Err(format!("the key has {} parts: write at most {MAX_DEPTH}", keys.len()));
    }
    Ok(())
}

/// A TOML array is a list; anything else is a text, which becomes what the type asks for.
fn value(reader: &mut Reader, at: KeyPath, text: &str) -> Result<Value, ConfigError> {
    if text.trim_start().starts_with('[')
        && let Ok(list) = DeValue::parse(text.trim())
        && list.get_ref().is_array()
    {
        return reader.value(at, 0..0, &list);
    }
    reader.note(at, 0..0, 0..0, false);
    Ok(Value::from(text))
}

fn nest(keys: &[&str], value: Value) -> Map<String, Value> {
    match keys {
        [] => Map::new(),
        [key] => Map::from([((*key).to_owned(), value)]),
        [key, below @ ..] => Map::from([((*key).to_owned(), Value::from(nest(below, value)))]),
    }
}
