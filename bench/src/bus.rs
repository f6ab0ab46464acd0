//! What all ways to send messages are measured alike by: the payload, what a receiver notes, and what it says at the end.

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::json;

/// What is measured: so many messages of a size, as fast as possible or one at a time.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// How many messages.
    pub count: u64,
    /// The bytes of each, at least 16.
    pub size: usize,
    /// How long to wait between two; zero for as fast as possible.
    pub pause: Duration,
}

impl Task {
    /// Read from text: `COUNT SIZE PAUSE_US`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> io::Result<Self> {
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [count, size, pause] => {
                let size = usize::try_from(size).unwrap_or(usize::MAX).max(16);
                Ok(Self { count, size, pause: Duration::from_micros(pause) })
            }
            _ => Err(io::Error::other(format!("want COUNT SIZE PAUSE_US, not `{text}`"))),
        }
    }

    /// A payload of the right size, sent now.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = vec![b'x'; self.size];
        payload[..8].copy_from_slice(&now().to_le_bytes());
        payload
    }
}

/// When a payload was sent.
#[must_use]
pub fn sent_at(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Nanoseconds of the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What a process notes of the messages or answers that it gets.
#[derive(Debug)]
pub struct Notes {
    task: Task,
    received: u64,
    latencies: Vec<u64>,
    /// The processor time before the first.
    cpu: u64,
}

impl Notes {
    /// Nothing yet.
    #[must_use]
    pub fn new(task: Task) -> Self {
        Self { task, received: 0, latencies: Vec::new(), cpu: cpu_nanoseconds() }
    }

    /// One more that was sent then; whether it was the last.
    pub fn take(&mut self, sent_at: u64) -> bool {
        self.received += 1;
        if !self.task.pause.is_zero() {
            self.latencies.push(now().saturating_sub(sent_at));
        }
        self.received >= self.task.count
    }

    /// So many that came without being seen one by one, because a later one took their place. Their latencies are not known.
    pub fn pass(&mut self, count: u64) {
        self.received += count;
    }

    /// Says on stdout, in one line of JSON, what `role` has noted, with every latency in nanoseconds, so that those of all
    /// receivers can be looked at together.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn tell(self, role: &str) -> io::Result<()> {
        let report = json!({
            "role": role,
            "at": now(),
            "received": self.received,
            "latencies": self.latencies,
            "cpu": cpu_nanoseconds().saturating_sub(self.cpu),
        });
        say(&report.to_string())
    }
}

/// From here on the kernel ends this process with the one that started it, however that ends.
///
/// # Errors
/// When the kernel refuses, or that process is gone already.
pub fn end_with_parent() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match rustix::process::getppid() {
        Some(parent) if !parent.is_init() => Ok(()),
        _ => Err(io::Error::other("the process that started this one is gone")),
    }
}

/// Says one line on stdout, in one write.
///
/// # Errors
/// When nobody listens.
pub fn say(line: &str) -> io::Result<()> {
    io::stdout().lock().write_all(format!("{line}\n").as_bytes())
}

/// Says that the sender begins, or is done.
///
/// # Errors
/// When nobody listens.
pub fn tell_sender(role: &str) -> io::Result<()> {
    say(&format!(r#"{{"role":"{role}","at":{},"cpu":{}}}"#, now(), cpu_nanoseconds()))
}

/// The processor time of this process's main thread.
fn cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Finds a message at the beginning of some bytes: how long it is altogether, and where its payload is, if it has one.
pub type Find = fn(&[u8]) -> Option<(usize, Option<std::ops::Range<usize>>)>;

/// What has been read and not looked at yet.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: vec![0; 256 << 10], begin: 0, end: 0 }
    }
}

impl Inbox {
    /// The payload of the next whole message.
    pub fn next(&mut self, find: Find) -> Option<&[u8]> {
        loop {
            let begin = self.begin;
            let (length, payload) = find(&self.bytes[begin..self.end])?;
            self.begin += length;
            if let Some(payload) = payload {
                return Some(&self.bytes[begin..][payload]);
            }
        }
    }

    /// Waits for more.
    ///
    /// # Errors
    /// When the other side has ended.
    pub fn fill(&mut self, mut from: impl Read) -> io::Result<()> {
        self.bytes.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.end == self.bytes.len() {
            self.bytes.resize(self.end * 2, 0);
        }
        match from.read(&mut self.bytes[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}

/// Reads messages until the last one.
///
/// # Errors
/// When the other side ends before that.
pub fn receive(mut from: impl Read, task: Task, find: Find) -> io::Result<Notes> {
    let (mut notes, mut inbox) = (Notes::new(task), Inbox::default());
    loop {
        while let Some(payload) = inbox.next(find) {
            if notes.take(sent_at(payload)) {
                return Ok(notes);
            }
        }
        inbox.fill(&mut from)?;
    }
}

/// Writes a payload behind other bytes, in the way that its receiver finds it.
pub type Wrap = fn(&[u8], &mut Vec<u8>);

/// Sends all messages, each as `wrap` makes it; small ones in one write as often as there is no pause.
///
/// # Errors
/// When the other side is gone.
pub fn send(mut to: impl Write, task: Task, wrap: Wrap) -> io::Result<()> {
    let mut bytes = Vec::new();
    for _ in 0..task.count {
        wrap(&task.payload(), &mut bytes);
        if bytes.len() >= 64 << 10 || !task.pause.is_zero() {
            to.write_all(&bytes)?;
            bytes.clear();
        }
        if !task.pause.is_zero() {
            std::thread::park_timeout(task.pause);
        }
    }
    to.write_all(&bytes)
}
