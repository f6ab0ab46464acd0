//! What all ways to send messages are measured alike by: the payload, what a receiver notes, and what it says at the end.

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// Says on stdout, in one line of JSON, what `role` has noted.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn tell(mut self, role: &str) -> io::Result<()> {
        self.latencies.sort_unstable();
        let quantile = |share: usize| self.latencies.get(self.latencies.len() * share / 100).copied();
        let (p50, p99) = (quantile(50).unwrap_or_default(), quantile(99).unwrap_or_default());
        say(&format!(
            r#"{{"role":"{role}","at":{},"received":{},"p50":{p50},"p99":{p99},"cpu":{}}}"#,
            now(),
            self.received,
            cpu_nanoseconds().saturating_sub(self.cpu)
        ))
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

/// Reads messages until the last one.
///
/// # Errors
/// When the other side ends before that.
pub fn receive(mut from: impl Read, task: Task, find: Find) -> io::Result<Notes> {
    let mut notes = Notes::new(task);
    let mut bytes = vec![0; 256 << 10];
    let (mut begin, mut end) = (0, 0);
    loop {
        while let Some((length, payload)) = find(&bytes[begin..end]) {
            if let Some(payload) = payload
                && notes.take(sent_at(&bytes[begin..end][payload]))
            {
                return Ok(notes);
            }
            begin += length;
        }
        bytes.copy_within(begin..end, 0);
        (begin, end) = (0, end - begin);
        if end == bytes.len() {
            bytes.resize(end * 2, 0);
        }
        match from.read(&mut bytes[end..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => end += count,
        }
    }
}

/// Sends all messages, each as `wrap` makes it; small ones in one write as often as there is no pause.
///
/// # Errors
/// When the other side is gone.
pub fn send(mut to: impl Write, task: Task, wrap: fn(&[u8], &mut Vec<u8>)) -> io::Result<()> {
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
