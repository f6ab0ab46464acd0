//! Whole logging in one process: queue, files and handle together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use tempfile::TempDir;
use tracing::subscriber::with_default;

use super::*;

fn quiet(level: Level) -> LogSettings {
    LogSettings { level, console: Level::Off }
}

/// Runs `body` with logging as `web.0` into a directory, and returns that directory.
fn logged(body: impl FnOnce(&Path, &Log)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (subscriber, log) = build(dir.path().into(), "web", "web.0", &quiet(Level::Info)).unwrap();
    with_default(subscriber, || body(dir.path(), &log));
    drop(log);
    dir
}

fn read(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

/// The lines of a file without the time.
fn lines(dir: &TempDir, name: &str) -> Vec<String> {
    let pid = format!(" {} ", std::process::id());
    let untimed = |line: &str| line.split_once(' ').unwrap().1.replace(&pid, " PID ");
    read(dir, name).lines().map(untimed).collect()
}

#[test]
fn a_line_tells_who_what_and_in_which_span() {
    let dir = logged(|_, _| {
        let _outer = tracing::info_span!(target: "shop", "request", id = 3).entered();
        let _inner = tracing::info_span!("render").entered();
        tracing::info!(target: "shop::pages", user = "ann lee", page = "/", fast = true, "served");
        tracing::debug!("not of interest");
    });
    assert_eq!(
        lines(&dir, "web.log"),
        [r#"INFO web.0 PID shop::pages: request{id=3}:render: served user="ann lee" page=/ fast=true"#]
    );
}

#[test]
fn a_field_that_a_span_learns_late_is_shown() {
    let dir = logged(|_, _| {
        let span = tracing::info_span!("request", id = 3, user = tracing::field::Empty);
        span.record("user", "ann");
        span.in_scope(|| tracing::warn!(target: "shop", "slow"));
    });
    assert_eq!(lines(&dir, "web.log"), ["WARN web.0 PID shop: request{id=3 user=ann}: slow"]);
}

#[test]
fn an_event_is_one_line_whatever_it_holds() {
    let dir = logged(|_, _| {
        let evil = "x\n2026-11-20T18:42:10.123+01:00 ERROR master 1 forged: line\x1b[2J";
        tracing::info!(target: "shop", str = evil, display = %evil, debug = ?evil, "{evil}");
        let _span = tracing::info_span!("request", evil).entered();
        tracing::info!(target: "shop", "in a span");
    });
    assert_eq!(read(&dir, "web.log").lines().count(), 2);
    assert!(!read(&dir, "web.log").contains('\x1b'));
}

#[test]
fn an_error_stands_in_both_files_with_its_cause() {
    let dir = logged(|_, _| {
        let error = io::Error::other("no route");
        tracing::error!(target: "shop", error = &error as &dyn std::error::Error, "cannot serve");
        tracing::warn!(target: "shop", "slow");
    });
    let error = "ERROR web.0 PID shop: cannot serve error=no route";
    assert_eq!(lines(&dir, "web.log"), [error, "WARN web.0 PID shop: slow"]);
    assert_eq!(lines(&dir, "error.log"), [error]);
}

#[test]
fn a_value_that_logs_while_it_is_formatted_does_no_harm() {
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!(target: "shop", "within");
            f.write_str("chatty")
        }
    }
    let dir = logged(|_, _| tracing::info!(target: "shop", value = ?Chatty, "without"));
    // Under a scoped subscriber, as here, `tracing` itself leaves out the line within.
    assert_eq!(lines(&dir, "web.log").last().unwrap(), "INFO web.0 PID shop: without value=chatty");
}

#[test]
fn every_line_is_there_once_over_a_rename_under_load() {
    const THREADS: usize = 4;
    const LINES: usize = 20_000;
    let dir = logged(|dir, log| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let dispatch = &dispatch;
                scope.spawn(move || {
                    tracing::dispatcher::with_default(dispatch, || {
                        (0..LINES).for_each(|line| tracing::info!(target: "load", thread, line, "x"));
                    });
                });
            }
            for turn in 0..5 {
                fs::rename(dir.join("web.log"), dir.join(format!("web.log.{turn}"))).unwrap();
                log.reopener().reopen().unwrap();
            }
        });
    });
    let mut seen = BTreeMap::new();
    for file in fs::read_dir(dir.path()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let numbers = line.split_once(" x thread=").unwrap().1.to_owned();
            *seen.entry(numbers).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), THREADS * LINES);
    assert!(seen.values().all(|times| *times == 1));
}

#[test]
fn reopening_creates_a_missing_directory() {
    let dir = logged(|dir, log| {
        fs::remove_dir_all(dir).unwrap();
        log.reopener().reopen().unwrap();
        tracing::info!(target: "shop", "new house");
    });
    assert_eq!(lines(&dir, "web.log"), ["INFO web.0 PID shop: new house"]);
}

#[test]
fn a_failed_reopening_keeps_the_old_file_and_names_the_path() {
    let dir = logged(|dir, log| {
        fs::rename(dir.join("web.log"), dir.join("old.log")).unwrap();
        fs::create_dir(dir.join("web.log")).unwrap();
        let error = log.reopener().reopen().unwrap_err();
        assert!(error.to_string().contains("web.log`: "), "{error}");
        tracing::info!(target: "shop", "kept");
    });
    assert_eq!(lines(&dir, "old.log"), ["INFO web.0 PID shop: kept"]);
}

#[test]
fn a_line_after_the_end_of_logging_is_written_directly() {
    let dir = tempfile::tempdir().unwrap();
    let (subscriber, log) = build(dir.path().into(), "web", "web.0", &quiet(Level::Info)).unwrap();
    with_default(subscriber, || {
        drop(log);
        tracing::info!(target: "shop", "last words");
    });
    assert_eq!(lines(&dir, "web.log"), ["INFO web.0 PID shop: last words"]);
}

#[test]
fn names_that_are_no_file_or_the_file_of_errors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "error", "../web", "a/b"] {
        let Err(error) = build(dir.path().into(), name, "web.0", &quiet(Level::Info)) else {
            panic!("{name} is taken");
        };
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn logging_is_started_once_in_a_process_and_sees_panics() {
    let dir = tempfile::tempdir().unwrap();
    let log = start(dir.path(), "web", "web.0", &quiet(Level::Info)).unwrap();
    let again = start(dir.path(), "web", "web.0", &quiet(Level::Info)).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);

    log_panics();
    let ended = thread::Builder::new().name("cook".into()).spawn(|| panic!("no\nsalt")).unwrap().join();
    let _ = std::panic::take_hook();
    assert!(ended.is_err());
    let seen = last_panic().unwrap();
    assert!(seen.starts_with("thread cook panicked at ") && seen.ends_with(": no\nsalt"), "{seen}");
    drop(log);
    let line = format!("ERROR web.0 PID panic: {}", seen.replace('\n', r"\n"));
    assert!(lines(&dir, "error.log").contains(&line));
}

#[test]
fn settings_name_the_level_that_is_unknown() {
    let settings: LogSettings = toml::from_str("level = 'debug'").unwrap();
    assert_eq!(settings, LogSettings { level: Level::Debug, console: Level::Warn });
    let error = toml::from_str::<LogSettings>("console = 'loud'").unwrap_err().to_string();
    assert!(error.contains("`loud`") && error.contains("`warn`"), "{error}");
    assert!(toml::from_str::<LogSettings>("size = 3").is_err());
}
