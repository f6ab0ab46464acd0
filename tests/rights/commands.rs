//! Groups that are other programs, of a master that is root.

use std::fs;

use hatchery::testing::{Cluster, Site};

use super::{AS_NOBODY, assert_is_nobody, nobody};
use crate::harness::missing;

#[test]
fn another_program_is_started_as_nobody_and_has_no_way_back() {
    let Some(nobody) = nobody() else { return };
    if missing("/usr/bin/python3") {
        return;
    }
    let site = Site::new(env!("CARGO_BIN_EXE_python"));
    fs::write(site.dir().join("worker.py"), include_str!("../../framework/examples/python/worker.py"))
        .unwrap();
    let mut command = site.command(&["start", "--listen", "127.0.0.1:0", "--workers", "1"]);
    // What lies in a home of root's is not for everybody.
    command.args(AS_NOBODY).env("PATH", "/usr/bin:/bin");
    let cluster = Cluster::start_by(command, site);
    let status = cluster.status();
    let worker = status.workers.iter().find(|worker| worker.group == "py").expect("a worker in Python");
    let pid = worker.process.pid.expect("a process");
    assert_is_nobody(pid, &nobody);
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let own = environment.split('\0').filter(|variable| variable.starts_with("HATCHERY_"));
    let mut names: Vec<&str> = own.filter_map(|variable| variable.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HATCHERY_APP_DIR", "HATCHERY_BUILD", "HATCHERY_ROLE"]);
    assert_eq!(cluster.get("/ask/what%20is%206%20times%207").body, "42");
}
