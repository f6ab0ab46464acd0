//! What the service manager hears; here it is a socket of the test's.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hatchery::testing::{PATIENCE, Site, eventually, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, Running, kill, missing, probe, processes_in, site, stderr, uninterrupted};

/// Listens where `NOTIFY_SOCKET` leads.
struct Ear {
    socket: UnixDatagram,
    name: String,
    heard: Vec<String>,
}

impl Ear {
    fn at_path(site: &Site) -> Self {
        let path = site.dir().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, name: path.to_str().unwrap().to_owned(), heard: Vec::new() }
    }

    fn abstract_one(site: &Site) -> Self {
        let name = site.dir().file_name().unwrap().to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { socket, name: format!("@{name}"), heard: Vec::new() }
    }

    /// One message, if one comes in time.
    fn message(&mut self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = [0; 4096];
        let length = uninterrupted(|| self.socket.recv(&mut bytes)).ok()?;
        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
        self.heard.extend(message.lines().map(str::to_owned));
        Some(message)
    }

    /// Listens until a line begins with `wanted`, and returns that line.
    fn until(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.message(deadline.saturating_duration_since(Instant::now()).max(TICK));
            let message = message.unwrap_or_else(|| panic!("never heard {wanted}, only {:?}", self.heard));
            if let Some(line) = message.lines().find(|line| line.starts_with(wanted)) {
                return line.to_owned();
            }
        }
    }

    fn has_heard(&self, beginning: &str) -> bool {
        self.heard.iter().any(|line| line.starts_with(beginning))
    }

    fn start(&self, site: &Site, variables: &[(&str, &str)]) -> Running {
        let mut command = site.command(&["start", "--listen", "127.0.0.1:0", "--workers", "2"]);
        command.args(FAST).env("NOTIFY_SOCKET", &self.name).envs(variables.iter().copied());
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

const TICK: Duration = Duration::from_millis(1);

#[test]
fn the_service_manager_hears_of_a_whole_life() {
    let site = site("worker = 'wait'");
    let mut ear = Ear::at_path(&site);
    let master = ear.start(&site, &[]);
    ear.until("STATUS=starting: 0 of 2 workers ready");
    assert_eq!(ear.heard[0], format!("MAINPID={}", master.0.id()));
    assert!(ear.has_heard("EXTEND_TIMEOUT_USEC=10000000"));
    // That was for the agent; five seconds later it is the workers that take their time.
    ear.until("EXTEND_TIMEOUT_USEC=10000000");
    assert!(!ear.has_heard("READY"), "{:?}", ear.heard);

    std::fs::write(site.dir().join("go"), "").unwrap();
    ear.until("READY=1");
    assert_eq!(ear.heard.last().unwrap(), "STATUS=running: 2 of 2 workers ready");
    kill(site.status().unwrap().workers[1].process.pid.unwrap());
    ear.until("STATUS=degraded: 1 of 2 workers ready");
    ear.until("STATUS=running: 2 of 2 workers ready");

    ear.heard.clear();
    send_signal(master.0.id(), Signal::TERM);
    ear.until("STATUS=stopping: 1 process left");
    assert_eq!(
        ear.heard[..3],
        ["STOPPING=1", "STATUS=stopping: 3 processes left", "EXTEND_TIMEOUT_USEC=10000000"]
    );
    assert!(!ear.has_heard("READY") && !ear.has_heard("WATCHDOG"), "{:?}", ear.heard);
}

#[test]
fn the_service_manager_hears_when_a_reload_begins_and_when_it_is_over() {
    let site = site("");
    let mut ear = Ear::at_path(&site);
    let master = ear.start(&site, &[]);
    ear.until("READY=1");
    let mut last = 0;
    for failing in [false, true] {
        if failing {
            site.configure("default.toml", "greting = 'x'");
        }
        ear.heard.clear();
        send_signal(master.0.id(), Signal::HUP);
        let time = ear.until("MONOTONIC_USEC=");
        assert_eq!(ear.heard[0], "RELOADING=1");
        let time: u64 = time["MONOTONIC_USEC=".len()..].parse().unwrap();
        assert!(time > last, "{time} after {last}");
        last = time;
        ear.until("READY=1");
    }
}

#[test]
fn an_abstract_socket_hears_the_same() {
    let site = site("");
    let mut ear = Ear::abstract_one(&site);
    let _master = ear.start(&site, &[]);
    ear.until("READY=1");
}

#[test]
fn the_watchdog_is_fed_by_the_loop_alone() {
    let site = site("");
    let mut ear = Ear::at_path(&site);
    let master = ear.start(&site, &[("WATCHDOG_USEC", "200000")]);
    ear.until("READY=1");
    let mut middle_gap = || {
        let mut gaps: Vec<Duration> = (0..9)
            .map(|_| {
                let began = Instant::now();
                ear.until("WATCHDOG=1");
                began.elapsed()
            })
            .collect();
        gaps.sort();
        gaps[4]
    };
    // A busy machine may delay a few of them, and many for some time.
    eventually("it is fed in time", || (middle_gap() < Duration::from_millis(200)).then_some(()));

    send_signal(master.0.id(), Signal::STOP);
    let left = (0..100).find(|_| ear.message(Duration::from_secs(1)).is_none());
    assert!(left.is_some(), "a stopped master gives no sign of life");
    send_signal(master.0.id(), Signal::CONT);
    ear.until("WATCHDOG=1");
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_not_fed() {
    let site = site("");
    let mut ear = Ear::at_path(&site);
    let _master = ear.start(&site, &[("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]);
    ear.until("READY=1");
    assert!(!ear.has_heard("WATCHDOG"), "{:?}", ear.heard);
}

#[test]
fn a_start_that_fails_is_told_with_its_reason_and_never_as_ready() {
    let anywhere = &["--listen", "127.0.0.1:0"][..];
    for (config, options, reason) in [
        ("worker = 'error'", anywhere, "the start failed after 3 attempts: web."),
        ("small = 300", anywhere, "config/default.toml:1:9: small: "),
        ("greting = 'x'", anywhere, "config/default.toml:1:1: unknown key `greting`"),
        (
            "[http]\nlisten = ['unix:']",
            &[],
            "config/default.toml:2:11: http.listen[0]: cannot listen on unix:: ",
        ),
    ] {
        let site = site(config);
        let mut ear = Ear::at_path(&site);
        let mut command = site.command(&["start", "--workers", "1"]);
        command.args(options).env("NOTIFY_SOCKET", &ear.name);
        let _master = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        ear.until(&format!("STATUS=failed: {reason}"));
        assert!(!ear.has_heard("READY"), "{:?}", ear.heard);
    }
}

#[test]
fn the_unit_files_in_the_docs_are_good() {
    if missing("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let docs = include_str!("../docs/systemd.md");
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]);
    for unit in docs.split("```ini\n# ").skip(1) {
        let (name, rest) = unit.split_once('\n').unwrap();
        let text = rest.split("```").next().unwrap().replace("/opt/shop/shop", probe().to_str().unwrap());
        std::fs::write(folder.path().join(name), text).unwrap();
        command.arg(folder.path().join(name));
    }
    assert_eq!(command.get_args().count(), 4, "two commands and two units");
    let output = command.output().unwrap();
    // A key that systemd does not know is a warning to it.
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

/// Kills what a test left in the background.
struct Background<'a>(&'a Site);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        processes_in(self.0.dir()).into_iter().for_each(kill);
    }
}

#[test]
fn a_master_in_the_background_speaks_for_itself_and_feeds_the_watchdog_of_its_starter() {
    let site = site("");
    let mut ear = Ear::at_path(&site);
    let _background = Background(&site);
    let start = site.command(&["start", "--daemon", "--listen", "127.0.0.1:0", "--workers", "1"]);
    let mut command = Command::new("sh");
    command.args(["-c", "export WATCHDOG_PID=$$; exec \"$0\" \"$@\""]);
    command.arg(start.get_program()).args(start.get_args()).current_dir(site.dir());
    command.env("NOTIFY_SOCKET", &ear.name).env("WATCHDOG_USEC", "200000");
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    // It was said before the command returned.
    ear.until("READY=1");
    let pid = site.status().unwrap().master.pid;
    assert_eq!(ear.heard[0], format!("MAINPID={pid}"));
    ear.until("WATCHDOG=1");
}
