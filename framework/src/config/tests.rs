//! The room as its users see it: what the layers make together.

mod elsewhere;
mod mistakes;
mod properties;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{Layers, Merged, NOT_KEYS, Schema};

/// Layers in a directory of their own.
struct Fixture {
    dir: TempDir,
    layers: Layers,
}

impl Fixture {
    fn new(default: &str, prod: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("config")).unwrap();
        std::fs::write(dir.path().join("config/default.toml"), default).unwrap();
        std::fs::write(dir.path().join("config/prod.toml"), prod).unwrap();
        let layers = Layers::new(dir.path(), "prod");
        Self { dir, layers }
    }

    fn variables(mut self, vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.layers = self.layers.with_environment(vars);
        self
    }

    fn overrides(mut self, assignments: &[&str]) -> Self {
        let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
        self.layers = self.layers.with_overrides(assignments).unwrap();
        self
    }

    fn merged(&self) -> Merged {
        self.layers.read().unwrap().merge().unwrap()
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Shop {
    greeting: String,
    port: u16,
    open: bool,
    ratio: f64,
    id: u64,
    hosts: Vec<String>,
    ports: Vec<u16>,
    big: i128,
    since: String,
    limits: Limits,
    by_port: std::collections::BTreeMap<u16, String>,
    mode: Mode,
    note: Option<u8>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Limits {
    body: u32,
    header: u32,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Plain,
    Scaled(u8),
    Mixed {
        share: u8,
    },
}

fn shop(fixture: &Fixture) -> Shop {
    fixture.merged().without(&["http"]).unwrap()
}

#[test]
fn a_later_layer_wins() {
    let mut fixture = Fixture::new("greeting = 'default'", "");
    let expect = |fixture: &Fixture, greeting: &str| assert_eq!(shop(fixture).greeting, greeting);
    expect(&fixture, "default");
    fixture = Fixture::new("greeting = 'default'", "greeting = 'file'");
    expect(&fixture, "file");
    fixture = fixture.variables(&[("HATCHERY_GREETING", "variable")]);
    expect(&fixture, "variable");
    fixture = fixture.overrides(&["greeting=set", "greeting=a=b"]);
    expect(&fixture, "a=b");
}

#[test]
fn tables_merge_and_everything_else_replaces() {
    let fixture = Fixture::new(
        "hosts = ['a', 'b']\n[limits]\nbody = 1\nheader = 2",
        "hosts = ['c']\nlimits.header = 3",
    )
    .variables(&[("HATCHERY_LIMITS__BODY", "4")]);
    let shop = shop(&fixture);
    assert_eq!(shop.hosts, ["c"]);
    assert_eq!(shop.limits, Limits { body: 4, header: 3 });
}

#[test]
fn missing_files_are_empty_layers() {
    let dir = TempDir::new().unwrap();
    let merged = Layers::new(dir.path(), "dev").read().unwrap().merge().unwrap();
    assert_eq!(merged.without::<Shop>(&[]).unwrap(), Shop::default());
    assert_eq!(merged.section::<Limits>("limits").unwrap(), Limits::default());
    merged.without::<()>(&[]).unwrap();
}

#[test]
fn texts_become_what_the_type_asks_for() {
    let fixture = Fixture::new("", "").overrides(&[
        "port=8080",
        "open=on",
        "ratio=1.5",
        "greeting=5",
        "id=18446744073709551615",
        "big=-170141183460469231731687303715884105728",
        r#"hosts=["a", "b"]"#,
        "ports=[1, 2]",
        "by_port.80=web",
        "mode=plain",
        "note=7",
    ]);
    let shop = shop(&fixture);
    assert_eq!((shop.port, shop.open, shop.ratio, shop.greeting.as_str()), (8080, true, 1.5, "5"));
    assert_eq!((shop.id, shop.big, shop.note), (u64::MAX, i128::MIN, Some(7)));
    assert_eq!((shop.hosts, shop.ports), (vec!["a".to_owned(), "b".to_owned()], vec![1, 2]));
    assert_eq!(shop.by_port[&80], "web");
}

#[test]
fn toml_values_keep_their_precision() {
    let fixture =
        Fixture::new("id = 0xffff_ffff_ffff_ffff\nratio = -inf\nsince = 1979-05-27", "mode.scaled = 2");
    let shop: Shop = fixture.merged().without(&[]).unwrap();
    assert_eq!((shop.id, shop.ratio, shop.since.as_str()), (u64::MAX, f64::NEG_INFINITY, "1979-05-27"));
    assert_eq!(shop.mode, Mode::Scaled(2));
}

#[test]
fn an_address_in_brackets_is_a_text() {
    let fixture = Fixture::new("", "").overrides(&["greeting=[::1]:8080"]);
    assert_eq!(shop(&fixture).greeting, "[::1]:8080");
}

#[test]
fn keys_with_dots_and_brackets_are_plain_keys() {
    #[derive(Deserialize)]
    struct Odd {
        #[serde(rename = "a.b[9999999999]")]
        odd: u8,
    }
    let merged = Fixture::new("'a.b[9999999999]' = 3", "").merged();
    assert_eq!(merged.without::<Odd>(&[]).unwrap().odd, 3);
    assert_eq!(merged.origin(r#""a.b[9999999999]""#).unwrap(), "config/default.toml:1");
}

#[test]
fn variables_that_are_no_keys_are_skipped() {
    let mut vars: Vec<(&str, &str)> = NOT_KEYS.iter().map(|name| (*name, "x")).collect();
    vars.extend([("PATH", "/bin"), ("HATCHERYX", "x")]);
    let fixture = Fixture::new("", "").variables(&vars);
    assert_eq!(shop(&fixture), Shop::default());
}

#[test]
fn every_key_knows_where_it_was_set() {
    let merged = Fixture::new("port = 1\n[limits]\nbody = 1\nheader = 2\n[[up]]\nhost = 'a'", "\nport = 2")
        .variables(&[("HATCHERY_LIMITS__BODY", "4")])
        .overrides(&["open=1"])
        .merged();
    for (key, origin) in [
        ("port", Some("config/prod.toml:2")),
        ("limits.header", Some("config/default.toml:4")),
        ("limits.body", Some("HATCHERY_LIMITS__BODY")),
        ("up[0].host", Some("config/default.toml:6")),
        ("open", Some("--set")),
        ("greeting", None),
        ("limits.footer", None),
        ("port.number", Some("config/prod.toml:2")),
        ("portal", None),
    ] {
        assert_eq!(merged.origin(key).as_deref(), origin, "{key}");
    }
}

#[test]
fn equal_texts_have_equal_fingerprints() {
    let print = |fixture: &Fixture| fixture.layers.read().unwrap().fingerprint();
    let fixture = Fixture::new("port = 1", "");
    let before = print(&fixture);
    assert_eq!(before, print(&Fixture::new("port = 1", "")));
    assert_ne!(before, print(&Fixture::new("", "port = 1")));
    std::fs::write(fixture.dir.path().join("config/prod.toml"), "port = 2").unwrap();
    assert_ne!(before, print(&fixture));
    let forwards = Fixture::new("", "").variables(&[("HATCHERY_A", "1"), ("HATCHERY_B", "2")]);
    let backwards = Fixture::new("", "").variables(&[("HATCHERY_B", "2"), ("HATCHERY_A", "1")]);
    assert_eq!(print(&forwards), print(&backwards));
}

#[test]
fn a_schema_encodes_the_type_that_it_erases() {
    let merged = Fixture::new("port = 80\nmode.mixed.share = 3\n[http]\nany = 1", "").merged();
    let bytes = Schema::of::<Shop>().encode(&merged, &["http"]).unwrap();
    assert_eq!(rmp_serde::from_slice::<Shop>(&bytes).unwrap(), merged.without(&["http"]).unwrap());
}

#[test]
fn layers_survive_serialization() {
    let fixture = Fixture::new("", "").variables(&[("HATCHERY_PORT", "1")]).overrides(&["open=1"]);
    let bytes = rmp_serde::to_vec_named(&fixture.layers).unwrap();
    let read: Layers = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(read.read().unwrap().fingerprint(), fixture.layers.read().unwrap().fingerprint());
}

#[test]
fn debug_output_has_no_values() {
    let fixture = Fixture::new("greeting = 'hunter2'", "hosts = ['hunter2']")
        .variables(&[("HATCHERY_GREETING", "hunter2")])
        .overrides(&["greeting=hunter2"]);
    let reading = fixture.layers.read().unwrap();
    let text = format!("{:?}{reading:?}{:?}", fixture.layers, fixture.merged());
    assert!(text.contains("HATCHERY_GREETING") && !text.contains("hunter2"), "{text}");
}
