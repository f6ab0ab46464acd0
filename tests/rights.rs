//! A master that is root with agent and workers that are not. These tests take root; without it they say so
//! and end.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use hatchery::status::{ClusterState, Status};
use hatchery::testing::{Cluster, Site, eventually, is_running, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, Port, Running, kill, log_lines, pids, probe, site, stderr};

mod commands;
mod files;

/// The user that workers become here.
struct Nobody {
    uid: u32,
    gid: u32,
}

/// `None` where these tests cannot be run.
fn nobody() -> Option<Nobody> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start processes of another user");
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("nobody:")).expect("the user nobody");
    let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    Some(Nobody { uid: ids[0], gid: ids[1] })
}

const AS_NOBODY: &[&str] = &["--set", "cluster.user=nobody"];

/// A cluster whose children are nobody.
fn cluster(config: &str) -> Cluster {
    Cluster::start_at(site(config), &[FAST, AS_NOBODY].concat())
}

/// The values of a line such as `Uid:` in `/proc/PID/status`.
fn ids(pid: u32, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// By another process: a test beside this one may spawn while the copy is open for writing here, and its child
/// would keep the copy from being executed for a moment.
fn copy_probe(to: &Path) {
    assert!(std::process::Command::new("cp").arg(probe()).arg(to).status().unwrap().success());
}

fn assert_is_nobody(pid: u32, nobody: &Nobody) {
    assert_eq!(ids(pid, "Uid:"), [nobody.uid; 4]);
    assert_eq!(ids(pid, "Gid:"), [nobody.gid; 4]);
    assert_eq!(ids(pid, "Groups:"), [nobody.gid]);
    assert_eq!(ids(pid, "NoNewPrivs:"), [1]);
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["CapPrm:", "CapEff:", "CapAmb:"] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    // Its own `/proc/self` is its own.
    assert_eq!(fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(), nobody.uid);
}

fn replaced(cluster: &Cluster, victim: u32) -> Status {
    cluster.wait_for("a replacement", |status| {
        status.state == ClusterState::Running && pids(status).len() == 3 && !pids(status).contains(&victim)
    })
}

#[test]
fn agent_and_workers_are_the_user_and_the_master_stays_root() {
    let Some(nobody) = nobody() else { return };
    let mut cluster = cluster("greeting = 'hi'");
    assert_eq!(ids(cluster.pid(), "Uid:"), [0; 4]);
    let status = cluster.status();
    assert_eq!(pids(&status).len(), 3);
    pids(&status).into_iter().for_each(|pid| assert_is_nobody(pid, &nobody));
    assert!(status.workers.iter().all(|worker| worker.process.usage.rss_bytes > 0));
    for index in 0..3 {
        let victim = pids(&cluster.status())[index];
        kill(victim);
        pids(&replaced(&cluster, victim)).into_iter().for_each(|pid| assert_is_nobody(pid, &nobody));
    }
    assert_eq!(cluster.get("/").body, "hi");
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn a_group_of_its_own_and_numbers_are_taken() {
    let Some(nobody) = nobody() else { return };
    let options = ["--set", "cluster.user=4000000001", "--set", "cluster.group=4000000002"];
    let cluster = Cluster::start_at(site(""), &[FAST, &options].concat());
    for pid in pids(&cluster.status()) {
        assert_eq!(ids(pid, "Uid:"), [4_000_000_001; 4]);
        assert_eq!([ids(pid, "Gid:"), ids(pid, "Groups:")].concat(), [4_000_000_002; 5]);
    }
    let options = ["--set", "cluster.group=daemon"];
    let cluster = Cluster::start_at(site(""), &[FAST, AS_NOBODY, &options].concat());
    for pid in pids(&cluster.status()) {
        assert_eq!((ids(pid, "Uid:"), ids(pid, "Gid:")), (vec![nobody.uid; 4], vec![1; 4]));
    }
}

#[test]
fn a_port_below_1024_is_bound_by_the_master() {
    let Some(_) = nobody() else { return };
    let Some(port) = (600..1024).rev().find_map(Port::hold) else {
        eprintln!("skipped: there is no free port below 1024");
        return;
    };
    let options = [FAST, AS_NOBODY, &["--listen", &port.address]].concat();
    let cluster = Cluster::start_at(site("greeting = 'low'"), &options);
    assert_eq!(cluster.get("/").body, "low");
}

#[test]
fn a_program_that_only_root_can_reach_runs_as_the_user() {
    let Some(nobody) = nobody() else { return };
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("probe");
    copy_probe(&program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let site = Site::new(&program);
    let cluster = Cluster::start_at(site, &[FAST, AS_NOBODY].concat());
    let victim = pids(&cluster.status())[1];
    kill(victim);
    pids(&replaced(&cluster, victim)).into_iter().for_each(|pid| assert_is_nobody(pid, &nobody));
}

#[test]
fn the_user_of_the_workers_cannot_control_the_master() {
    let Some(nobody) = nobody() else { return };
    let cluster = cluster("");
    let (dir, run) = (cluster.site().dir(), cluster.site().dir().join("run"));
    let program = dir.join("probe");
    copy_probe(&program);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&run), mode(&run.join("control.sock"))), (0o700, 0o600));
    let stop_as_nobody = || {
        let mut command = std::process::Command::new(&program);
        command.args(["stop", "--fast"]).current_dir(dir).uid(nobody.uid).gid(nobody.gid);
        command.output().unwrap().status.code()
    };
    assert_ne!(stop_as_nobody(), Some(0));
    // Even where the files would let it in.
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(run.join("control.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_ne!(stop_as_nobody(), Some(0));
    let words = format!("of user {} may not control", nobody.uid);
    eventually("it is logged", || {
        (!log_lines(cluster.site(), "master.log", &words).is_empty()).then_some(())
    });
    assert_eq!(cluster.status().state, ClusterState::Running);
}

#[test]
fn a_stopped_child_of_another_user_does_not_outlive_its_master() {
    let Some(_) = nobody() else { return };
    let mut cluster = cluster("");
    let children = pids(&cluster.status());
    assert_eq!(children.len(), 3);
    children.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    kill(cluster.pid());
    cluster.wait();
    eventually("the children end", || (!children.iter().any(|pid| is_running(*pid))).then_some(()));
}

/// Starts with these options, which must fail with this code, and returns what was said.
fn failed_start(site: &Site, options: &[&str], code: i32) -> String {
    let running = Running::start(site, options);
    let output = running.output();
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn an_unknown_account_is_told_with_its_place() {
    let table = [
        ("[cluster]\nuser = 'no-such-one'", "config/default.toml:2:8: cluster.user: there is no user"),
        ("[cluster]\nuser = 'nobody'\ngroup = 'none'", "config/default.toml:3:9: cluster.group: there is no"),
        ("[cluster]\ngroup = 'daemon'", "config/default.toml:2:9: cluster.group: the group has no meaning"),
        ("[cluster]\nuser = true", "config/default.toml:2:8: cluster.user: "),
    ];
    for (config, expected) in table {
        let said = failed_start(&site(config), &[], 78);
        assert!(said.starts_with(&format!("error: {expected}")), "{said}");
        let checked = site(config).run(&["config", "check"]);
        assert_eq!(checked.status.code(), Some(78));
        assert_eq!(stderr(&checked), said);
    }
}

#[test]
fn only_root_starts_workers_as_another_user() {
    let Some(nobody) = nobody() else { return };
    let site = site("[cluster]\nuser = 'root'");
    // Root that stays root has nothing to do.
    drop(Cluster::start_at(self::site("[cluster]\nuser = 'root'"), FAST));
    let program = site.dir().join("probe");
    copy_probe(&program);
    chown(site.dir(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    let start = |user: &str| {
        let user = format!("cluster.user={user}");
        let mut command = std::process::Command::new(&program);
        let listen = ["start", "--listen", "127.0.0.1:0", "--workers", "1", "--set", &user];
        command.args(listen).args(["--set", "worker=leave", "--set", "cluster.restart_delay=1ms"]);
        command.current_dir(site.dir()).uid(nobody.uid).gid(nobody.gid).output().unwrap()
    };
    let refused = start("root");
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("cluster.user: only root can run workers as another user"));
    // Its own user is no change; that start gets as far as its workers, which leave.
    let own = start("nobody");
    assert_eq!(own.status.code(), Some(75), "{}", stderr(&own));
}

/// The output of a start by a root whom `setpriv` has taken or given something; `None` without that program.
fn start_with(restriction: &[&str]) -> Option<std::process::Output> {
    let site = site("");
    let mut command = std::process::Command::new("setpriv");
    command.args(restriction).arg(probe()).args(["start", "--listen", "127.0.0.1:0", "--workers", "1"]);
    let output = command.args(FAST).args(AS_NOBODY).current_dir(site.dir()).output();
    if output.is_err() {
        eprintln!("skipped: there is no setpriv");
    }
    output.ok()
}

#[test]
fn a_child_that_cannot_give_up_its_rights_for_good_does_not_run() {
    let Some(_) = nobody() else { return };
    let table: [(&[&str], &str); 2] = [
        (&["--bounding-set", "-setuid", "--inh-caps", "-setuid"], "the user: Operation not permitted"),
        (&["--securebits", "+no_setuid_fixup"], "making sure: it could become root again"),
    ];
    for (restriction, expected) in table {
        let Some(output) = start_with(restriction) else { return };
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
