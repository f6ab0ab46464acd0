//! States in sealed memory: one copy for all, stopped workers, and when a version is everywhere.

use std::collections::BTreeSet;
use std::fs;

use hatchery::status::Status;
use hatchery::testing::{Cluster, eventually, send_signal};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;

use crate::harness::{FAST, ask_all, kill, log_lines, pids, site};

const MIB: usize = 1 << 20;

fn config(bytes: usize, rounds: u64) -> String {
    format!("[states]\nbulk_bytes = {bytes}\nbulk_rounds = {rounds}")
}

fn large(bytes: usize, rounds: u64, workers: &str) -> Cluster {
    let options = [FAST, &["--workers", workers, "--set", "cluster.heartbeat_timeout=0s"]].concat();
    Cluster::start_at(site(&config(bytes, rounds)), &options)
}

fn await_file(cluster: &Cluster, name: &str) {
    let path = cluster.site().dir().join(name);
    eventually(&format!("the agent has written {name}"), || path.exists().then_some(()));
}

/// Waits until all workers have this round of so many bytes.
fn await_round(cluster: &Cluster, round: u64, bytes: usize) {
    eventually("every worker has the round", || {
        let has = |answer: &serde_json::Value| answer["round"] == round && answer["bytes"] == bytes;
        ask_all(cluster, "/states/large").iter().all(has).then_some(())
    });
}

/// The memory of all processes: their own and their share of what is shared, and the sealed memory that they hold,
/// each counted once. Without the program's file, which is shared with those of other tests, too.
fn memory(cluster: &Cluster, status: &Status) -> (usize, usize) {
    let (mut pss, mut sealed) = (0, std::collections::BTreeMap::new());
    for pid in pids(status).into_iter().chain([cluster.pid()]) {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let kib: Vec<usize> = rollup
            .lines()
            .filter(|line| line.starts_with("Pss_Anon:") || line.starts_with("Pss_Shmem:"))
            .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
            .collect();
        assert_eq!(kib.len(), 2, "older kernels than 5.4 do not tell these apart: {rollup}");
        pss += kib.iter().sum::<usize>() << 10;
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path()) {
            let target = fs::read_link(&entry).unwrap_or_default();
            if target.to_string_lossy().starts_with("/memfd:") {
                use std::os::unix::fs::MetadataExt as _;
                // It may have been closed meanwhile.
                let Ok(memory) = fs::metadata(&entry) else { continue };
                sealed.insert(memory.ino(), memory.blocks() as usize * 512);
            }
        }
    }
    (pss, sealed.values().sum())
}

#[test]
fn a_large_state_is_in_memory_once_however_many_workers_read_it() {
    let cluster = large(CHUNK, 0, "4");
    await_round(&cluster, 0, CHUNK);
    let (before, none) = memory(&cluster, &cluster.status());
    assert_eq!(none, 0, "small states need no sealed memory");
    drop(cluster);
    let cluster = large(16 * MIB, 1, "4");
    await_round(&cluster, 1, 16 * MIB);
    let (after, sealed) = memory(&cluster, &cluster.status());
    println!("private and shared: {before} before, {after} after, and {sealed} sealed");
    assert!((16 * MIB..18 * MIB).contains(&sealed), "one copy: {sealed}");
    assert!(after.saturating_sub(before) + sealed < 28 * MIB, "{before} {after} {sealed}");
    let state = cluster.status().states.into_iter().find(|state| state.name == "bulk").unwrap();
    assert!(state.bytes > 16 * MIB as u64 && state.converged, "{state:?}");
}

const CHUNK: usize = 64 << 10;

#[test]
fn a_stopped_worker_costs_nothing_and_has_the_newest_version_when_it_goes_on() {
    let cluster = large(4 * MIB, 1, "2");
    await_file(&cluster, "everywhere-1");
    await_round(&cluster, 1, 4 * MIB);
    let status = cluster.status();
    let stopped = status.workers[1].process.pid.unwrap();
    let (before, shmem_before) = (status.master.usage.rss_bytes, shared_memory());
    send_signal(stopped, Signal::STOP);
    cluster.site().configure("default.toml", &config(4 * MIB, 101));
    await_file(&cluster, "published-101");
    await_file(&cluster, "late-101");
    let (after, shmem_after) = (cluster.status().master.usage.rss_bytes, shared_memory());
    println!("the master: {before} before, {after} after; shared memory: {shmem_before}, {shmem_after}");
    assert!(after.saturating_sub(before) < 4 * MIB as u64, "{before} {after}");
    assert!(!cluster.site().dir().join("everywhere-101").exists());
    send_signal(stopped, Signal::CONT);
    await_file(&cluster, "everywhere-101");
    await_round(&cluster, 101, 4 * MIB);
    assert_eq!(cluster.status().workers[1].process.pid, Some(stopped));
}

/// The inodes of the sealed memory that a process has mapped.
fn mapped(pid: u64) -> BTreeSet<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let ours = maps.lines().filter(|line| line.contains("/memfd:hatchery"));
    ours.map(|line| line.split_whitespace().nth(4).unwrap().parse().unwrap()).collect()
}

/// Waits until each worker has the picture of `round` whole and has the first one, and maps `count` memories; these.
fn await_picture(cluster: &Cluster, round: u64, count: usize) -> BTreeSet<u64> {
    eventually("every worker maps what it should", || {
        let answers = ask_all(cluster, "/states/picture");
        let has =
            |answer: &Value| answer["round"] == round && answer["newest"] == round && answer["kept"] == 1;
        let maps: Vec<_> = answers.iter().map(|answer| mapped(answer["pid"].as_u64().unwrap())).collect();
        let same = maps.iter().all(|one| *one == maps[0] && one.len() == count);
        (same && answers.iter().all(has)).then(|| maps[0].clone())
    })
}

#[test]
fn shared_bytes_are_in_one_memory_for_all_workers_and_stay_while_somebody_holds_them() {
    let config = |rounds| format!("[states]\npicture_bytes = {}\nbulk_rounds = {rounds}", 4 * MIB);
    let options = [FAST, &["--workers", "8"]].concat();
    let cluster = Cluster::start_at(site(&config(1)), &options);
    let first = await_picture(&cluster, 1, 1);
    cluster.site().configure("default.toml", &config(7));
    let both = await_picture(&cluster, 7, 2);
    assert!(both.is_superset(&first), "the first is kept, those between are gone: {first:?} {both:?}");
    // The next agent publishes anew, from the first round on.
    let agent = cluster.status().agent.process.pid.unwrap();
    kill(agent);
    let is_next = |status: &Status| status.agent.process.pid.is_some_and(|pid| pid != agent);
    let _ = cluster.wait_for("the next agent", is_next);
    cluster.site().configure("default.toml", &config(9));
    let last = await_picture(&cluster, 9, 2);
    assert!(last.is_superset(&first) && last != both, "{first:?} {both:?} {last:?}");
}

/// All of the machine's; others use it, too, so that it is shown and not judged.
fn shared_memory() -> String {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    table.lines().find(|line| line.starts_with("Shmem:")).unwrap_or_default().to_owned()
}

#[test]
fn a_version_is_everywhere_when_the_worker_that_holds_it_up_is_dead() {
    let cluster = large(CHUNK, 1, "2");
    await_file(&cluster, "everywhere-1");
    let stopped = cluster.status().workers[0].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    cluster.site().configure("default.toml", &config(CHUNK, 2));
    await_file(&cluster, "late-2");
    assert!(!cluster.site().dir().join("everywhere-2").exists());
    kill(stopped);
    await_file(&cluster, "everywhere-2");
}

/// No further descriptors for a process, until it gets back the limit that is returned.
fn limit_files(pid: u32, limit: Option<Rlimit>) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let none = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    prlimit(pid, Resource::Nofile, limit.unwrap_or(none)).unwrap()
}

#[test]
fn a_worker_without_free_descriptors_lives_on_and_gets_the_newest_version_when_it_has_some() {
    let cluster = large(2 * MIB, 1, "2");
    await_file(&cluster, "everywhere-1");
    let pid = cluster.status().workers[1].process.pid.unwrap();
    let limit = limit_files(pid, None);
    cluster.site().configure("default.toml", &config(2 * MIB, 5));
    await_file(&cluster, "late-5");
    assert!(!cluster.site().dir().join("everywhere-5").exists());
    let lost = "of the state `bulk` found no place here, for the limit of open files is reached";
    eventually("the worker says so", || {
        log_lines(cluster.site(), "web", lost).first().map(|line| assert!(line.contains("web.1"), "{line}"))
    });
    limit_files(pid, Some(limit));
    await_file(&cluster, "everywhere-5");
    await_round(&cluster, 5, 2 * MIB);
    assert_eq!(cluster.status().workers[1].process.pid, Some(pid));
}

#[test]
fn a_master_without_free_descriptors_refuses_a_large_version_and_takes_the_next() {
    let cluster = large(2 * MIB, 1, "1");
    await_file(&cluster, "everywhere-1");
    let agent = cluster.status().agent.process.pid;
    let limit = limit_files(cluster.pid(), None);
    cluster.site().configure("default.toml", &config(2 * MIB, 2));
    await_file(&cluster, "refused-2");
    let refused = fs::read_to_string(cluster.site().dir().join("refused-2")).unwrap();
    assert!(refused.contains("the memory of the state `bulk` found no place in the master"), "{refused}");
    limit_files(cluster.pid(), Some(limit));
    cluster.site().configure("default.toml", &config(2 * MIB, 3));
    await_file(&cluster, "everywhere-3");
    await_round(&cluster, 3, 2 * MIB);
    assert_eq!(cluster.status().agent.process.pid, agent);
}
