//! Each class of mistake in a file, with the one line that it makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Fixture;
use crate::config::{ConfigError, Merged};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shop {
    greeting: String,
    port: u16,
    small: u8,
    open: bool,
    hosts: Vec<String>,
    #[serde(deserialize_with = "even")]
    even: u32,
    upstream: Vec<Upstream>,
    limits: Limits,
    span: Span,
    mode: Mode,
    named: BTreeMap<String, Limits>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only read to see whether it can be")]
struct Upstream {
    host: String,
    #[serde(default)]
    weight: Option<u8>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    body: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "(u8, u8)")]
struct Span;

impl TryFrom<(u8, u8)> for Span {
    type Error = String;

    fn try_from((low, high): (u8, u8)) -> Result<Self, String> {
        if low <= high { Ok(Self) } else { Err(format!("{low} is above {high}:\nswap them")) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only read to see whether it can be")]
enum Mode {
    #[default]
    Plain,
    Scaled(u8),
    Mixed {
        share: u8,
    },
}

fn even<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    if number.is_multiple_of(2) {
        Ok(number)
    } else {
        Err(de::Error::custom("not even: write an even number"))
    }
}

pub(super) fn mistake(fixture: &Fixture) -> ConfigError {
    let merged = fixture.layers.read().and_then(|reading| reading.merge());
    merged.and_then(|merged: Merged| merged.without::<Shop>(&["http"])).unwrap_err()
}

const NOT_TOML: &[(&str, &str)] = &[
    ("a", "1:2: not valid TOML: key with no value, expected `=`"),
    ("port = 1\nport = 2", "2:1: not valid TOML: duplicate key"),
    ("[limits\nbody = 1", "1:8: not valid TOML: unclosed table, expected `]`"),
    ("greeting = 'x", "1:14: not valid TOML: invalid literal string, expected `'`"),
    ("größe = 1", "1:3: not valid TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"),
    (
        "port = 999999999999999999999999999999999999999",
        "1:8: the number 999999999999999999999999999999999999999 is out of range: write a smaller one",
    ),
    ("port = 1e999", "1:8: the number 1e999 is out of range: write a smaller one"),
];

const UNKNOWN_KEYS: &[(&str, &str)] = &[
    ("greting = 'hi'", "1:1: unknown key `greting`: did you mean `greeting`?"),
    ("\n  zzz = 1", "2:3: unknown key `zzz`: remove it, or correct its name"),
    ("[htpp]\na = 1", "1:2: unknown key `htpp`: did you mean `http`?"),
    ("[limits]\nbdy = 1", "2:1: unknown key `limits.bdy`: did you mean `limits.body`?"),
    (
        "[[upstream]]\nhost = 'a'\n[[upstream]]\nhost = 'b'\nwieght = 1",
        "5:1: unknown key `upstream[1].wieght`: did you mean `upstream[1].weight`?",
    ),
    (
        "upstream = [{ host = 'a', port = 1 }]",
        "1:27: unknown key `upstream[0].port`: remove it, or correct its name",
    ),
    ("[[upstream]]\nhots = 'a'", "2:1: unknown key `upstream[0].hots`: did you mean `upstream[0].host`?"),
    (
        "mode = { mixed = { share = 1, extra = 2 } }",
        "1:31: unknown key `mode.mixed.extra`: remove it, or correct its name",
    ),
    ("named.'a b'.bdy = 1", "1:13: unknown key `named.\"a b\".bdy`: did you mean `named.\"a b\".body`?"),
    ("\"a\\nb\" = 1", "1:1: unknown key `\"a\\nb\"`: remove it, or correct its name"),
    ("\u{feff}zzz = 1", "1:2: unknown key `zzz`: remove it, or correct its name"),
];

const WRONG_VALUES: &[(&str, &str)] = &[
    ("port = 'abc'", "1:8: port: invalid type: string \"abc\", expected u16"),
    ("port = 80.5", "1:8: port: invalid type: floating point `80.5`, expected u16"),
    ("port = true", "1:8: port: invalid type: boolean `true`, expected u16"),
    ("greeting = 5", "1:12: greeting: invalid type: integer `5`, expected a string"),
    ("open = 'maybe'", "1:8: open: invalid type: string \"maybe\", expected true or false"),
    ("hosts = 'a'", "1:9: hosts: invalid type: string \"a\", expected a list such as [\"a\", \"b\"]"),
    ("hosts = ['a',\n 5]", "2:2: hosts[1]: invalid type: integer `5`, expected a string"),
    ("limits = 5", "1:10: limits: invalid type: integer `5`, expected struct Limits"),
    ("[greeting]\na = 1", "1:1: greeting: invalid type: map, expected a string"),
    ("small = 300", "1:9: small: invalid value: integer `300`, expected u8"),
    ("small = -1", "1:9: small: invalid value: integer `-1`, expected u8"),
    ("even = 3", "1:8: even: not even: write an even number"),
    ("span = [2, 1]", "1:8: span: 2 is above 1: swap them"),
    ("span = [1, 2, 3]", "1:8: span: invalid length 3, expected 2 elements in sequence"),
    ("mode = 'scaled'", "1:8: mode: invalid type: unit variant, expected newtype variant"),
    ("mode = 'odd'", "1:8: mode: unknown variant `odd`, expected one of `plain`, `scaled`, `mixed`"),
    ("mode.scaled = 300", "1:15: mode.scaled: invalid value: integer `300`, expected u8"),
    ("mode = { plain = 1 }", "1:18: mode.plain: invalid type: integer `1`, expected unit"),
    ("mode = 5", "1:8: mode: invalid type: integer `5`, expected enum Mode"),
];

#[track_caller]
fn assert_lines(mistakes: &[(&str, &str)]) {
    for (text, line) in mistakes {
        for (fixture, file) in
            [(Fixture::new(text, ""), "config/default.toml"), (Fixture::new("", text), "config/prod.toml")]
        {
            let error = mistake(&fixture);
            assert_eq!(error.to_string(), format!("{file}:{line}"), "{text}");
            let place = error.place().unwrap();
            assert!(line.starts_with(&format!("{}:{}:", place.line, place.column)), "{place:?}");
        }
    }
}

#[test]
fn broken_toml_is_refused_with_its_place() {
    assert_lines(NOT_TOML);
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    assert_lines(UNKNOWN_KEYS);
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    assert_lines(WRONG_VALUES);
}

#[test]
fn a_line_that_is_no_toml_is_told_without_its_secret() {
    for text in [
        "password: 'hunter2'",
        "password 'hunter2'",
        "[tokens] # of the shop\nalice = 'hunter2",
        "greeting = \"\"\"\n[tokens]\nalice = 'hunter2'",
    ] {
        let error = mistake(&Fixture::new(text, ""));
        let said = format!("{error}\n{}", error.detail());
        assert!(
            said.contains("not valid TOML") && said.contains("***") && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[test]
fn a_mistake_at_a_secret_quotes_nothing_of_it() {
    for (text, line) in [
        ("named.key.body = 'hunter2'", "1:18: named.key.body: invalid type: string, expected u32"),
        ("named.key = [47, 11]", "1:13: named.key: invalid length, expected 1 element in sequence"),
        (
            "named.key.body = 99999999999999999999999999999999999999999",
            "1:18: the number *** is out of range: ",
        ),
        (
            "port = 'redis://u:hunter2@cache'",
            "1:8: port: invalid type: string \"redis://***@cache\", expected u16",
        ),
    ] {
        let error = mistake(&Fixture::new(text, ""));
        let said = format!("{error}\n{}", error.detail());
        assert!(said.starts_with(&format!("config/default.toml:{line}")), "{said}");
        assert!(
            said.contains("***")
                && ["hunter2", "9999", "length 2", "47"].iter().all(|part| !said.contains(part)),
            "{said}"
        );
    }
}
