//! Log files: who writes where, and rotation without a lost line.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use hatchery::status::ClusterState;
use hatchery::testing::{Cluster, eventually};
use rustix::process::Signal;

use crate::harness::{FAST, cluster, log_lines, site};

const ROTATING: &[&str] = &[
    "--set",
    "log_rotation.max_size=64KiB",
    "--set",
    "log_rotation.check_interval=5ms",
    "--set",
    "log_rotation.keep=0",
];

/// Removes a log folder; while it is emptied, somebody may open a new file in it.
pub(crate) fn remove_folder(logs: &Path) {
    eventually("the folder is removed", || fs::remove_dir_all(logs).ok());
}

/// The files that a log was, before it was rotated.
fn rotated(cluster: &Cluster, name: &str) -> Vec<String> {
    let entries = fs::read_dir(cluster.site().dir().join("logs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|file| file.starts_with(&format!("{name}."))).collect()
}

#[test]
fn every_line_is_there_exactly_once_over_rotations_by_size() {
    const LINES: u32 = 100;
    let mut cluster = Cluster::start_at(site(""), &[FAST, ROTATING].concat());
    let next = AtomicU32::new(0);
    // Until there were some rotations, however slow the machine is.
    let write = || {
        let mut writers = BTreeSet::new();
        while rotated(&cluster, "web.log").len() < 8 || writers.len() < 2 {
            let from = next.fetch_add(LINES, Ordering::Relaxed);
            writers.insert(cluster.get(&format!("/log?from={from}&count={LINES}")).body);
        }
        writers
    };
    let writers: BTreeSet<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(writers.len(), 2, "both workers have written");
    let status = cluster.status();
    assert_eq!(status.workers.iter().map(|worker| worker.lost_log_lines).sum::<u64>(), 0);
    assert_eq!(cluster.stop().code(), Some(0));

    let mut seen: HashMap<u32, u32> = HashMap::new();
    for line in log_lines(cluster.site(), "web.log", "numbered line ") {
        let number = line.rsplit_once(' ').and_then(|(_, number)| number.parse().ok());
        *seen.entry(number.unwrap_or_else(|| panic!("a torn line: {line}"))).or_default() += 1;
    }
    assert_eq!(seen.len(), next.into_inner() as usize);
    assert!(seen.values().all(|count| *count == 1));
}

#[test]
fn an_agent_that_dies_while_it_rotates_leaves_no_writer_behind() {
    let cluster = Cluster::start_at(site(""), &[FAST, ROTATING].concat());
    let current = cluster.site().dir().join("logs/web.log");
    for round in 0..20 {
        assert_eq!(cluster.get(&format!("/log?from={}&count=800", round * 800)).code, 200);
        let victim = cluster.status().agent.process.pid.unwrap();
        crate::harness::kill(victim);
        let _ = cluster.wait_for("a new agent", |status| {
            status.state == ClusterState::Running && status.agent.process.pid != Some(victim)
        });
    }
    eventually("a line is in the file that bears the log's name", || {
        assert_eq!(cluster.get("/log?from=900000&count=1").code, 200);
        std::fs::read_to_string(&current)
            .is_ok_and(|text| text.contains("numbered line 900000"))
            .then_some(())
    });
}

#[test]
fn only_so_many_rotated_files_are_kept() {
    let cluster = Cluster::start_at(site(""), &[FAST, ROTATING, &["--set", "log_rotation.keep=2"]].concat());
    let count = || rotated(&cluster, "web.log");
    let newest =
        || count().iter().filter_map(|name| name.rsplit('.').next()?.parse::<u32>().ok()).max().unwrap_or(0);
    let mut from = 0;
    eventually("several rotations", || {
        assert_eq!(cluster.get(&format!("/log?from={from}&count=500")).code, 200);
        from += 500;
        (newest() >= 5).then_some(())
    });
    eventually("the old ones are removed", || (count().len() <= 2).then_some(()));
}

#[test]
fn errors_are_also_in_the_file_for_errors() {
    let cluster = cluster("");
    assert_eq!(cluster.get("/panic").code, 500);
    for name in ["web.log", "error.log"] {
        eventually(name, || (!log_lines(cluster.site(), name, "a handler panics").is_empty()).then_some(()));
    }
}

#[test]
fn a_signal_makes_everybody_open_the_log_files_anew() {
    let cluster = cluster("");
    let logs = cluster.site().dir().join("logs");
    fs::rename(logs.join("web.log"), logs.join("web.old")).unwrap();
    fs::rename(logs.join("master.log"), logs.join("master.old")).unwrap();
    cluster.signal(Signal::USR1);
    eventually("the new files", || {
        (logs.join("web.log").exists() && logs.join("master.log").exists()).then_some(())
    });
}

#[test]
fn a_log_folder_that_was_removed_is_made_again() {
    let cluster = cluster("[log_rotation]\ncheck_interval = '5ms'");
    let logs = cluster.site().dir().join("logs");
    remove_folder(&logs);
    eventually("the new files", || {
        assert_eq!(cluster.get("/log?from=7&count=1").code, 200);
        (logs.exists() && !log_lines(cluster.site(), "web.log", "numbered line 7").is_empty()).then_some(())
    });
}
