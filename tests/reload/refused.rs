//! Reloads that cannot succeed: the reason is told, and everything is as before.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hatchery::testing::{Cluster, eventually};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{assert_becomes_all_of, assert_reloads, is_all_of, reload};
use crate::harness::{FAST, cluster_of_copy, logged, pids, probe, processes_in, site, stderr};
use crate::load::Load;

/// A program of the system.
fn tool(name: &str) -> PathBuf {
    let folders = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
    folders.into_iter().find(|path| path.exists()).expect("a tool that every system has")
}

/// Tries a reload that must fail: the old generation stays as it is, and no request fails.
#[track_caller]
fn assert_reload_changes_nothing(cluster: &Cluster, case: &str, words: &str) {
    let before = cluster.status();
    let mut said = String::new();
    let report = Load::new(cluster.address()).run_while(|| {
        let output = reload(cluster.site());
        said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{case}: {said}");
    });
    report.assert_flawless();
    assert!(said.starts_with("error: ") && said.contains(words), "{case}: {said}");
    let workers = pids(&before)[1..].to_vec();
    let after = cluster.wait_for("the old ones alone", |status| pids(status)[1..] == workers);
    assert!(is_all_of(&after, 1), "{case}: {after:?}");
    assert_eq!(report.generations(), BTreeSet::from([1]), "{case}: {report}");
    eventually("nobody of the new generation is left", || {
        (processes_in(cluster.site().dir()).len() == 4).then_some(())
    });
}

#[test]
fn a_program_of_another_app_is_refused() {
    let (cluster, program) = cluster_of_copy("", &[]);
    program.replace_by(Path::new(env!("CARGO_BIN_EXE_talker")));
    let words = "is the app `talker`, and the cluster runs `probe`";
    assert_reload_changes_nothing(&cluster, "another app", words);
    program.replace_by(&probe());
    assert_reloads(&cluster);
}

#[test]
fn a_program_that_exits_or_hangs_leaves_the_old_generation_untouched() {
    let (cluster, program) = cluster_of_copy("", &["--set", "cluster.ready_timeout=2s"]);
    let script = cluster.site().dir().join("script");
    fs::write(&script, "#!/bin/sh\nexit 3\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a script that can be executed");
    let table = [
        // Without an operand it says so and exits.
        (tool("sleep"), "missing operand"),
        // Reads its standard input for ever.
        (tool("cat"), "not ready in time"),
        (tool("false"), ""),
        (script, ""),
    ];
    for (other, words) in table {
        program.replace_by(&other);
        assert_reload_changes_nothing(&cluster, &other.display().to_string(), words);
    }
    program.replace_by(&probe());
    assert_reloads(&cluster);
    // The next good one succeeds.
    assert_becomes_all_of(&cluster, 2);
}

#[test]
fn workers_that_fail_leave_the_old_generation_untouched() {
    let cluster = Cluster::start_at(site(""), &[FAST, &["--set", "cluster.ready_timeout=2s"]].concat());
    for (version, (fault, words)) in (2..).zip([
        ("error", "the fault was switched on"),
        ("panic", "the fault was switched on"),
        ("hang", "not ready in time"),
    ]) {
        cluster.site().configure("default.toml", &format!("worker = '{fault}'"));
        let _ = cluster.wait_for("the configuration arrives", |status| status.config.version == version);
        assert_reload_changes_nothing(&cluster, fault, words);
    }
}

#[test]
fn a_configuration_that_is_wrong_leaves_the_old_generation_untouched() {
    let (cluster, program) = cluster_of_copy("greeting = 'hi'", &[]);
    cluster.site().configure("default.toml", "greeting = 'hi'\nsmall = 300");
    program.replace_by(&probe());
    assert_reload_changes_nothing(&cluster, "a wrong value", "config/default.toml:2");
}

#[test]
fn a_master_at_its_limit_of_open_files_blames_the_limit_and_not_the_configuration() {
    let cluster = Cluster::start_at(site(""), FAST);
    let master = Pid::from_raw(i32::try_from(cluster.pid()).unwrap());
    let few = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let before = prlimit(master, Resource::Nofile, few).unwrap();
    cluster.signal(Signal::HUP);
    let lines = logged(cluster.site(), "master.log", "the reload failed", 1);
    prlimit(master, Resource::Nofile, before).unwrap();
    assert!(lines[0].contains("config/default.toml: this process cannot open the file"), "{lines:?}");
    assert!(lines[0].contains("raise its limit of open files") && !lines[0].contains("remove"), "{lines:?}");
}
