//! What a master inherits and hands down: signal masks, descriptors, terminals, orphans, being process 1.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use hatchery::testing::{Cluster, Site, eventually};
use rustix::process::Signal;

use crate::harness::{
    FAST, Running, assert_said_once, cluster, json, log_lines, pass, pids, probe, site, stderr, stdout,
    zombies_of,
};

const START: [&str; 5] = ["start", "--listen", "127.0.0.1:0", "--workers", "1"];

/// The probe's `start`, by another program that executes it in the end.
fn by(wrapper: &[&str], site: &Site) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(probe()).args(START).args(FAST).current_dir(site.dir());
    command.stdin(Stdio::null());
    command
}

/// The blocked signals, a bit each from SIGHUP on.
fn blocked(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
    u64::from_str_radix(mask, 16).unwrap()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

#[test]
fn a_master_that_inherits_blocked_signals_hears_them() {
    let site = site("");
    let command = by(&["env", "--block-signal=TERM,INT,QUIT,HUP,USR1,USR2,CHLD,ALRM"], &site);
    let mut cluster = Cluster::start_by(command, site);
    for child in pids(&cluster.status()) {
        assert_eq!(blocked(child), 0, "{child}");
    }
    let kept = bit(Signal::ALARM) | bit(Signal::TTIN) | bit(Signal::TTOU);
    assert_eq!(blocked(cluster.pid()), kept);
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn a_master_in_the_background_writes_to_a_terminal_with_tostop() {
    let site = site("");
    // `script` makes a terminal; the shell's job control puts the master into its background.
    let start: Vec<_> = START.iter().chain(FAST).map(|word| format!("'{word}'")).collect();
    let shell = format!("set -m; stty tostop; '{}' {} & wait", probe().display(), start.join(" "));
    let mut command = Command::new("script");
    command.args(["-qefc", &shell, "/dev/null"]).current_dir(site.dir());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let terminal = Running(command.spawn().unwrap());
    eventually("the master is ready", || site.dir().join("run/ready").exists().then_some(()));
    assert_eq!(site.run(&["stop"]).status.code(), Some(0), "it is not stopped by its own line");
    let output = terminal.output();
    assert!(stdout(&output).contains("is ready: http://"), "{}", stdout(&output));
}

#[test]
fn a_worker_is_the_first_victim_when_memory_runs_out() {
    let cluster = cluster("");
    let score = |pid: u32| -> i32 {
        fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    let status = cluster.status();
    let master = score(cluster.pid());
    assert_eq!(score(status.agent.process.pid.unwrap()), (master + 100).min(1000));
    assert_eq!(score(status.workers[0].process.pid.unwrap()), (master + 200).min(1000));
}

/// What a process has open from 3 on: number, kind, and whether a program that it executes gets it.
fn descriptors(pid: u32) -> Vec<(u32, String, bool)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let about = |number: u32| {
        let kind = fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?.to_string_lossy().into_owned();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let kept = u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 == 0;
        Some((number, kind, kept))
    };
    numbers.filter(|number| *number > 2).filter_map(about).collect()
}

#[test]
fn what_a_parent_left_open_stops_at_the_master() {
    let site = site("");
    fs::write(site.dir().join("lock"), "").unwrap();
    let command = by(&["sh", "-c", "exec 9<lock; exec \"$@\"", "sh"], &site);
    let cluster = Cluster::start_by(command, site);
    // The test may have inherited some itself.
    let ours = descriptors(std::process::id());
    let mut handed_on = descriptors(cluster.pid());
    handed_on.retain(|it| it.2 && !ours.contains(it));
    assert_eq!(handed_on.len(), 1, "what the master itself opens is its own: {handed_on:?}");
    assert_eq!(handed_on[0].0, 9);
    for child in pids(&cluster.status()) {
        let open = descriptors(child);
        assert!(!open.iter().any(|(_, kind, kept)| *kept || kind.ends_with("/lock")), "{open:?}");
    }
}

#[test]
fn a_worker_has_the_descriptors_that_it_needs_and_no_others() {
    let cluster = cluster("");
    let worker = cluster.status().workers[0].process.pid.unwrap();
    // The link, the way by which connections come, and the pair that signals come through, of which one end is there twice.
    let counts = [("socket:", 5), ("web.log", 1), ("error.log", 1)];
    let known = ["socket:", "anon_inode:[event", "web.log", "error.log"];
    let is_as_it_should = |open: &[(u32, String, bool)]| {
        let count = |what: &str| open.iter().filter(|(_, kind, _)| kind.contains(what)).count();
        let is_known = |(_, kind, _): &(u32, String, bool)| known.iter().any(|word| kind.contains(word));
        open.iter().all(is_known) && counts.iter().all(|(what, wanted)| count(what) == *wanted)
    };
    // Its own figures are in a file that is open for a moment, each time.
    let mut seen = Vec::new();
    let found = (0..100).any(|_| {
        seen = descriptors(worker);
        is_as_it_should(&seen) || {
            pass(Duration::from_millis(20));
            false
        }
    });
    assert!(found, "{seen:?}");
}

#[test]
fn as_process_1_the_master_reaps_orphans_and_stops_when_asked() {
    let options = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child=KILL"];
    let allowed = Command::new("unshare").args(&options[1..]).arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no namespace of processes can be made here");
        return;
    }
    let site = site("[log]\nlevel = 'debug'");
    let mut cluster = Cluster::start_by(by(&options, &site), site);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", cluster.pid())).unwrap();
    let master: u32 = children.trim().parse().unwrap();
    let request =
        "POST /run HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 8\r\n\r\n(true &)";
    assert_eq!(cluster.exchange(request.as_bytes()).unwrap().code, 200);
    let reaped =
        || (!log_lines(cluster.site(), "master.log", "an orphan has ended").is_empty()).then_some(());
    eventually("the orphan is reaped", reaped);
    assert_eq!(zombies_of(master), [0; 0]);
    let command = |words: &[&str]| {
        // Only who lives in its namespace can be told from a stranger.
        let mut inside = Command::new("nsenter");
        inside.args(["--pid", "--mount", "--target", &master.to_string()]).arg(probe()).args(words);
        inside.arg("--app-dir").arg(cluster.site().dir()).output().unwrap()
    };
    assert_eq!(json(&stdout(&command(&["status", "--json"])))["master"]["pid"], 1);
    // The end of process 1 is the end of its whole world, and of this command.
    let _ = command(&["stop"]);
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_raised_or_told_at_the_start() {
    let site = site("");
    let output = by(&["prlimit", "--nofile=30:30"], &site).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(
        stderr(&output)
            .starts_with("error: the limit of open files is 30, and 1 worker and 1 socket to listen need "),
        "{}",
        stderr(&output)
    );
    for few in [8, 11, 23] {
        let limit = format!("--nofile={few}:{few}");
        let output = by(&["prlimit", &limit], &site).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{few}: {}", stderr(&output));
        assert!(stderr(&output).contains("raise it by `ulimit -n`"), "{few}: {}", stderr(&output));
    }
    let cluster = Cluster::start_by(by(&["prlimit", "--nofile=30:1024"], &site), site);
    assert_eq!(cluster.get("/").code, 200);
    assert_said_once(cluster, "master.log", "the limit of open files was 30");
}
