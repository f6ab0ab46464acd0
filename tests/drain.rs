//! What clients notice when workers leave and others come: nothing.

use std::process::Stdio;
use std::time::Duration;

use hatchery::status::{ClusterState, ProcessState, Status};
use hatchery::testing::{Cluster, eventually, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, Running, cluster, connected, kill, pids, site, stderr};
use crate::load::{Load, Mode, Report};

fn worker_pids(status: &Status) -> Vec<u32> {
    pids(status)[1..].to_vec()
}

fn is_settled(status: &Status, workers: usize) -> bool {
    status.state == ClusterState::Running && status.workers.len() == workers
}

fn load(cluster: &Cluster, mode: Mode) -> Load {
    Load::new(cluster.address()).mode(mode).clients(16)
}

/// Has each worker of two replaced by its own wish.
fn replace_everybody(cluster: &Cluster) {
    for slot in 0..2 {
        let before = worker_pids(&cluster.status())[slot];
        send_signal(before, Signal::TERM);
        let _ = cluster
            .wait_for("a successor", |status| is_settled(status, 2) && worker_pids(status)[slot] != before);
    }
}

fn scale(cluster: &Cluster) {
    for wish in ["4", "1", "3", "2"] {
        let output = cluster.site().run(&["scale", wish]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

/// Both deeds under this load: no request fails, and those who come answer.
#[track_caller]
fn assert_unbroken(of: impl Fn(&Cluster) -> Load) -> Report {
    let cluster = cluster("");
    let first = worker_pids(&cluster.status());
    let report = of(&cluster).run_while(|| {
        replace_everybody(&cluster);
        scale(&cluster);
    });
    report.assert_flawless();
    let has_come = |pid: &u32| !first.contains(pid);
    assert!(report.by_pid.is_empty() || report.by_pid.keys().any(has_come), "successors answer: {report}");
    report
}

#[test]
fn requests_on_new_connections_do_not_fail() {
    assert_unbroken(|cluster| load(cluster, Mode::NewConnection));
}

#[test]
fn bodies_on_new_connections_do_not_fail() {
    assert_unbroken(|cluster| load(cluster, Mode::NewConnection).posting(16 << 10));
}

#[test]
fn clients_that_keep_connections_and_never_pause_lose_no_request() {
    assert_unbroken(|cluster| load(cluster, Mode::KeepAlive));
}

#[test]
fn clients_that_keep_connections_and_pause_lose_no_request() {
    assert_unbroken(|cluster| load(cluster, Mode::KeepAlive).clients(64).pausing(Duration::from_millis(100)));
}

#[test]
fn clients_that_keep_connections_and_pause_for_long_lose_no_request() {
    for pause in [250, 1000] {
        assert_unbroken(|cluster| {
            load(cluster, Mode::KeepAlive).clients(64).pausing(Duration::from_millis(pause))
        });
    }
}

#[test]
fn http2_clients_are_told_to_go_and_lose_no_request() {
    assert_unbroken(|cluster| load(cluster, Mode::Http2));
}

#[test]
fn bodies_on_kept_connections_do_not_fail() {
    assert_unbroken(|cluster| load(cluster, Mode::KeepAlive).posting(16 << 10));
    assert_unbroken(|cluster| {
        load(cluster, Mode::KeepAlive).posting(16 << 10).pausing(Duration::from_millis(20))
    });
}

#[test]
fn websockets_are_closed_in_order() {
    let report = assert_unbroken(|cluster| load(cluster, Mode::WebSocket));
    assert!(report.handed_back >= 16, "{report}");
}

#[test]
fn streams_of_events_end_in_order() {
    let report = assert_unbroken(|cluster| load(cluster, Mode::Events));
    assert!(report.handed_back >= 16, "{report}");
}

#[test]
fn connections_that_wait_in_the_queue_while_a_worker_leaves_are_answered() {
    connections_in_the_queue_are_answered(|cluster| {
        let mut command = cluster.site().command(&["scale", "1"]);
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the probe"))
    });
}

/// Whichever way connections are spread, those that wait while a worker is made to leave by this command are answered.
pub(crate) fn connections_in_the_queue_are_answered(begin: impl Fn(&Cluster) -> Running) {
    for policy in ["http.policy=shared", "http.policy=round-robin", "http.policy=reuseport"] {
        connections_are_answered_by(policy, &begin);
    }
}

fn connections_are_answered_by(policy: &str, begin: impl Fn(&Cluster) -> Running) {
    // Those who stand still are not to be missed, however long it takes.
    let options = ["--set", policy, "--set", "cluster.heartbeat_timeout=0s"];
    let cluster = Cluster::start_at(site(""), &[FAST, &options].concat());
    let workers = worker_pids(&cluster.status());
    workers.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    let crowd = Load::new(cluster.address()).mode(Mode::NewConnection).clients(400).requests(400).begin();
    eventually("all of them wait", || (connected(cluster.address()) == 400).then_some(()));
    let leaving = begin(&cluster);
    let _ = cluster.wait_for("one is asked to leave", |status| {
        status.workers.iter().any(|worker| worker.process.state == ProcessState::Draining)
    });
    workers.iter().for_each(|pid| send_signal(*pid, Signal::CONT));
    let report = crowd.finish();
    report.assert_flawless();
    assert_eq!(report.answered, 400);
    assert_eq!(leaving.await_output().status.code(), Some(0));
}

#[test]
fn only_requests_of_the_worker_that_was_killed_fail() {
    let cluster = cluster("");
    let victim = worker_pids(&cluster.status())[0];
    let report = load(&cluster, Mode::KeepAlive).run_while(|| {
        kill(victim);
        let _ = cluster
            .wait_for("a replacement", |status| is_settled(status, 2) && worker_pids(status)[0] != victim);
    });
    assert!(report.failed_on.keys().all(|pid| pid.is_none_or(|pid| pid == victim)), "{report}");
    assert!(report.failed() <= 16, "at most one of each client: {report}");
}

#[test]
fn recycling_is_not_noticed_by_clients_that_keep_connections() {
    let options = [FAST, &["--set", "cluster.max_requests=200"]].concat();
    let cluster = Cluster::start_at(site(""), &options);
    let first = worker_pids(&cluster.status());
    let report = load(&cluster, Mode::KeepAlive).pausing(Duration::from_millis(10)).run_while(|| {
        let _ = cluster.wait_for("everybody is recycled", |status| {
            worker_pids(status).iter().all(|pid| !first.contains(pid))
        });
    });
    report.assert_flawless();
}
