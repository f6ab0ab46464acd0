//! The order of the start, and starts that fail.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use hatchery::status::{ClusterState, ProcessState};
use hatchery::testing::{Site, eventually};

use crate::harness::{Running, cluster, log_lines, pids, processes_in, site, stderr};
use crate::retry::{one_of, should};

#[test]
fn no_worker_exists_before_the_agent_is_ready() {
    let site = site("agent = 'wait'");
    let _master = Running::start(&site, &[]);
    let status =
        eventually("the agent starts", || site.status().filter(|status| status.agent.process.pid.is_some()));
    assert_eq!(status.state, ClusterState::Starting);
    assert_eq!(status.agent.process.state, ProcessState::Starting);
    assert_eq!(pids(&status).len(), 1);
    assert_eq!(processes_in(site.dir()).len(), 2, "the master and the agent");
    assert!(!site.dir().join("run/ready").exists());

    fs::write(site.dir().join("go"), "").unwrap();
    let running = |status: &hatchery::status::Status| status.state == ClusterState::Running;
    eventually("the workers follow", || site.status().filter(running));
    // It is written when everybody has confirmed, a moment after everybody works.
    let line = eventually("the file", || fs::read_to_string(site.dir().join("run/ready")).ok());
    assert!(line.starts_with("probe is ready: http://127.0.0.1:"), "{line}");
}

#[test]
fn everybody_hears_once_that_the_cluster_is_ready() {
    let cluster = cluster("");
    let heard = |count| eventually("the news", || (knowing(cluster.site()) == count).then_some(()));
    heard(3);
    crate::harness::kill(cluster.status().workers[1].process.pid.unwrap());
    heard(4);
    // Everybody once: as many writers as lines.
    let writer = |line: &String| line.split(' ').nth(3).map(str::to_owned);
    let lines = ["agent.log", "web.log"].map(|name| log_lines(cluster.site(), name, NEWS));
    let writers: BTreeSet<_> = lines.iter().flatten().filter_map(writer).collect();
    assert_eq!(writers.len(), 4);
}

const NEWS: &str = "knows that the cluster is ready";

fn knowing(site: &Site) -> usize {
    ["agent.log", "web.log"].map(|name| log_lines(site, name, NEWS).len()).iter().sum()
}

/// Runs a start that must fail, and returns its exit code and its words.
fn failing_start(config: &str, options: &[&str]) -> (i32, String) {
    let site = site(config);
    let output = Running::start(&site, options).output();
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(processes_in(site.dir()), [0; 0], "nothing is left running");
    assert!(!site.dir().join("run/ready").exists());
    (output.status.code().unwrap(), stderr(&output))
}

#[test]
fn an_agent_that_fails_fails_the_start_in_its_own_words() {
    let (code, words) = failing_start("agent = 'error'", &[]);
    assert_eq!(code, 75, "{words}");
    assert!(
        words.contains(
            "error: the start failed after 3 attempts: agent failed with code 1: the fault was switched on"
        ),
        "{words}"
    );
}

#[test]
fn a_worker_that_panics_fails_the_start_in_its_own_words() {
    let (code, words) = failing_start("worker = 'panic'", &[]);
    assert_eq!(code, 75, "{words}");
    assert!(words.contains("web.") && words.contains("panicked with code 101"), "{words}");
    assert!(words.contains("probe/faults.rs") && words.contains("the fault was switched on"), "{words}");
}

#[test]
fn a_process_that_is_never_ready_fails_the_start_after_its_time() {
    for (config, slot) in [("agent = 'hang'", "agent"), ("worker = 'hang'", "web.")] {
        // On a busy machine a short time may be too short for whoever does not hang, too.
        one_of([300, 3000, 9000].map(Duration::from_millis), |time| {
            let began = Instant::now();
            let (code, words) =
                failing_start(config, &["--ready-timeout", &format!("{}ms", time.as_millis())]);
            assert_eq!(code, 75, "{words}");
            assert!(words.contains("was not ready in time and was killed"), "{words}");
            assert!(began.elapsed() >= time);
            should(words.contains(slot), || format!("it is not {slot} that is blamed: {words}"))
        });
    }
}

#[test]
fn a_worker_that_leaves_during_the_start_fails_it() {
    let (code, words) = failing_start("worker = 'leave'", &[]);
    assert_eq!(code, 75, "{words}");
    assert!(words.contains("left by itself"), "{words}");
}

#[test]
fn a_wrong_configuration_fails_the_start_at_once_with_its_line() {
    let (code, words) = failing_start("greeting = 'x'\nsmall = 300\n", &[]);
    assert_eq!(code, 78, "{words}");
    assert!(words.starts_with("error: config/default.toml:2:9: small: "), "{words}");
    assert!(words.contains("2 | small = 300"), "{words}");
}

#[test]
fn an_address_in_use_fails_the_start_with_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = site("");
    let output = site.run(&["start", "--listen", &address]);
    assert_eq!(output.status.code(), Some(78));
    let words = stderr(&output);
    assert_eq!(
        words,
        format!(
            "error: cannot listen on {address}: another process listens there; stop it or choose another address\n"
        )
    );
}

#[test]
fn a_child_started_by_hand_says_so() {
    let site = site("");
    let output = site.command(&[]).env("HATCHERY_ROLE", "web.0@1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("only a master starts such processes"), "{output:?}");
    let output = site.command(&[]).env("HATCHERY_ROLE", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("`nonsense` names no slot"), "{output:?}");
}
