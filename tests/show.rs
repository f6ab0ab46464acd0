//! `config show`: every key with its value in force, where it was set, and no secret.

use std::process::Command;

use hatchery::testing::Site;
use serde_json::Value;

use crate::harness::{cluster, json, site, stderr, stdout};

fn shown(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    stdout(&output)
}

fn show(site: &Site, options: &[&str]) -> String {
    shown(&mut site.command(&[&["config", "show"], options].concat()))
}

/// The lines without what aligns them.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The line of `key` in `table`.
fn line<'a>(lines: &'a [String], table: &str, key: &str) -> &'a str {
    let header = format!("[{table}]");
    let below = lines.iter().skip_while(|line| **line != header).skip(1);
    let mut own = below.take_while(|line| !line.starts_with('['));
    own.find(|line| line.starts_with(&format!("{key} = ")))
        .unwrap_or_else(|| panic!("{table}.{key}: {lines:#?}"))
}

#[test]
fn every_key_is_shown_also_where_only_a_default_says_it() {
    let site = site("greeting = 'hi'\n[http]\nbody_limit = '2MiB'");
    let text = show(&site, &[]);
    let lines = lines(&text);
    assert_eq!(lines[0], "agent = \"none\"", "{text}");
    for (table, expected) in [
        ("http", "body_limit = \"2MiB\""),
        ("http", "header_limit = \"64KiB\""),
        ("http", "listen = [\"127.0.0.1:7001\"]"),
        ("http", "policy = \"round-robin\""),
        ("cluster", "workers = \"auto\""),
        ("cluster", "ready_timeout = \"30s\""),
        ("cpu", "threads = \"auto\""),
        ("log", "level = \"info\""),
        ("log_rotation", "max_size = \"100MiB\""),
        ("config_polling", "interval = \"1s\""),
        ("groups.web", "max_requests = 0"),
        ("limits", "depth = 0"),
    ] {
        let key = expected.split(' ').next().unwrap();
        assert_eq!(line(&lines, table, key), expected);
    }
    assert!(
        lines.contains(&"greeting = \"hi\"".to_owned()) && lines.contains(&"# user is not set".to_owned())
    );
    assert!(!text.contains('\u{1b}'));
    assert_eq!(show(&site, &[]), text, "the order is stable");
}

#[test]
fn what_is_shown_is_a_configuration_that_shows_the_same() {
    let first = site(
        "small = 3\n[http]\nlisten = ['127.0.0.1:1', { address = 'unix:x', name = 'x', policy = 'weighted', weights = [2] }]",
    );
    let text = show(&first, &[]);
    let second = site(&text);
    assert_eq!(second.run(&["config", "check"]).status.code(), Some(0));
    assert_eq!(show(&second, &[]), text);
}

#[test]
fn each_key_tells_its_origin() {
    let site = site("greeting = 'default'\nsmall = 1\n[cluster]\nmax_requests = 5");
    site.configure("prod.toml", "\nsmall = 2\n[groups.web]\nmax_age = '1h'");
    let options = ["config", "show", "--origin", "--env", "prod", "--workers", "3", "--set", "flags=4"];
    let with_variable = |options: &[&str]| {
        let mut command = site.command(options);
        shown(command.env("HATCHERY_HTTP__BODY_LIMIT", "3MiB"))
    };
    let lines = lines(&with_variable(&options));
    for expected in [
        "flags = 4 # --set",
        "greeting = \"default\" # config/default.toml:1",
        "small = 2 # config/prod.toml:2",
        "late = 0 # default",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
    }
    for (table, expected) in [
        ("http", "body_limit = \"3MiB\" # HATCHERY_HTTP__BODY_LIMIT"),
        ("http", "drain_timeout = \"30s\" # default"),
        ("cluster", "workers = 3 # --set"),
        ("groups.web", "workers = 3 # as cluster.workers"),
        ("groups.web", "max_requests = 5 # as cluster.max_requests"),
        ("groups.web", "max_age = \"1h\" # config/prod.toml:4"),
        ("groups.web", "drain_timeout = \"30s\" # as http.drain_timeout"),
    ] {
        let key = expected.split(' ').next().unwrap();
        assert_eq!(line(&lines, table, key), expected);
    }
    let answer = json(&with_variable(&[&options[..], &["--json"]].concat()));
    assert_eq!(answer["env"], "prod");
    assert_eq!(answer["config"]["http"]["body_limit"], "3MiB");
    assert_eq!(answer["config"]["cluster"]["user"], Value::Null);
    assert_eq!(answer["origins"]["http.body_limit"], "HATCHERY_HTTP__BODY_LIMIT");
    assert_eq!(answer["origins"]["log.level"], "default");
    assert!(json(&show(&site, &["--json"])).get("origins").is_none());
}

#[test]
fn a_group_shows_what_holds_for_it() {
    let site = site("[groups.jobs]\nlisten = ['unix:jobs.sock']");
    std::fs::write(site.dir().join("jobs"), "").unwrap();
    let lines = lines(&show(&site, &["--origin", "--ready-timeout", "7s"]));
    for expected in [
        "workers = 1 # default",
        "listen = [\"unix:jobs.sock\"] # config/default.toml:2",
        "ready_timeout = \"7s\" # as cluster.ready_timeout",
        "restart_limit = 10 # as cluster.restart_limit",
    ] {
        let key = expected.split(' ').next().unwrap();
        assert_eq!(line(&lines, "groups.jobs", key), expected);
    }
}

#[test]
fn the_files_of_certificates_are_no_secrets() {
    let place =
        "{ address = \"a:443\", certificates = [{ certificate = \"shop.pem\", key = \"shop.key\" }] }";
    let site = site(&format!("[http]\nmin_tls_version = '1.3'\nlisten = [{place}]\n"));
    let lines = lines(&show(&site, &[]));
    let at = lines.iter().position(|line| line == "listen = [").unwrap();
    assert_eq!(lines[at + 1..at + 3], [format!("{place},"), "]".to_owned()]);
    assert_eq!(line(&lines, "http", "min_tls_version"), "min_tls_version = \"1.3\"");
    assert_eq!(line(&lines, "http", "handshake_timeout"), "handshake_timeout = \"10s\"");
}

#[test]
fn no_form_of_the_answer_tells_a_secret() {
    let secrets = "[upstream]\nurl = 'redis://user:hunter2@cache/0'\napi_key = 'hunter2'\n\
                   [upstream.login]\npassword = 'hunter2'\n[[upstream.others]]\ntoken = 'hunter2'\nname = 'other'\n";
    let site = site(secrets);
    for options in [&[][..], &["--origin"], &["--json"], &["--origin", "--json"]] {
        let options = [options, &["--set", "upstream.client_secret=hunter2"]].concat();
        let mut command = site.command(&[&["config", "show"], &options[..]].concat());
        let text = shown(command.env("HATCHERY_UPSTREAM__LOGIN__SESSION_TOKEN", "hunter2"));
        assert!(!text.contains("hunter2"), "{text}");
        for left in ["redis://***@cache/0", "client_secret", "session_token", "other"] {
            assert!(text.contains(left), "{left}: {text}");
        }
    }
}

#[test]
fn a_mistake_is_told_instead_with_its_place() {
    let site = site("[http]\nbody_limt = 3");
    for command in [&["config", "show"][..], &["config", "check"], &["config", "show", "--json", "--origin"]]
    {
        let output = site.run(command);
        assert_eq!((output.status.code(), stdout(&output)), (Some(78), String::new()));
        let words = stderr(&output);
        let expected =
            "error: config/default.toml:2:1: unknown key `http.body_limt`: did you mean `http.body_limit`?\n";
        assert!(words.starts_with(expected), "{words}");
    }
}

#[test]
fn a_mistake_at_a_secret_is_told_without_it() {
    for (text, place) in [
        ("limits = { depth = 'redis://user:hunter2@cache' }", "1:20"),
        ("[limits]\ndepth = 3\npassword = 'hunter2\n", "3:20"),
        ("upstream.tokens = [\n  'a',\n  hunter2", "3:10"),
        ("[http]\napi_key = 'hunter2'", "2:1"),
    ] {
        let site = site(text);
        let start = &["start", "--listen", "127.0.0.1:0"][..];
        for command in [&["config", "check"][..], &["config", "show"], start] {
            let words = stderr(&site.run(command));
            assert!(words.starts_with(&format!("error: config/default.toml:{place}: ")), "{words}");
            assert!(words.contains("***") && !words.contains("hunter2"), "{words}");
        }
    }
}

#[test]
fn options_that_stand_for_keys_are_checked() {
    let site = site("");
    for options in [&["--workers", "0"][..], &["--set", "http.listen=[]"]] {
        for command in ["show", "check"] {
            let output = site.run(&[&["config", command], options].concat());
            assert_eq!(output.status.code(), Some(78), "{command} {options:?}");
            assert!(stderr(&output).starts_with("error: --set "), "{}", stderr(&output));
        }
    }
    assert_eq!(site.run(&["config", "show", "--port", "1", "--listen", "a:1"]).status.code(), Some(2));
}

#[test]
fn a_running_cluster_that_has_another_configuration_is_mentioned() {
    let cluster = cluster("greeting = 'good'");
    assert!(show(cluster.site(), &[]).contains("= \"good\""));
    let note = |options: &[&str]| {
        let output = cluster.site().run(&[&["config", "show"], options].concat());
        assert_eq!(output.status.code(), Some(0));
        stderr(&output)
    };
    assert_eq!(
        note(&["--env", "prod"]),
        "note: the running cluster has another environment, `local`; this is `prod`\n"
    );
    // An empty file is a good one for a start, but nobody empties it in a running cluster by intent.
    cluster.site().configure("default.toml", "");
    let _ = cluster.wait_for("the refusal", |status| status.config.refused.is_some());
    assert_eq!(
        note(&[]),
        "note: the running cluster has refused a change and keeps version 1: see `status`\n"
    );
}
