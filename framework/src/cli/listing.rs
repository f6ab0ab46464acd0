//! The keys of the configuration in their order, written as TOML or as JSON. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::path_text;

/// A longer line does not move the origins of the others out of sight.
const LONG: usize = 60;

/// One key, and its value in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The names of the tables that it is in, and its own.
    pub(super) path: Vec<String>,
    /// `Null` if it is not set.
    pub(super) value: Value,
    /// Where it was set, where that is wanted.
    pub(super) origin: Option<String>,
}

impl Entry {
    /// The path as text: `http.body_limit`.
    pub(super) fn key(&self) -> String {
        path_text(&self.path.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// All keys below `table`, by name; those of a table itself before those of the tables in it, as TOML wants it.
pub(super) fn entries(table: &Map<String, Value>) -> Vec<Entry> {
    let mut found = Vec::new();
    gather(table, &[], &mut found);
    found
}

fn gather(table: &Map<String, Value>, at: &[String], found: &mut Vec<Entry>) {
    let mut tables = Vec::new();
    for (key, value) in table {
        let path = [at, std::slice::from_ref(key)].concat();
        match value {
            Value::Object(below) if !below.is_empty() => tables.push((path, below)),
            value => found.push(Entry { path, value: value.clone(), origin: None }),
        }
    }
    for (path, below) in tables {
        gather(below, &path, found);
    }
}

/// The configuration as one object, with the origin of each key beside it where that is wanted.
pub(super) fn to_json(env: &str, table: &Map<String, Value>, entries: &[Entry]) -> Value {
    let origin = |entry: &Entry| Some((entry.key(), entry.origin.clone()?));
    let origins: BTreeMap<_, _> = entries.iter().filter_map(origin).collect();
    let mut answer = json!({ "env": env, "config": table });
    if !origins.is_empty() {
        answer["origins"] = json!(origins);
    }
    answer
}

/// The entries as TOML: equals signs and origins stand below each other within a table.
pub(super) fn to_toml(entries: &[Entry]) -> String {
    let parent = |entry: &Entry| entry.path.split_last().map_or(Vec::new(), |(_, parent)| parent.to_vec());
    let table = |entries: &[Entry]| {
        let header = match entries.first().map(parent) {
            Some(path) if !path.is_empty() => {
                format!("[{}]\n", path.iter().map(|key| name(key)).collect::<Vec<_>>().join("."))
            }
            _ => String::new(),
        };
        header + &lines(entries)
    };
    entries.chunk_by(|one, next| parent(one) == parent(next)).map(table).collect::<Vec<_>>().join("\n")
}

fn lines(entries: &[Entry]) -> String {
    let names: Vec<String> =
        entries.iter().map(|entry| entry.path.last().map_or(String::new(), |key| name(key))).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let settings: Vec<String> = entries
        .iter()
        .zip(names)
        .map(|(entry, name)| match value(&entry.value) {
            Some(value) => format!("{name:longest$} = {value}"),
            None => format!("# {name} is not set"),
        })
        .collect();
    let widths = settings.iter().map(|setting| setting.chars().count());
    let widest = widths.filter(|width| *width <= LONG).max().unwrap_or_default();
    let line = |(entry, setting): (&Entry, String)| match &entry.origin {
        Some(origin) if !entry.value.is_null() => {
            format!("{setting:widest$}  # {}\n", origin.replace(char::is_control, " "))
        }
        _ => setting + "\n",
    };
    entries.iter().zip(settings).map(line).collect()
}

/// A key as TOML.
fn name(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

/// A value as TOML: tables in a list that is long have a line each.
fn value(value: &Value) -> Option<String> {
    let line = inline(value)?;
    match value {
        Value::Array(items) if line.chars().count() > LONG && items.iter().any(Value::is_object) => {
            let items: Vec<String> = items.iter().filter_map(inline).collect();
            Some(format!("[\n    {},\n]", items.join(",\n    ")))
        }
        _ => Some(line),
    }
}

/// A value as TOML on one line. TOML has no word for nothing, so what is nothing is left out.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::String(text) => Some(quoted(text)),
        Value::Array(items) => {
            Some(format!("[{}]", items.iter().filter_map(inline).collect::<Vec<_>>().join(", ")))
        }
        Value::Object(table) => {
            let entry = |(key, value): (&String, &Value)| Some(format!("{} = {}", name(key), inline(value)?));
            let entries: Vec<String> = table.iter().filter_map(entry).collect();
            Some(if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) })
        }
    }
}

/// A text on one line, and without anything that a terminal would obey.
fn quoted(text: &str) -> String {
    let letter = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let table = object(json!({
            "é": 1, "a b": "x\ty\"\\\u{1b}\u{7f}\n", "big": 1.5, "list": [1, "two", { "three": [3], "f o": "u" }],
            "long": [{ "a": "x".repeat(60) }, { "b": 2 }],
            "empty": {}, "none": [], "on": true,
            "http": { "listen": ["a:1"], "z": { "y": { "x": 1 } } },
        }));
        let text = to_toml(&entries(&table));
        let read: Value = toml::from_str(&text).unwrap();
        assert_eq!(read, Value::Object(table), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{7f}']), "{text}");
    }

    #[test]
    fn each_table_is_aligned_for_itself() {
        let mut entries = entries(&object(json!({
            "b": 1, "cluster": { "user": null, "max_age": "0s", "workers": "auto" }, "a": { "b": { "c": 1 } },
        })));
        for entry in &mut entries {
            entry.origin = Some("default".to_owned());
        }
        let expected = "b = 1  # default\n\n[a.b]\nc = 1  # default\n\n[cluster]\nmax_age = \"0s\"     # default\n\
                        # user is not set\nworkers = \"auto\"   # default\n";
        assert_eq!(to_toml(&entries), expected);
    }
}
