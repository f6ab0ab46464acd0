//! Which room may import which: the picture in ARCHITECTURE.md, held against the `use` lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the framework from the bottom up, in floors. A room imports only from floors below its own.
const FLOORS: &[&[&str]] = &[
    &["number"],
    &[
        "error", "duration", "size", "backoff", "role", "image", "cgroup", "signals", "identity", "pidfd",
        "balance", "handover", "tls", "secret",
    ],
    &["exit", "instance", "config", "log", "http", "exec", "cpu"],
    &["status", "sections", "events"],
    &["bus", "systemd"],
    &["launch"],
    &["master", "state", "mail", "wanted"],
    &["gathered"],
    &["process"],
    &["published", "child", "heartbeat", "news"],
    &["desk", "keyed", "keyring", "messenger", "vault"],
    &["agent", "worker"],
    &["duty"],
    &["lives"],
    &["cli", "testing", "fuzzing"],
    &["app"],
];

/// Files that decide: no clock, no I/O, no runtime.
const PURE: &[&str] = &[
    "backoff.rs",
    "balance.rs",
    "balance/target.rs",
    "bus/codec.rs",
    "bus/control.rs",
    "bus/decoder.rs",
    "bus/discretion.rs",
    "bus/frame.rs",
    "bus/head.rs",
    "bus/kind.rs",
    "bus/link/left.rs",
    "bus/link/patience.rs",
    "bus/link/queue.rs",
    "bus/outbox.rs",
    "bus/outbox/piece.rs",
    "bus/packed.rs",
    "bus/parcel.rs",
    "bus/pattern.rs",
    "bus/peer.rs",
    "bus/settings.rs",
    "bus/shared.rs",
    "bus/slice.rs",
    "bus/topic.rs",
    "cli/listing.rs",
    "config/hush.rs",
    "cli/mask.rs",
    "bus/wording.rs",
    "cli/view.rs",
    "cli/view/ends.rs",
    "cli/view/table.rs",
    "cli/view/traffic.rs",
    "cpu/queue.rs",
    "cpu/settings.rs",
    "events.rs",
    "exit.rs",
    "fuzzing.rs",
    "handover/label.rs",
    "http/pace.rs",
    "http/phase.rs",
    "http/preface.rs",
    "http/proxied.rs",
    "http/trust.rs",
    "http/window.rs",
    "identity.rs",
    "keyed/upstreams.rs",
    "mail/early.rs",
    "mail/letter.rs",
    "master/announcement.rs",
    "master/budget.rs",
    "master/cluster.rs",
    "master/cluster/frames.rs",
    "master/cluster/settling.rs",
    "master/count.rs",
    "master/courier.rs",
    "master/crew.rs",
    "master/exchange.rs",
    "master/exchange/backlog.rs",
    "master/exchange/calls.rs",
    "master/exchange/fuzzing.rs",
    "master/exchange/losses.rs",
    "master/exchange/luggage.rs",
    "master/exchange/outside.rs",
    "master/exchange/questions.rs",
    "master/exchange/receipts.rs",
    "master/exchange/seats.rs",
    "master/exchange/traffic.rs",
    "master/exchange/waiting.rs",
    "master/everywhere.rs",
    "master/gathering.rs",
    "master/keys.rs",
    "master/departure.rs",
    "master/exchange/turnover.rs",
    "master/laggards.rs",
    "master/occupant.rs",
    "master/occupant/silence.rs",
    "master/occupant/stage.rs",
    "master/overview.rs",
    "master/pace.rs",
    "master/plan.rs",
    "master/post.rs",
    "master/readers.rs",
    "master/recycling.rs",
    "master/relay.rs",
    "master/reload.rs",
    "master/reopening.rs",
    "master/roster.rs",
    "master/roster/station.rs",
    "master/rules.rs",
    "master/scaling.rs",
    "master/settings.rs",
    "master/shortage.rs",
    "master/supervisor.rs",
    "master/supervisor/generations.rs",
    "master/supervisor/stopping.rs",
    "master/tail.rs",
    "number.rs",
    "master/trace.rs",
    "secret.rs",
    "secret/quotes.rs",
    "status.rs",
    "status/bus.rs",
    "status/tls.rs",
    "systemd/bulletin.rs",
    "systemd/choice.rs",
    "tls/certificate.rs",
    "tls/secrets.rs",
    "tls/tickets.rs",
    "tls/validity.rs",
];

const IMPURE: &[&str] = &[
    "::now()",
    "tokio::",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "rustix::",
    "tracing::",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../framework/src")
}

/// Every source file with its path below `src`, its tests cut off.
fn files() -> BTreeMap<String, String> {
    let code = |path: PathBuf| {
        let name = path.strip_prefix(source()).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        (name, text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned())
    };
    below(source()).into_iter().map(code).collect()
}

/// The path of every file in a folder and those within.
pub(crate) fn below(folder: PathBuf) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { found.push(entry) }
        }
    }
    found
}

fn room_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

/// What is imported behind `prefix`, such as `crate::`: the first words after it, those in braces too.
fn imports<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let code_lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let rests = code_lines.flat_map(|line| {
        line.match_indices(prefix).map(move |(at, _)| at + prefix.len()).zip(std::iter::repeat(line))
    });
    let mut words = BTreeSet::new();
    for (at, line) in rests {
        // A use in braces may go on over lines: look at the whole code from here.
        let start = line.as_ptr() as usize - code.as_ptr() as usize + at;
        match code[start..].strip_prefix('{') {
            Some(inside) => {
                words.extend(inside.split('}').next().unwrap_or_default().split(',').map(first_word))
            }
            None => {
                words.insert(first_word(&code[start..]));
            }
        }
    }
    words.remove("");
    words
}

fn first_word(text: &str) -> &str {
    text.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::one::X;\nuse crate::{two, three::{Y}};\n// crate::four\nfn f() { crate::five::g() }\nuse crate::{\n    six,\n    seven::Z,\n};";
    let found: Vec<_> = imports(code, "crate::").into_iter().collect();
    assert_eq!(found, ["five", "one", "seven", "six", "three", "two"]);
}

fn floor_of(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("the room `{room}` has no floor: add it here and to ARCHITECTURE.md"))
}

#[test]
fn no_room_imports_upwards() {
    let mut wrong = Vec::new();
    for (file, code) in files().iter().filter(|(file, _)| *file != "lib.rs" && !file.ends_with("tests.rs")) {
        let room = room_of(file);
        for target in imports(code, "crate::").into_iter().filter(|target| *target != room) {
            let is_room = target.chars().next().is_some_and(char::is_lowercase);
            if is_room && floor_of(target) >= floor_of(room) {
                wrong.push(format!("{file} imports {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn master_and_the_roles_never_import_one_another() {
    for (file, code) in files() {
        for (one, others) in [
            ("master", ["agent", "worker"]),
            ("agent", ["master", "worker"]),
            ("worker", ["master", "agent"]),
        ] {
            if room_of(&file) == one {
                let imported = imports(&code, "crate::");
                assert!(
                    !others.iter().any(|other| imported.contains(other)),
                    "{file} imports one of {others:?}"
                );
            }
        }
    }
}

#[test]
fn no_two_files_of_a_room_import_each_other() {
    let files = files();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, code) in files.iter().filter(|(file, _)| file.contains('/') && !file.contains("tests")) {
        let (folder, _) = file.rsplit_once('/').unwrap();
        let siblings = imports(code, "super::").into_iter().map(|name| format!("{folder}/{name}.rs"));
        arrows.insert(file.clone(), siblings.filter(|sibling| files.contains_key(sibling)).collect());
    }
    for start in arrows.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = arrows[start].iter().collect();
        while let Some(file) = next.pop() {
            assert_ne!(file, start, "{start} imports itself by a detour over {reached:?}");
            if reached.insert(file) {
                next.extend(arrows.get(file).into_iter().flatten());
            }
        }
    }
}

#[test]
fn files_that_decide_read_no_clock_and_do_no_io() {
    let files = files();
    for name in PURE {
        let code = files.get(*name).unwrap_or_else(|| panic!("{name} is gone: correct the list"));
        let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in IMPURE {
            assert!(!code.contains(word), "{name} uses {word}");
        }
    }
}

#[test]
fn every_file_says_what_it_answers_for() {
    let silent: Vec<_> =
        files().into_iter().filter(|(_, code)| !code.starts_with("//!")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
