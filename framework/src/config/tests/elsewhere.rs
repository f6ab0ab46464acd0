//! Mistakes that are not in a line of a file, and what is shown of those that are.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Fixture;
use super::mistakes::{Limits, mistake};
use crate::config::{Layers, SectionCheck};

#[test]
fn endless_nesting_is_refused() {
    for text in [format!("{}a = 1", "a.".repeat(50_000)), format!("a = {}", "[".repeat(50_000))] {
        assert!(mistake(&Fixture::new(&text, "")).to_string().contains("not valid TOML: "));
    }
    let set = format!("{}a=1", "a.".repeat(50_000));
    let error = Layers::new(".", "prod").with_overrides(vec![set]).unwrap_err();
    assert!(error.to_string().ends_with("the key has 50001 parts: write at most 32"));
}

#[test]
fn a_missing_key_names_the_files_that_could_set_it() {
    let error = mistake(&Fixture::new("[[upstream]]\nweight = 1", ""));
    assert_eq!(
        error.to_string(),
        "missing key `upstream[0].host`: set it in config/default.toml or config/prod.toml"
    );
    assert_eq!(error.place(), None);
    assert_eq!(error.detail(), "");
}

#[test]
fn a_mistake_in_a_variable_names_it() {
    for (name, value, line) in [
        ("HATCHERY_PORT", "abc", "port: invalid type: string \"abc\", expected u16"),
        ("HATCHERY_PORT", "80.5", "port: invalid type: string \"80.5\", expected u16"),
        ("HATCHERY_SMALL", "300", "small: invalid value: integer `300`, expected u8"),
        ("HATCHERY_HOSTS", "[1]", "hosts[0]: invalid type: integer `1`, expected a string"),
        ("HATCHERY_LIMITS__BDY", "1", "unknown key `limits.bdy`: did you mean `limits.body`?"),
        ("HATCHERY_A____B", "1", "a part of the key is empty: write a name between the separators"),
        ("HATCHERY_", "1", "a part of the key is empty: write a name between the separators"),
    ] {
        let error = mistake(&Fixture::new("", "").variables(&[(name, value)]));
        assert_eq!(error.to_string(), format!("environment variable {name}: {line}"));
    }
}

#[test]
fn a_mistake_in_an_override_names_it() {
    let error = mistake(&Fixture::new("port = 1", "").overrides(&["port=x"]));
    assert_eq!(error.to_string(), "--set port=…: port: invalid type: string \"x\", expected u16");
    for (text, line) in [
        ("port", "--set port: there is no value: write it as key=value"),
        ("db.password:hunter2", "--set db.password…: there is no value: write it as key=value"),
        ("a..b=1", "--set a..b=…: a part of the key is empty: write a name between the separators"),
    ] {
        let error = Layers::new(".", "prod").with_overrides(vec![text.to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), line);
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let fixture = Fixture::new("", "");
    let file = fixture.layers.files()[1].clone();
    std::fs::write(&file, b"a = 1\nb = '\xff'").unwrap();
    assert_eq!(mistake(&fixture).to_string(), "config/prod.toml:2:6: not UTF-8: save the file as UTF-8");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let line = mistake(&fixture).to_string();
    assert_eq!(line, "config/prod.toml: it is no file: write the configuration into one");
    std::fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let line = mistake(&fixture).to_string();
    assert!(line.starts_with("config/prod.toml: the file cannot be read: "), "{line}");
}

#[test]
fn a_section_is_checked_by_who_does_not_know_it() {
    let check = SectionCheck::of::<Limits>("limits");
    assert_eq!(check.name(), "limits");
    check.check(&Fixture::new("", "").merged()).unwrap();
    let error = check.check(&Fixture::new("[limits]\nbodi = 1", "").merged()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config/default.toml:2:1: unknown key `limits.bodi`: did you mean `limits.body`?"
    );
}

#[test]
fn without_a_type_every_key_is_unknown() {
    let merged = Fixture::new("[http]\na = 1", "b = 1\nc = 2").merged();
    let error = merged.without::<()>(&["http"]).unwrap_err();
    assert_eq!(error.to_string(), "config/prod.toml:1:1: unknown key `b`: remove it, or correct its name");
}

#[test]
fn an_unknown_key_that_serde_buffers_has_the_place_of_its_holder() {
    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Store {
        Disk {
            #[serde(rename = "limits")]
            _limits: Limits,
        },
    }
    let merged = Fixture::new("[store]\nkind = 'disk'\nlimits.bdy = 1", "").merged();
    let error = merged.section::<Store>("store").unwrap_err();
    assert_eq!(error.to_string(), "config/default.toml:1:1: store: unknown key `bdy`: did you mean `body`?");
}

#[test]
fn a_misspelt_secret_that_serde_buffers_is_not_shown() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Login {
        #[serde(rename = "password")]
        _password: Option<String>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Store {
        Remote {
            #[serde(rename = "login")]
            _login: Login,
        },
    }
    for key in ["pasword", "parole"] {
        let text = format!("store = {{ kind = 'remote', login = {{ {key} = 'hunter2' }} }}");
        let error = Fixture::new(&text, "").merged().section::<Store>("store").unwrap_err();
        let said = format!("{error}\n{}", error.detail());
        assert!(said.contains(key) && said.contains("store = ***") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_refusal_of_the_whole_has_no_place() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "BTreeMap<String, u8>")]
    struct Never;
    impl TryFrom<BTreeMap<String, u8>> for Never {
        type Error = &'static str;
        fn try_from(_: BTreeMap<String, u8>) -> Result<Self, &'static str> {
            Err("never")
        }
    }
    let error = Fixture::new("a = 1", "").merged().without::<Never>(&[]).unwrap_err();
    assert_eq!(error.to_string(), "the configuration is refused: never");
}

#[test]
fn the_detail_shows_the_line_and_a_caret() {
    let text = "open = true\nsmall = 300 # größer\r\nport = 1";
    assert_eq!(
        mistake(&Fixture::new(text, "")).detail(),
        " --> config/default.toml:2:9
  |
2 | small = 300 # größer
  |         ^^^"
    );
    assert_eq!(
        mistake(&Fixture::new("span = [\n2,\n1]", "")).detail(),
        " --> config/default.toml:1:8
  |
1 | span = [
  |        ^"
    );
}
