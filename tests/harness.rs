//! What several test files need: the probe app, and looking at processes from outside.

use std::fs;
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hatchery::ClusterEvent;
use hatchery::status::Status;
use hatchery::testing::{Answer, Cluster, PATIENCE, Site, eventually, send_signal};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// The app of these tests.
pub(crate) fn probe() -> PathBuf {
    env!("CARGO_BIN_EXE_probe").into()
}

/// A site of the probe with this `config/default.toml`.
pub(crate) fn site(config: &str) -> Site {
    let site = Site::new(probe());
    site.configure("default.toml", config);
    site
}

/// A copy of the probe in a folder of its own, so that a test can put another program under its name.
pub(crate) struct Program {
    dir: TempDir,
}

impl Program {
    fn new() -> Self {
        let program = Self { dir: tempfile::tempdir().expect("a folder for the program") };
        program.replace_by(&probe());
        program
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("probe")
    }

    /// Puts a copy of `other` in its place, as those do who install: under another name, then renamed.
    pub(crate) fn replace_by(&self, other: &Path) {
        let new = self.dir.path().join("new");
        // By a process of its own: what this one has open for writing while another test starts something cannot
        // be executed until that something has begun.
        let copied = Command::new("cp").args([other, &new]).status().expect("cp");
        assert!(copied.success(), "{} cannot be copied", other.display());
        fs::rename(new, self.path()).expect("the program's name");
    }
}

/// A running cluster of a copy of the probe, and the copy. Commands are given by the probe itself, for what takes
/// the copy's place may be no program that knows them.
pub(crate) fn cluster_of_copy(config: &str, options: &[&str]) -> (Cluster, Program) {
    let (site, program) = (site(config), Program::new());
    let mut command = Command::new(program.path());
    command.args(["start", "--listen", "127.0.0.1:0", "--workers", "2"]).args(FAST).args(options);
    command.current_dir(site.dir()).stdin(Stdio::null());
    (Cluster::start_by(command, site), program)
}

/// A running probe with this `config/default.toml`, and faster polling than by default.
pub(crate) fn cluster(config: &str) -> Cluster {
    Cluster::start_at(site(config), FAST)
}

/// Options for short tests: quick polling, and no growing patience with processes that die.
pub(crate) const FAST: &[&str] = &[
    "--set",
    "config_polling.interval=20ms",
    "--set",
    "cluster.stable_after=0s",
    "--set",
    "cluster.restart_delay=10ms",
];

/// A port of 127.0.0.1 that nobody gets by chance as long as this lives, whether or not anybody listens there by intent.
pub(crate) struct Port {
    _holder: OwnedFd,
    pub(crate) address: String,
}

impl Port {
    /// This port, or one that the kernel chooses if it is 0; `None` where somebody has it.
    pub(crate) fn hold(port: u16) -> Option<Self> {
        let flags = SocketFlags::CLOEXEC;
        let holder = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        bind(&holder, &SocketAddr::from(([127, 0, 0, 1], port))).ok()?;
        // From here on who says the same may listen there, as this socket never does.
        set_socket_reuseaddr(&holder, true).expect("an option of the socket");
        let address = SocketAddr::try_from(getsockname(&holder).expect("a name")).expect("an address");
        Some(Self { _holder: holder, address: address.to_string() })
    }
}

/// A child of the test, killed with it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts the app in the background of the test, without waiting for anything.
    pub(crate) fn start(site: &Site, options: &[&str]) -> Self {
        let mut command = site.command(&["start", "--listen", "127.0.0.1:0", "--workers", "2"]);
        command.args(FAST).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the probe"))
    }

    /// Starts the app where its configuration says, without waiting for anything.
    pub(crate) fn as_configured(site: &Site) -> Self {
        let mut command = site.command(&["start", "--workers", "2"]);
        command.args(FAST).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the probe"))
    }

    /// What it has said when it has ended.
    pub(crate) fn await_output(mut self) -> Output {
        eventually("the command ends", || self.0.try_wait().expect("a child"));
        self.output()
    }

    pub(crate) fn output(mut self) -> Output {
        let child = std::mem::replace(&mut self.0, Command::new("true").spawn().expect("true"));
        child.wait_with_output().expect("an output")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for a page at an address, on a connection of its own.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("a request");
    Answer::read(&mut BufReader::new(stream)).expect("an answer")
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What comes of a call that the kernel ends when the test itself is stopped and goes on.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The pids of agent and workers, in this order.
pub(crate) fn pids(status: &Status) -> Vec<u32> {
    let workers = status.workers.iter().map(|worker| &worker.process);
    std::iter::once(&status.agent.process).chain(workers).filter_map(|process| process.pid).collect()
}

/// What every worker answers to `path`, by its index; connections are made until all have answered.
pub(crate) fn ask_all(cluster: &Cluster, path: &str) -> Vec<Value> {
    let count = cluster.status().workers.len();
    let mut answers: Vec<Option<Value>> = vec![None; count];
    eventually("every worker answers", || {
        let answer = json(&cluster.get(path).body);
        let index = answer["index"].as_u64().and_then(|index| usize::try_from(index).ok()).expect("an index");
        answers[index] = Some(answer);
        answers.iter().all(Option::is_some).then_some(())
    });
    answers.into_iter().flatten().collect()
}

/// Whether a tool is not there, which skips a test; not on the machine that decides whether a change is good.
pub(crate) fn missing(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
    let package = if tool.starts_with("systemd") { "systemd" } else { "python3" };
    assert!(found || std::env::var_os("CI").is_none(), "{tool} is missing: install the package `{package}`");
    if !found {
        eprintln!("skipped: {tool} is missing; the Debian package is `{package}`");
    }
    !found
}

/// Posts `body`, and returns the answer.
pub(crate) fn post_json(cluster: &Cluster, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json");
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    json(&cluster.exchange(request.as_bytes()).expect("an answer").body)
}

pub(crate) fn kill(pid: u32) {
    send_signal(pid, Signal::KILL);
}

/// Processes whose working folder is `dir`: whatever an instance there has left.
pub(crate) fn processes_in(dir: &Path) -> Vec<u32> {
    let dir = dir.canonicalize().expect("the folder");
    let at_home = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir);
    all_pids().filter(at_home).collect()
}

/// Lets time pass, where time itself is what is tested.
pub(crate) fn pass(duration: Duration) {
    let began = Instant::now();
    eventually("time passes", || (began.elapsed() >= duration).then_some(()));
}

/// Dead children that `parent` has not taken leave of.
pub(crate) fn zombies_of(parent: u32) -> Vec<u32> {
    let is_zombie = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(&format!("Z {parent} ")))
    };
    all_pids().filter(is_zombie).collect()
}

fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// How many clients are connected with `address`, be they accepted or in the kernel's queue.
pub(crate) fn connected(address: &str) -> usize {
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let table = fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let to_port = format!(":{port:04X}");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The client's own end: it leads to the port, and is established.
    fields.filter(|line| line.len() > 3 && line[2].ends_with(&to_port) && line[3] == "01").count()
}

/// How many clients wait in the kernel's queue of the listener at `address`.
pub(crate) fn unaccepted(address: &str) -> usize {
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let table = fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let listener = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|line| line.len() > 4 && line[1].ends_with(&format!(":{port:04X}")) && line[3] == "0A");
    let waiting = listener.and_then(|line| line[4].split_once(':')).expect("a listener").1;
    usize::from_str_radix(waiting, 16).expect("a number")
}

/// The lines of a log file, and of what it was before it was rotated, that contain `word`.
pub(crate) fn log_lines(site: &Site, name: &str, word: &str) -> Vec<String> {
    let entries = fs::read_dir(site.dir().join("logs")).expect("the log folder");
    let mut lines = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry")) {
        if entry.file_name().to_string_lossy().starts_with(name) {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            lines.extend(text.lines().filter(|line| line.contains(word)).map(str::to_owned));
        }
    }
    lines
}

/// The same when there are so many at least: a line is in its file a moment after what it tells of.
pub(crate) fn logged(site: &Site, name: &str, word: &str, count: usize) -> Vec<String> {
    eventually(&format!("{count} × `{word}` in {name}"), || {
        Some(log_lines(site, name, word)).filter(|lines| lines.len() >= count)
    })
}

/// Stops a cluster, after which nothing more is said, and sees that one line of a log contains `word`.
#[track_caller]
pub(crate) fn assert_said_once(mut cluster: Cluster, name: &str, word: &str) {
    assert_eq!(cluster.stop().code(), Some(0));
    let said = log_lines(cluster.site(), name, word);
    assert_eq!(said.len(), 1, "`{word}` in {name}: {said:?}");
}

/// What the probe's agent has heard of the cluster, as it wrote it down.
pub(crate) fn events(cluster: &Cluster) -> Vec<ClusterEvent> {
    let lines = log_lines(cluster.site(), "agent.log", "heard of ");
    let event = |line: &String| line.split_once("heard of ").map(|(_, event)| serde_json::from_str(event));
    lines.iter().filter_map(event).map(|event| event.expect("an event")).collect()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
