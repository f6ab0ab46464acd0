//! Why processes ended: the reason, the last words, and what they leave behind.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use hatchery::status::ClusterState;
use hatchery::testing::{Cluster, PATIENCE, Site, eventually, is_running, send_signal};
use hatchery::{Exit, Reason};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::harness::{
    FAST, Running, assert_said_once, cluster, kill, log_lines, logged, processes_in, site, stderr,
};

/// How the process before the present one of `web.0` ended, once somebody else is in its place.
fn last_exit(cluster: &Cluster, before: u32) -> Exit {
    let after = cluster.wait_for("a replacement", |status| {
        status.state == ClusterState::Running
            && status.workers[0].process.pid.is_some_and(|pid| pid != before)
    });
    after.workers[0].process.last_exit.clone().unwrap()
}

fn worker(cluster: &Cluster) -> u32 {
    cluster.status().workers[0].process.pid.unwrap()
}

/// A cluster with one worker.
fn single(config: &str) -> Cluster {
    Cluster::start_at(site(config), &[FAST, &["--workers", "1"]].concat())
}

/// Lets the worker run a command of the shell that it leaves behind.
fn run(cluster: &Cluster, command: &str) -> u32 {
    let head = "POST /run HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length";
    let answer = cluster.exchange(format!("{head}: {}\r\n\r\n{command}", command.len()).as_bytes()).unwrap();
    answer.body.parse().unwrap_or_else(|_| panic!("{}", answer.body))
}

#[test]
fn a_process_that_aborts_is_told_by_its_last_line() {
    let cluster = single("");
    let before = worker(&cluster);
    let _ = cluster.try_get("/abort");
    let exit = last_exit(&cluster, before);
    assert_eq!((exit.reason, exit.signal.as_deref()), (Reason::Crashed, Some("SIGABRT")));
    assert!(exit.message.as_deref().unwrap().ends_with("the ledger is corrupt"), "{exit:?}");
}

#[test]
fn a_stack_that_overflows_is_told_in_the_runtimes_words() {
    let cluster = single("");
    let before = worker(&cluster);
    let _ = cluster.try_get("/overflow");
    let exit = last_exit(&cluster, before);
    assert_eq!(exit.reason, Reason::Crashed);
    assert!(exit.message.as_deref().unwrap().contains("has overflowed its stack"), "{exit:?}");
}

#[test]
fn an_allocation_that_fails_is_a_want_of_memory() {
    let cluster = single("");
    let before = worker(&cluster);
    let pid = Pid::from_raw(before.try_into().unwrap());
    let limit = Rlimit { current: Some(512 << 20), maximum: Some(512 << 20) };
    prlimit(pid, Resource::As, limit).unwrap();
    let _ = cluster.try_get("/exhaust");
    let exit = last_exit(&cluster, before);
    assert_eq!((exit.reason, exit.signal.as_deref()), (Reason::OutOfMemory, Some("SIGABRT")));
    assert!(exit.message.as_deref().unwrap().contains("memory allocation of"), "{exit:?}");
}

#[test]
fn a_signal_from_outside_is_a_crash_or_a_kill_without_a_message() {
    let cluster = single("");
    for (signal, name, reason) in
        [(Signal::ILL, "SIGILL", Reason::Crashed), (Signal::KILL, "SIGKILL", Reason::Killed)]
    {
        let before = worker(&cluster);
        send_signal(before, signal);
        let exit = last_exit(&cluster, before);
        assert_eq!((exit.reason, exit.signal.as_deref(), exit.message), (reason, Some(name), None));
    }
}

/// A control group below this process's own; removed at the end.
struct Group(PathBuf);

impl Group {
    /// With this limit of memory, if groups may be made here.
    fn limited(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path_of = |mark: &str| own.lines().find_map(|line| Some(line.split_once(mark)?.1.to_owned()));
        let old = path_of(":memory:").map(|path| format!("/sys/fs/cgroup/memory{path}"));
        let parent = old.or_else(|| path_of("0::").map(|path| format!("/sys/fs/cgroup{path}")))?;
        let group = Self(Path::new(&parent).join(format!("hatchery-test-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        let limits = ["memory.max", "memory.limit_in_bytes"];
        let limit = limits.iter().map(|name| group.0.join(name)).find(|file| file.exists())?;
        fs::write(limit, bytes.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel needs a moment to see that its last process is gone.
        if self.0.exists() {
            eventually("the control group is removed", || fs::remove_dir(&self.0).ok());
        }
    }
}

#[test]
fn a_kill_for_want_of_memory_is_told_from_a_kill_by_hand() {
    let Some(group) = Group::limited(256 << 20) else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    let site = site("");
    let mut command = Command::new("sh");
    let script = "echo $$ > \"$1/cgroup.procs\"; shift; exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(&group.0).current_dir(site.dir()).arg(crate::harness::probe());
    command.args(["start", "--listen", "127.0.0.1:0", "--workers", "1"]).args(FAST);
    // Declared after the group: everybody in it is gone when it is removed.
    let cluster = Cluster::start_by(command, site);
    let before = worker(&cluster);
    let _ = cluster.try_get("/exhaust");
    let exit = last_exit(&cluster, before);
    assert_eq!((exit.reason, exit.signal.as_deref()), (Reason::OutOfMemory, Some("SIGKILL")));
    assert_eq!(exit.to_string(), "ran out of memory (SIGKILL)");
    let next = worker(&cluster);
    kill(next);
    assert_eq!(last_exit(&cluster, next).reason, Reason::Killed);
    assert_said_once(cluster, "master.log", "at most 256 MiB of memory");
}

/// Asks a cluster of which nobody reads the output.
fn ask(site: &Site, path: &str) -> Vec<u8> {
    let line = eventually("it is ready", || fs::read_to_string(site.dir().join("run/ready")).ok());
    let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn what_children_write_to_stderr_is_passed_on() {
    let site = site("");
    let master = Running::start(&site, &["--set", "log.console=off"]);
    ask(&site, "/abort");
    let crashed = || (!log_lines(&site, "master.log", "the ledger is corrupt").is_empty()).then_some(());
    eventually("the end is noted", crashed);
    send_signal(master.0.id(), Signal::TERM);
    let output = master.output();
    assert!(stderr(&output).contains("the ledger is corrupt\n"), "{}", stderr(&output));
}

#[test]
fn a_child_that_writes_where_nobody_reads_is_not_held_up() {
    let site = site("");
    let _master = Running::start(&site, &[]);
    // Far more than two pipes hold.
    let answer = ask(&site, "/complain?bytes=3000000");
    assert!(answer.ends_with(b"\r\n\r\n0"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_flood_on_stderr_leaves_the_master_at_work() {
    let cluster = cluster("");
    let cpu = || cluster.status().master.usage.cpu_ms;
    let before = cpu();
    assert_eq!(cluster.get("/complain?bytes=20000000").body, "0");
    let spent = cpu() - before;
    assert!(spent < 2000, "{spent} ms for 20 MB");
}

/// Ends what was made to outlive its cluster.
struct Survivor(u32);

impl Drop for Survivor {
    fn drop(&mut self) {
        kill(self.0);
    }
}

/// The processes in the folder that are no part of the cluster.
fn others(cluster: &Cluster) -> Vec<u32> {
    let mut others = processes_in(cluster.site().dir());
    let status = cluster.status();
    let own = crate::harness::pids(&status);
    others.retain(|pid| !own.contains(pid) && *pid != cluster.pid() && is_running(*pid));
    others
}

#[test]
fn what_a_dead_worker_leaves_running_is_killed() {
    let cluster = single("");
    // Bounded: 2^6 processes, in the end.
    let crowd =
        "f() { if [ $1 -gt 0 ]; then f $(($1-1)) & f $(($1-1)) & wait; else exec sleep 1000; fi; }; f 6";
    // `timeout` makes a group of its own.
    let groups = "for i in 1 2 3 4 5 6 7 8 9 10; do timeout 1000 timeout 1000 sleep 1000 & done; wait";
    // It is still growing when its end comes, in a group that the end of the worker does not reach.
    let growing =
        "exec timeout 1000 sh -c 'i=0; while [ $i -lt 400 ]; do timeout 1000 sleep 1000 & i=$((i+1)); done'";
    let table = [
        ("a crowd that grows", growing, 20),
        ("a process in its group", "sleep 1000", 1),
        ("a process in a group of its own", "exec timeout 1000 sleep 1000", 2),
        ("processes in many groups", groups, 31),
        ("an orphan", "(sleep 1000 &) ; exec sleep 1000", 2),
        ("a crowd", crowd, 64),
    ];
    for (what, command, count) in &table {
        let before = worker(&cluster);
        run(&cluster, command);
        eventually(what, || (others(&cluster).len() >= *count).then_some(()));
        kill(before);
        last_exit(&cluster, before);
        assert_eq!(others(&cluster), [0; 0], "{what}");
        assert_eq!(crate::harness::zombies_of(cluster.pid()), [0; 0], "{what}");
    }
    let told = logged(cluster.site(), "master.log", "web.0 left processes behind", table.len());
    assert_eq!(told.len(), table.len(), "{told:?}");
}

#[test]
fn what_a_worker_leaves_that_was_asked_to_leave_is_killed_too() {
    let mut cluster = single("");
    let before = worker(&cluster);
    let left = run(&cluster, "exec sleep 1000");
    send_signal(before, Signal::TERM);
    assert_eq!(last_exit(&cluster, before).reason, Reason::Retired);
    assert!(!is_running(left));
    let left = run(&cluster, "exec sleep 1000");
    assert_eq!(cluster.stop().code(), Some(0));
    assert!(!is_running(left));
    assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
}

#[test]
fn a_process_with_a_session_of_its_own_is_left_alone() {
    let cluster = single("");
    let before = worker(&cluster);
    run(&cluster, "exec setsid sleep 1000");
    let daemon = eventually("the daemon runs", || {
        let of_its_own = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(3) == Some(&pid.to_string()))
        };
        others(&cluster).into_iter().find(of_its_own)
    });
    let daemon = Survivor(daemon);
    kill(before);
    last_exit(&cluster, before);
    assert!(is_running(daemon.0));
    // The master has taken it in, and takes leave of it.
    kill(daemon.0);
    eventually("it is gone", || (!Path::new(&format!("/proc/{}", daemon.0)).exists()).then_some(()));
}
