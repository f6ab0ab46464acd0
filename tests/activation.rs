//! Sockets that a service manager hands down.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use hatchery::status::{ClusterState, Status};
use hatchery::testing::{Answer, PATIENCE, Site, eventually, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, Running, log_lines, missing, pids, site, stderr};

const SECURED: &str = "[http]\nlisten = [{ address = '127.0.0.1:0', certificates = [{ certificate = 'c.pem', key = 'c.key' }] }]";

const VARIABLES: [&str; 3] = ["LISTEN_", "NOTIFY_", "WATCHDOG_"];

/// The socket activator of systemd itself. Until the app runs in its place, nothing else would end it if the
/// test were killed.
fn activator(site: &Site) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "systemd-socket-activate"]).current_dir(site.dir());
    command
}

fn get(mut stream: impl std::io::Read + Write, path: &str) -> Answer {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    Answer::read(&mut BufReader::new(stream)).unwrap()
}

fn running(site: &Site) -> Status {
    let ready = |status: &Status| status.state == ClusterState::Running;
    eventually("the cluster runs", || site.status().filter(ready))
}

/// How many descriptors of each kind a process has, apart from the standard ones.
fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(Result::ok) {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        if let Some(target) = fs::read_link(entry.path()).ok().filter(|_| number > 2) {
            let target = target.to_string_lossy().into_owned();
            let kind = target.split(":[").next().unwrap().rsplit('/').next().unwrap().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
    }
    kinds
}

#[test]
fn named_sockets_serve_and_children_inherit_nothing_else() {
    if missing("systemd-socket-activate") {
        return;
    }
    let site = site("greeting = 'hi'");
    let mut command = activator(&site);
    // It binds no port that the kernel chooses; TCP is tested below.
    let [path, other_path] = ["web.sock", "api.sock"].map(|name| site.dir().join(name));
    command.arg("-l").arg(&path).arg("-l").arg(&other_path).arg("--fdname=web:api");
    let start = site.command(&["start", "--workers", "2"]);
    command.arg(start.get_program()).args(start.get_args()).args(FAST);
    let mut master = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());

    // The first connection starts it.
    let stream = eventually("the socket is there", || UnixStream::connect(&path).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(get(stream, "/").body, "hi");
    let status = running(&site);
    let urls = [&path, &other_path].map(|path| format!("unix:{}", path.display()));
    let named: Vec<_> = status.listeners.iter().map(|l| (l.name.as_str(), l.address.clone())).collect();
    assert_eq!(named, [("web", urls[0].clone()), ("api", urls[1].clone())]);
    assert_eq!(get(UnixStream::connect(&other_path).unwrap(), "/").body, "hi");
    let line = eventually("it is announced", || fs::read_to_string(site.dir().join("run/ready")).ok());
    assert!(line.contains(&urls.join(", ")), "{line}");

    let own = crate::harness::site("");
    let _other = Running::start(&own, &["--listen", "unix:own.sock"]);
    for (handed, bound) in pids(&status).into_iter().zip(pids(&running(&own))) {
        eventually("no descriptor more than usual", || {
            let usual = descriptors(bound);
            let is_usual =
                |(kind, count): (&String, &usize)| usual.get(kind).is_some_and(|usual| count <= usual);
            descriptors(handed).iter().all(is_usual).then_some(())
        });
        let variables = fs::read_to_string(format!("/proc/{handed}/environ")).unwrap();
        let taken: Vec<&str> = variables
            .split('\0')
            .filter(|pair| VARIABLES.iter().any(|name| pair.starts_with(name)))
            .collect();
        assert_eq!(taken, [""; 0]);
    }

    send_signal(master.0.id(), Signal::TERM);
    eventually("the master ends", || master.0.try_wait().unwrap());
    assert!(path.exists(), "the file is the service manager's");
    let told = log_lines(&site, "master.log", "take the place of `http.listen`: `web`, `api`");
    assert_eq!(told.len(), 1, "{told:?}");
}

/// A start with one descriptor handed down under the name `web`, as 3. The shell knows its pid before the app
/// runs under it.
fn handed_down(site: &Site, descriptor: impl Into<OwnedFd>, options: &[&str]) -> Command {
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=${LISTEN_PID:-$$}; exec \"$0\" \"$@\"";
    let start = site.command(&["start", "--workers", "1"]);
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(start.get_program()).args(start.get_args()).args(options);
    command.current_dir(site.dir()).env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
    command.stdin(Stdio::from(descriptor.into())).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_configured_name_takes_its_socket_and_binds_the_other_addresses() {
    let site = site("[http]\nlisten = ['unix:own.sock', 'systemd:web']");
    let (socket, address) = listener();
    let _master = Running(handed_down(&site, socket, &[]).spawn().unwrap());
    let listeners = running(&site).listeners;
    let names: Vec<_> = listeners.iter().map(|l| (l.name.as_str(), l.address.as_str())).collect();
    assert_eq!(names, [("http", "unix:own.sock"), ("web", address.as_str())]);
    assert_eq!(get(TcpStream::connect(address).unwrap(), "/").code, 200);
}

#[test]
fn a_port_or_an_address_on_the_command_line_beats_what_was_handed_down() {
    for (config, options) in [
        ("", &["--listen", "127.0.0.1:0"][..]),
        ("", &["--port", "0"]),
        ("[http]\nlisten = ['systemd:web']", &["--port", "0"]),
        ("", &["--set", "http.listen=['127.0.0.1:0']"]),
    ] {
        let site = site(config);
        let (socket, address) = listener();
        let identity = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let mut master = Running(handed_down(&site, socket, options).spawn().unwrap());
        let status = running(&site);
        let [only] = &status.listeners[..] else { panic!("{:?}", status.listeners) };
        assert_eq!(only.name, "http");
        assert!(only.address.starts_with("127.0.0.1:") && only.address != address);
        let held = fs::read_dir(format!("/proc/{}/fd", status.master.pid)).unwrap();
        let held: Vec<_> = held.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
        assert!(held.len() > 3 && !held.contains(&identity), "it is closed");
        send_signal(master.0.id(), Signal::TERM);
        eventually("the master ends", || master.0.try_wait().unwrap());
        let warnings = log_lines(&site, "master.log", "WARN");
        assert_eq!(warnings.len(), 1, "{options:?}: {warnings:?}");
    }
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let site = site("[http]\nlisten = ['127.0.0.1:0']");
    let (socket, _) = listener();
    let mut command = handed_down(&site, socket, &[]);
    let _master = Running(command.env("LISTEN_PID", "1").spawn().unwrap());
    assert_eq!(running(&site).listeners[0].name, "http");
}

#[test]
fn what_cannot_be_used_fails_the_start_with_one_line() {
    let api = "[http]\nlisten = ['systemd:api']";
    let bare = site(api).command(&["start"]).output().unwrap();
    let words = "cannot listen on systemd:api: no sockets were inherited: start it by a socket unit, or write host:port";
    assert_eq!((bare.status.code(), stderr(&bare)), (Some(78), format!("error: {words}\n")));

    type Row = (&'static str, &'static [&'static str], fn() -> OwnedFd, &'static str);
    let table: [Row; 6] = [
        (
            api,
            &[],
            || listener().0.into(),
            "cannot listen on systemd:api: no such socket was inherited: there are `web`",
        ),
        (
            "",
            &[],
            || fs::File::open("/dev/null").unwrap().into(),
            "cannot listen on the inherited descriptor 3 (`web`): it is no socket; hand down TCP or Unix stream sockets that listen",
        ),
        (
            "",
            &[],
            || std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            "cannot listen on the inherited descriptor 3 (`web`): it is a datagram socket; hand down TCP or Unix stream sockets that listen",
        ),
        (
            SECURED,
            &[],
            || listener().0.into(),
            "cannot listen on 127.0.0.1:0: the inherited socket `web` would serve in its place, and without its certificates: write the address systemd:web beside them, or remove them",
        ),
        (
            SECURED,
            &["--listen", "systemd:web"],
            || listener().0.into(),
            "--listen would leave out the certificates of 127.0.0.1:0: write the whole place, with certificates or without, by --set http.listen=[…]",
        ),
        (
            "",
            &["--daemon"],
            || listener().0.into(),
            "inherited sockets cannot be taken along into the background: leave out --daemon: the service manager keeps it in the background",
        ),
    ];
    for (config, options, descriptor, words) in table {
        let site = site(config);
        let output = handed_down(&site, descriptor(), options).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(78), format!("error: {words}\n")));
    }
}

#[test]
fn descriptors_that_are_not_open_fail_the_start() {
    let site = site("");
    let output = handed_down(&site, listener().0, &[]).env("LISTEN_FDS", "50").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("LISTEN_FDS: the inherited sockets cannot be taken over"), "{output:?}");
}
