//! A running cluster.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;

use super::answer::Answer;
use super::site::Site;
use super::{PATIENCE, eventually, send_signal};
use crate::status::Status;

/// A running cluster, started in the foreground.
#[derive(Debug)]
pub struct Cluster {
    // Before the site: the processes must be gone when their folder goes.
    master: Master,
    site: Site,
    url: String,
}

impl Cluster {
    /// Starts `program` in a folder of its own and waits until it is ready. `options` are options of `start`;
    /// without others it has two workers and listens on a free port.
    #[must_use]
    pub fn start(program: impl Into<PathBuf>, options: &[&str]) -> Self {
        Self::start_at(Site::new(program), options)
    }

    /// Like [`start`](Self::start), in a folder that was prepared.
    ///
    /// # Panics
    /// When the cluster does not become ready.
    #[must_use]
    pub fn start_at(site: Site, options: &[&str]) -> Self {
        let (master, url) = launch(&site, options).unwrap_or_else(|output| panic!("no start: {output}"));
        Self { master, site, url }
    }

    /// Like [`start_at`](Self::start_at), by a command that runs `start` in the foreground in the folder,
    /// perhaps through another program such as `env`.
    ///
    /// # Panics
    /// When the cluster does not become ready.
    #[must_use]
    pub fn start_by(command: Command, site: Site) -> Self {
        let (master, url) = await_ready(command).unwrap_or_else(|output| panic!("no start: {output}"));
        Self { master, site, url }
    }

    /// Starts the cluster again in the same folder; the old one must have ended.
    ///
    /// # Panics
    /// When the cluster does not become ready.
    pub fn start_again(&mut self, options: &[&str]) {
        let (master, url) = launch(&self.site, options).unwrap_or_else(|output| panic!("no start: {output}"));
        (self.master, self.url) = (master, url);
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The address that it listens on, such as `127.0.0.1:41234`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.split_once("://").map_or(&*self.url, |(_, address)| address)
    }

    /// The master's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.master.child.id()
    }

    /// What the cluster says of itself.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn status(&self) -> Status {
        self.site.status().expect("a running cluster")
    }

    /// Waits until the status is as wanted, and returns it.
    #[must_use]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        eventually(what, || self.site.status().filter(&wanted))
    }

    /// Asks for a page on a connection of its own.
    ///
    /// # Panics
    /// When there is no complete answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Asks for a page at another of its addresses.
    ///
    /// # Panics
    /// When there is no complete answer.
    #[must_use]
    pub fn get_from(&self, address: &str, path: &str) -> Answer {
        exchange(address, &get_request(path))
            .unwrap_or_else(|error| panic!("GET {path} from {address}: {error}"))
    }

    /// Asks for a page on a connection of its own.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn try_get(&self, path: &str) -> io::Result<Answer> {
        self.exchange(&get_request(path))
    }

    /// Sends bytes on a connection of its own, and reads the answer.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn exchange(&self, request: &[u8]) -> io::Result<Answer> {
        exchange(self.address(), request)
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: Signal) {
        send_signal(self.pid(), signal);
    }

    /// Asks the master to stop and waits until it has ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until the master has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.master.child;
        eventually("the master ends", || child.try_wait().expect("a child"))
    }
}

fn get_request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").into_bytes()
}

fn exchange(address: &str, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    Answer::read(&mut BufReader::new(stream))
}

/// A master that ends with its test, and all its children with it.
#[derive(Debug)]
struct Master {
    child: Child,
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts in the foreground and reads the line that says ready; what was said instead is the error.
fn launch(site: &Site, options: &[&str]) -> Result<(Master, String), String> {
    let mut command = site.command(&["start"]);
    // Not `--listen`, which refuses to leave out the certificates that the app may have.
    let defaults =
        [("--listen", ["--set", "http.listen=['127.0.0.1:0']"]), ("--workers", ["--workers", "2"])];
    for (option, default) in defaults {
        if !options.contains(&option) {
            command.args(default);
        }
    }
    command.args(options);
    await_ready(command)
}

fn await_ready(mut command: Command) -> Result<(Master, String), String> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut master = Master { child: child.map_err(|error| error.to_string())? };
    let complaints = gather(master.child.stderr.take());
    let stdout = master.child.stdout.take().ok_or("no stdout")?;
    let (line_out, line_in) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let _ = line_out.send(lines.next());
        lines.for_each(drop);
    });
    match line_in.recv_timeout(PATIENCE) {
        Ok(Some(line)) => {
            let url = line.split_whitespace().find(|word| word.contains("://"));
            Ok((master, url.ok_or_else(|| line.clone())?.trim_end_matches(',').to_owned()))
        }
        Ok(None) => Err(complaints.recv_timeout(PATIENCE).unwrap_or_default()),
        Err(_) => Err(format!("not ready after {PATIENCE:?}")),
    }
}

/// Reads a stream to its end, so that its writer never waits.
fn gather(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (text_out, text_in) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_string(&mut text);
        }
        let _ = text_out.send(text);
    });
    text_in
}
