//! What holds for any text: no panic, and one rule of merging.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Fixture, Shop};
use crate::config::{ConfigError, Layers};

const PIECES: &[&str] = &[
    "port", "limits", "mode", "hosts", "a", ".", " = ", "=", "[", "]", "[[", "]]", "{", "}", ",", "\n",
    "\r\n", "'", "\"", "#", "1", "-1", "0xff", "1e9", "nan", "true", "'scaled'", "'''", "\u{feff}", "é",
    "😀", "\0", "\t", "__",
];

/// Anything at all, and things that are nearly right.
fn texts() -> impl Strategy<Value = String> {
    let nearly = prop::collection::vec(prop::sample::select(PIECES), 0..20);
    prop_oneof![any::<String>(), nearly.prop_map(|pieces| pieces.concat())]
}

/// Documents that are right.
fn documents() -> impl Strategy<Value = toml::Table> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(toml::Value::Integer),
        any::<bool>().prop_map(toml::Value::Boolean),
        "[a-z]{0,3}".prop_map(toml::Value::String),
    ];
    tables(leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(toml::Value::Array),
            tables(inner).prop_map(toml::Value::Table),
        ]
    }))
}

fn tables(value: impl Strategy<Value = toml::Value>) -> impl Strategy<Value = toml::Table> {
    prop::collection::btree_map("[a-c]", value, 0..3).prop_map(|entries| entries.into_iter().collect())
}

fn merged(default: &toml::Table, prod: &toml::Table) -> Json {
    Fixture::new(&default.to_string(), &prod.to_string()).merged().without(&[]).unwrap()
}

/// The rule of merging, said once more.
fn overlay(below: Json, above: Json) -> Json {
    match (below, above) {
        (Json::Object(mut below), Json::Object(above)) => {
            for (key, value) in above {
                let old = below.remove(&key).unwrap_or(Json::Null);
                below.insert(key, overlay(old, value));
            }
            Json::Object(below)
        }
        (_, above) => above,
    }
}

/// The paths of all values inside one.
fn paths(at: &str, value: &Json) -> Vec<String> {
    let dot = if at.is_empty() { "" } else { "." };
    let children: Vec<(String, &Json)> = match value {
        Json::Object(table) => table.iter().map(|(key, value)| (format!("{at}{dot}{key}"), value)).collect(),
        Json::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (format!("{at}[{index}]"), value)).collect()
        }
        _ => Vec::new(),
    };
    let below = children.iter().flat_map(|(path, value)| paths(path, value));
    children.iter().map(|(path, _)| path.clone()).chain(below).collect()
}

fn read(layers: &Layers) -> Result<Shop, ConfigError> {
    layers.read()?.merge()?.without(&[])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_text_makes_it_panic(default in texts(), prod in texts(), name in texts(), value in texts()) {
        let bare = Fixture::new(&default, &prod);
        let set = bare.layers.clone().with_overrides(vec![value.clone(), format!("{name}={value}")]);
        let plain = read(&bare.layers);
        let laid_over = read(&bare.variables(&[(&format!("HATCHERY_{name}"), &value)]).layers);
        for error in [plain.err(), laid_over.err(), set.err()].into_iter().flatten() {
            prop_assert_eq!(error.to_string().lines().count(), 1);
            prop_assert_eq!(error.detail().is_empty(), error.place().is_none());
        }
    }

    #[test]
    fn tables_merge_and_the_right_side_wins(default in documents(), prod in documents()) {
        let [below, above] = [&default, &prod].map(|table| serde_json::to_value(table).unwrap());
        prop_assert_eq!(merged(&default, &prod), overlay(below, above));
    }

    #[test]
    fn a_layer_over_itself_changes_nothing(document in documents()) {
        prop_assert_eq!(merged(&document, &document), merged(&document, &toml::Table::new()));
    }

    #[test]
    fn exactly_the_merged_values_have_an_origin(default in documents(), prod in documents()) {
        let merged = Fixture::new(&default.to_string(), &prod.to_string()).merged();
        let all = paths("", &merged.without(&[]).unwrap());
        for path in &all {
            prop_assert!(merged.origin(path).is_some(), "{} has no origin", path);
        }
        let count = format!("values: {} ", all.len());
        let shown = format!("{merged:?}");
        prop_assert!(shown.contains(&count));
    }
}
