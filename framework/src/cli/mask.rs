//! What of the configuration nobody shall read over a shoulder or in a log: decided by the names of keys, and by the
//! look of values. Pure. Errs on the side of hiding.

use serde_json::{Map, Value};

use crate::secret::{MASK, is_secret, without_secrets};

/// Where a key names a file: a certificate's place to listen. Groups have any name.
const FILES: [&[&str]; 2] =
    [&["http", "listen", "certificates", "key"], &["groups", "*", "listen", "certificates", "key"]];

/// The table without its secrets.
pub(super) fn masked(table: &Map<String, Value>) -> Map<String, Value> {
    masked_below(&[], table)
}

fn masked_below(path: &[&str], table: &Map<String, Value>) -> Map<String, Value> {
    let entry = |(key, value): (&String, &Value)| {
        let path = [path, &[key]].concat();
        let shown = if is_secret(key) && !is_file(&path) { hidden(value) } else { shown(&path, value) };
        (key.clone(), shown)
    };
    table.iter().map(entry).collect()
}

fn shown(path: &[&str], value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_secrets(text)),
        Value::Array(items) => items.iter().map(|item| shown(path, item)).collect(),
        Value::Object(table) => Value::Object(masked_below(path, table)),
        other => other.clone(),
    }
}

fn is_file(path: &[&str]) -> bool {
    let fits = |(part, wanted): (&&str, &&str)| *wanted == "*" || part == wanted;
    FILES.iter().any(|wanted| wanted.len() == path.len() && path.iter().zip(*wanted).all(fits))
}

/// That nothing is set, and whether something is switched on, are no secrets.
fn hidden(value: &Value) -> Value {
    let open = match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(table) => table.is_empty(),
    };
    if open { value.clone() } else { MASK.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_below_a_secret_key_is_shown() {
        let table = json!({
            "tokens": { "abc": "alice" }, "secrets": ["x"], "pin_token": 1234, "api_key": "k",
            "users": [{ "name": "a", "password": "b" }], "deep": { "er": { "secret": "s" } },
        });
        let expected = json!({
            "tokens": "***", "secrets": "***", "pin_token": "***", "api_key": "***",
            "users": [{ "name": "a", "password": "***" }], "deep": { "er": { "secret": "***" } },
        });
        assert_eq!(Value::Object(masked(table.as_object().unwrap())), expected);
    }

    #[test]
    fn a_key_is_shown_only_where_it_is_the_file_of_a_certificate() {
        let listen =
            json!([{ "address": "a:1", "certificates": [{ "certificate": "c.pem", "key": "c.key" }] }]);
        let table = json!({
            "http": { "listen": listen }, "groups": { "jobs": { "listen": listen } },
            "stripe": { "key": "sk_live", "listen": [{ "certificates": [{ "key": "sk_live" }] }] },
        });
        let mut expected = table.clone();
        expected["stripe"] = json!({ "key": "***", "listen": [{ "certificates": [{ "key": "***" }] }] });
        assert_eq!(Value::Object(masked(table.as_object().unwrap())), expected);
    }

    #[test]
    fn what_is_not_set_or_only_a_switch_stays() {
        let table = json!({ "password": "", "token": null, "use_token": true, "tokens": [], "secrets": {} });
        assert_eq!(Value::Object(masked(table.as_object().unwrap())), table);
    }
}
