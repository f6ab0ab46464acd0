//! Another program, another generation, and no request fails. `refused` has the reloads that change nothing,
//! `weather` those among crashes and other changes.

mod refused;
mod weather;

use std::fs;
use std::io::BufReader;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use hatchery::status::{ClusterState, ProcessState, Status};
use hatchery::testing::{Answer, Cluster, PATIENCE, Site, eventually};
use rustix::process::Signal;

use crate::drain::connections_in_the_queue_are_answered;
use crate::harness::{Running, cluster, cluster_of_copy, json, kill, pids, probe, stderr};
use crate::load::{Load, Mode};
use crate::retry::{one_of, should};

fn begin_reload(site: &Site) -> Running {
    let mut command = site.command(&["reload"]);
    Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the probe"))
}

fn reload(site: &Site) -> Output {
    begin_reload(site).await_output()
}

#[track_caller]
fn assert_reloads(cluster: &Cluster) {
    let output = reload(cluster.site());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Whether there is nobody but the workers of this generation, and all are ready.
fn is_all_of(status: &Status, generation: u64) -> bool {
    let ready = |state: ProcessState| state == ProcessState::Ready;
    status.state == ClusterState::Running
        && status.generation == generation
        && status
            .workers
            .iter()
            .all(|worker| worker.process.generation == generation && ready(worker.process.state))
}

/// A reload is answered when the new ones are at work: the last of the old ones may still be finishing theirs.
#[track_caller]
fn assert_becomes_all_of(cluster: &Cluster, generation: u64) {
    let _ = cluster.wait_for("one generation alone", |status| is_all_of(status, generation));
}

#[test]
fn twenty_reloads_under_clients_that_never_pause_fail_no_request() {
    let cluster = cluster("");
    let report = Load::new(cluster.address()).mode(Mode::KeepAlive).clients(64).run_while(|| {
        for generation in 2..=21 {
            assert_reloads(&cluster);
            assert_eq!(cluster.status().generation, generation);
        }
    });
    report.assert_flawless();
    assert_eq!(report.generations(), (1..=21).collect(), "{report}");
    assert_becomes_all_of(&cluster, 21);
}

#[test]
fn reloads_are_not_noticed_by_clients_that_pause() {
    let cluster = cluster("");
    let load = Load::new(cluster.address()).mode(Mode::KeepAlive).clients(64);
    let report =
        load.pausing(Duration::from_millis(300)).run_while(|| (0..5).for_each(|_| assert_reloads(&cluster)));
    report.assert_flawless();
}

#[test]
fn posts_on_new_connections_do_not_fail_while_reloads_loop() {
    let cluster = cluster("");
    let load = Load::new(cluster.address()).mode(Mode::NewConnection).posting(16 << 10);
    let posts = load.clients(4).pausing(Duration::from_millis(10));
    posts.run_while(|| (0..8).for_each(|_| assert_reloads(&cluster))).assert_flawless();
}

#[test]
fn websockets_and_streams_of_events_end_in_order_at_a_reload() {
    for mode in [Mode::WebSocket, Mode::Events] {
        one_of(0..3, |_| {
            let cluster = cluster("");
            let report = Load::new(cluster.address()).mode(mode).clients(16).run_while(|| {
                assert_reloads(&cluster);
                assert_reloads(&cluster);
            });
            report.assert_flawless();
            assert!(report.handed_back > 16 && report.generations().contains(&3), "{mode:?}: {report}");
            // Who comes late to the second generation, as on a busy machine, meets the third and is in no second.
            should(report.handed_back >= 32, || format!("somebody was late for a generation: {report}"))
        });
    }
}

#[test]
fn a_signal_reloads_like_the_command() {
    let cluster = cluster("");
    let report = Load::new(cluster.address()).run_while(|| {
        cluster.signal(Signal::HUP);
        assert_becomes_all_of(&cluster, 2);
    });
    report.assert_flawless();
}

#[test]
fn workers_that_take_long_to_begin_are_waited_for_without_loss() {
    let cluster = cluster("start_ms = 1000");
    let began = Instant::now();
    let report = Load::new(cluster.address()).clients(16).run_while(|| assert_reloads(&cluster));
    report.assert_flawless();
    assert!(began.elapsed() >= Duration::from_secs(1), "the command waits");
    assert_becomes_all_of(&cluster, 2);
    assert!(report.generations().contains(&2), "{report}");
}

#[test]
fn a_reload_runs_the_program_that_lies_on_disk_now() {
    let (cluster, program) = cluster_of_copy("", &[]);
    let image =
        |status: &Status| fs::metadata(format!("/proc/{}/exe", pids(status)[1])).map(|facts| facts.ino());
    let before = image(&cluster.status()).expect("the worker's program");
    program.replace_by(&probe());
    let victim = pids(&cluster.status())[1];
    kill(victim);
    let repaired =
        cluster.wait_for("a replacement", |status| is_all_of(status, 1) && !pids(status).contains(&victim));
    assert_eq!(
        image(&repaired).expect("its program"),
        before,
        "a repair takes the program of its generation"
    );
    let report = Load::new(cluster.address()).run_while(|| assert_reloads(&cluster));
    report.assert_flawless();
    let renewed = cluster.wait_for("nobody but the new ones", |status| is_all_of(status, 2));
    assert_ne!(image(&renewed).expect("its program"), before);
}

#[test]
fn every_caller_gets_a_definite_answer() {
    // One at a time, and one more at most; on a busy machine the last may call when the first has its answer.
    one_of([300, 3000], |start_ms| {
        let generation = generation_after_four_calls(start_ms);
        should((2..=3).contains(&generation), || format!("generation {generation} after four calls"))
    });
}

/// Four ask for a reload at the same time, when workers take so long to begin.
fn generation_after_four_calls(start_ms: u64) -> u64 {
    let cluster = cluster(&format!("start_ms = {start_ms}"));
    let report = Load::new(cluster.address()).run_while(|| {
        let callers: Vec<_> = (0..4).map(|_| begin_reload(cluster.site())).collect();
        let outputs: Vec<_> = callers.into_iter().map(Running::await_output).collect();
        let succeeded = outputs.iter().filter(|output| output.status.code() == Some(0)).count();
        let refused = outputs.iter().filter(|output| output.status.code() == Some(1));
        assert!(succeeded >= 1, "{outputs:?}");
        assert_eq!(succeeded + refused.clone().count(), 4, "{outputs:?}");
        assert!(refused.map(stderr).all(|said| said.starts_with("error: ")), "{outputs:?}");
    });
    report.assert_flawless();
    cluster.status().generation
}

#[test]
fn connections_that_wait_in_the_queue_during_a_reload_are_answered() {
    connections_in_the_queue_are_answered(|cluster| begin_reload(cluster.site()));
}

#[test]
fn a_large_slow_answer_is_whole_and_new_requests_meanwhile_meet_the_new_generation() {
    let cluster = cluster("");
    let mut stream = TcpStream::connect(cluster.address()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.write_all(b"GET /bulk?pieces=64&ms=60 HTTP/1.0\r\nHost: test\r\n\r\n").expect("a request");
    let marker = cluster.site().dir().join("bulk-began");
    eventually("the answer has begun", || marker.exists().then_some(()));
    let reloading = begin_reload(cluster.site());
    let _ = cluster.wait_for("successors", |status| {
        status.workers.iter().filter(|worker| worker.process.state == ProcessState::Ready).count() == 2
            && status.workers.iter().any(|worker| worker.process.state == ProcessState::Draining)
            && status.workers.iter().all(|worker| {
                worker.process.state == ProcessState::Draining || worker.process.generation == 2
            })
    });
    for _ in 0..20 {
        assert_eq!(json(&cluster.get("/whoami").body)["generation"], 2);
    }
    let answer = Answer::read(&mut BufReader::new(stream)).expect("a whole answer");
    assert_eq!((answer.code, answer.body.len()), (200, 1 << 20));
    assert!(answer.body.bytes().all(|byte| byte == b'x'));
    assert_eq!(reloading.await_output().status.code(), Some(0));
}
