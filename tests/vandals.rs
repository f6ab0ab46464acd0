//! Children that say what no child should: the link of such a one is closed and it is replaced, and nobody else notices.

use std::fs;
use std::process::{Command, Stdio};

use hatchery::Reason;
use hatchery::status::{ClusterState, ProcessStatus, Status};
use hatchery::testing::{Cluster, Site, eventually, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, log_lines, logged};
use crate::load::Load;

/// Two honest workers, and so many vandals.
fn vandals(count: usize) -> Cluster {
    let site = Site::new(env!("CARGO_BIN_EXE_vandal"));
    site.configure("default.toml", &format!("[groups.jobs]\nworkers = {count}\n"));
    let options = ["--workers", "2", "--set", "cluster.heartbeat_timeout=0s"];
    Cluster::start_at(site, &[FAST, &options].concat())
}

/// The process of the vandal `index`.
fn vandal(status: &Status, index: usize) -> &ProcessStatus {
    let mut jobs = status.workers.iter().filter(|worker| worker.group == "jobs");
    &jobs.nth(index).expect("a vandal").process
}

/// Has the first vandal do something.
fn order(cluster: &Cluster, deed: &str) {
    let dir = cluster.site().dir();
    let _ = fs::remove_file(dir.join("done.0"));
    fs::write(dir.join("order"), deed).unwrap();
    fs::rename(dir.join("order"), dir.join("deed.0")).unwrap();
}

/// Waits until the deed is done by one who is left alone.
fn await_done(cluster: &Cluster, deed: &str) {
    let done = cluster.site().dir().join("done.0");
    eventually(deed, || done.exists().then_some(()));
}

fn await_successor(cluster: &Cluster, deed: &str, victim: Option<u32>) -> Status {
    cluster.wait_for(deed, |status| status.state == ClusterState::Running && vandal(status, 0).pid != victim)
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default()
}

/// The most memory that the master has had, in bytes.
fn peak(cluster: &Cluster) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_process_that_breaks_the_rules_is_replaced_and_nobody_else_notices() {
    let cluster = vandals(1);
    let (first, files) = (cluster.status(), open_files(cluster.pid()));
    let report = Load::new(cluster.address()).clients(2).run_while(|| {
        for (deed, problem) in [
            ("length", "a frame of 4294967295 bytes is over the limit of 67108864"),
            ("kind", "the frame kind 200 is unknown"),
            ("flags", "a frame has the flags 0x80"),
            ("address", "an address of the unknown form 77"),
            ("topic", "a topic is not UTF-8"),
            ("topic-length", "a topic of 9 bytes does not fit a frame of 3"),
            ("trailing", "bytes are left over"),
            ("nesting", "depth limit exceeded"),
            ("nested-words", "depth limit exceeded"),
            ("hello", "said hello twice"),
            ("masters", "which is not its own to send"),
            ("forgery", "it sent mail in somebody else's name"),
            ("large", "it sent mail of 10485805 bytes, far over bus.message_limit"),
            ("reserved", "`hatchery.exited`, which belongs to the framework"),
            ("descriptors", "descriptors came that no frame announces"),
            ("carried", "a frame of the kind Pulse announces 50 descriptors, where 0 are the most"),
            ("lost", "says its descriptors were lost"),
            ("missing-descriptors", "a frame announces 3 descriptors and came with 0"),
            ("welcomed", "a frame of the kind Welcome announces 250 descriptors, where 0 are the most"),
            ("unread-questions", "bytes already wait for this process"),
            ("unread-receipts", "bytes already wait for this process"),
        ] {
            let victim = vandal(&cluster.status(), 0).pid;
            let before = log_lines(cluster.site(), "master", problem).len();
            order(&cluster, deed);
            let status = await_successor(&cluster, deed, victim);
            let exit = vandal(&status, 0).last_exit.clone().map(|exit| exit.reason);
            assert_eq!(exit, Some(Reason::LinkLost), "{deed}");
            let lines = logged(cluster.site(), "master", problem, before + 1);
            assert!(lines.iter().all(|line| line.contains("jobs.0")), "{deed}: {lines:?}");
        }
        let victim = vandal(&cluster.status(), 0).pid;
        order(&cluster, "death");
        await_successor(&cluster, "death", victim);
    });
    report.assert_flawless();
    let last = cluster.status();
    let honest = |status: &Status| {
        (status.agent.process.pid, status.workers[0].process.pid, status.workers[1].process.pid)
    };
    assert_eq!(honest(&first), honest(&last));
    eventually("no descriptor stays open", || (open_files(cluster.pid()) <= files + 1).then_some(()));
    let grown = last.master.usage.rss_bytes.saturating_sub(first.master.usage.rss_bytes);
    assert!(grown < 32 << 20, "the master grew by {grown} bytes");
    assert!(peak(&cluster) < 320 << 20, "the master had {} bytes", peak(&cluster));
}

#[test]
fn a_process_that_floods_the_master_costs_nobody_anything() {
    let cluster = vandals(2);
    let first = cluster.status();
    send_signal(vandal(&first, 1).pid.unwrap(), Signal::STOP);
    let report = Load::new(cluster.address()).clients(2).run_while(|| {
        for deed in ["replies", "cancels", "questions", "waiting-questions", "nested-mail", "million", "half"]
        {
            order(&cluster, deed);
            await_done(&cluster, deed);
            assert!(cluster.status().bus.queued_bytes < 16 << 20, "{deed}");
        }
    });
    report.assert_flawless();
    let last = cluster.status();
    let grown = last.master.usage.rss_bytes.saturating_sub(first.master.usage.rss_bytes);
    // Of these 40 MiB are the half frame.
    assert!(grown < 72 << 20, "the master grew by {grown} bytes");
    let pids = |status: &Status| status.workers.iter().map(|worker| worker.process.pid).collect::<Vec<_>>();
    assert_eq!(
        (pids(&first), first.agent.process.pid),
        (pids(&last), last.agent.process.pid),
        "nobody ended"
    );
    assert_eq!(last.state, ClusterState::Running);
}

/// How many mappings of memory files a process has.
fn mapped(pid: u32) -> usize {
    fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().matches("/memfd:").count()
}

#[test]
fn an_agent_that_publishes_what_is_no_sealed_memory_harms_nobody() {
    let site = Site::new(env!("CARGO_BIN_EXE_vandal"));
    site.configure("default.toml", "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vandal"));
    command.args(["start", "--listen", "127.0.0.1:0", "--workers", "2"]).args(FAST);
    command.args(["--set", "cluster.heartbeat_timeout=0s"]).env("VANDAL_AGENT", "1");
    command.current_dir(site.dir()).stdin(Stdio::null());
    let cluster = Cluster::start_by(command, site);
    let (first, files) = (cluster.status(), open_files(cluster.pid()));
    let peak_before = peak(&cluster);
    fs::write(cluster.site().dir().join("order"), "memory").unwrap();
    fs::rename(cluster.site().dir().join("order"), cluster.site().dir().join("deed.99")).unwrap();
    eventually("the deed", || cluster.site().dir().join("done.99").exists().then_some(()));
    let last = cluster.wait_for("all is published that can be", |status| {
        status.states.iter().any(|state| state.name == "words" && state.version == 20)
    });
    assert!(last.states.iter().all(|state| ["words", "config"].contains(&&*state.name)), "{:?}", last.states);
    let problem = "the state `words` cannot be decoded as `vandal::Words`: invalid type: integer";
    eventually(problem, || (!log_lines(cluster.site(), "web", problem).is_empty()).then_some(()));
    let pids = |status: &Status| status.workers.iter().map(|worker| worker.process.pid).collect::<Vec<_>>();
    assert_eq!((pids(&first), first.agent.process.pid), (pids(&last), last.agent.process.pid));
    for worker in pids(&last).into_iter().flatten() {
        assert_eq!(mapped(worker), 0);
    }
    // The newest version stays with the master.
    eventually("no descriptor stays open", || (open_files(cluster.pid()) <= files + 2).then_some(()));
    assert!(peak(&cluster) < peak_before + (32 << 20), "the master had {} bytes", peak(&cluster));
}
