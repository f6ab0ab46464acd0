//! A cluster of real processes for an app's own tests: started on a free port in a folder of its own, and
//! gone with the test, also when the test fails.
//!
//! ```no_run
//! use hatchery::testing::Cluster;
//!
//! #[test]
//! fn the_front_page_greets() {
//!     let cluster = Cluster::start(env!("CARGO_BIN_EXE_shop"), &["--workers", "2"]);
//!     assert_eq!(cluster.get("/").body, "hello\n");
//! }
//! # macro_rules! env { ($name:literal) => { "shop" } }
//! ```
//!
//! Everything here panics when it fails: it is made for tests.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::status::Status;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `question` again and again until it has an answer, and returns that.
///
/// # Panics
/// When there is none after [`PATIENCE`]; `what` is named then.
pub fn eventually<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A folder for one instance; removed at the end.
#[derive(Debug)]
pub struct Site {
    program: PathBuf,
    dir: PathBuf,
}

impl Site {
    /// A new folder for instances of `program`, with an empty `config/`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("hatchery-{}-{nth}", std::process::id()));
        fs::create_dir_all(dir.join("config")).expect("a folder for the test");
        Self {
            program: program.into(),
            dir,
        }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the configuration, such as `default.toml`, as an editor does: under another name,
    /// then renamed.
    pub fn configure(&self, name: &str, text: &str) {
        let draft = self.dir.join("config").join(format!(".{name}.draft"));
        fs::write(&draft, text).expect("a file for the configuration");
        fs::rename(draft, self.dir.join("config").join(name)).expect("a file for the configuration");
    }

    /// A command of the app, in this folder; nothing of the test's own environment speaks to it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HATCHERY_"))
        {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command of the app to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the app's program")
    }

    /// What a running instance says of itself.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let output = self.run(&["status", "--json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).expect("a status"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A running cluster, started in the foreground.
#[derive(Debug)]
pub struct Cluster {
    // Before the site: the processes must be gone when their folder goes.
    master: Master,
    site: Site,
    url: String,
}

impl Cluster {
    /// Starts `program` with two workers in a folder of its own, on a free port, and waits until it is ready.
    /// `options` are more options of `start`.
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
        self.url.trim_start_matches("http://")
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
        self.try_get(path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Asks for a page on a connection of its own.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn try_get(&self, path: &str) -> io::Result<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        self.exchange(head.as_bytes())
    }

    /// Sends bytes on a connection of its own, and reads the answer.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn exchange(&self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        Answer::read(&mut BufReader::new(stream))
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
    let mut command = site.command(&["start", "--listen", "127.0.0.1:0"]);
    if !options.contains(&"--workers") {
        command.args(["--workers", "2"]);
    }
    let child = command
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut master = Master {
        child: child.map_err(|error| error.to_string())?,
    };
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
            let url = line.split_whitespace().find(|word| word.starts_with("http://"));
            Ok((
                master,
                url.ok_or_else(|| line.clone())?.trim_end_matches(',').to_owned(),
            ))
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

/// Sends a signal to a process, if there is one.
pub fn send_signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process runs; a zombie does not.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The head's lines after the first.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads one answer: as many bytes as it announces, or up to the end of the connection.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let first = read_line(stream)?;
        let code = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, first))?;
        let mut headers = Vec::new();
        loop {
            match read_line(stream)? {
                line if line.is_empty() => break,
                line => headers.push(line),
            }
        }
        let mut answer = Self {
            code,
            headers,
            body: String::new(),
        };
        match answer
            .header("content-length")
            .and_then(|length| length.parse::<usize>().ok())
        {
            Some(length) => {
                let mut body = vec![0; length];
                stream.read_exact(&mut body)?;
                answer.body = String::from_utf8_lossy(&body).into_owned();
            }
            None => drop(stream.read_to_string(&mut answer.body)?),
        }
        Ok(answer)
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
