//! The console: lines for stderr, written by a thread of its own, because the reader at the other end may
//! have stopped reading. Lines that find the queue full are dropped; they are in the files.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How many lines may wait.
const QUEUE: usize = 256;

/// How long waiting lines may take at the end of the process.
const FAREWELL: Duration = Duration::from_millis(500);

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Console {
    queue: SyncSender<Job>,
}

#[derive(Debug)]
enum Job {
    Print(String),
    /// Everything before this is written when the answer comes.
    Tell(SyncSender<()>),
}

impl Console {
    /// Starts the thread; it ends with the process.
    pub(super) fn start() -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        thread::Builder::new().name("log-console".to_owned()).spawn(move || work(&jobs))?;
        Ok(Self { queue })
    }

    pub(super) fn print(&self, line: &str) {
        let _ = self.queue.try_send(Job::Print(line.to_owned()));
    }

    /// Waits until what was printed is written, unless nobody reads it.
    pub(super) fn flush(&self) {
        let (told, done) = sync_channel(1);
        if self.queue.try_send(Job::Tell(told)).is_ok() {
            let _ = done.recv_timeout(FAREWELL);
        }
    }
}

fn work(jobs: &Receiver<Job>) {
    for job in jobs {
        match job {
            // Nobody can be told that nobody listens on stderr.
            Job::Print(line) => drop(io::stderr().write_all(line.as_bytes())),
            Job::Tell(told) => drop(told.send(())),
        }
    }
}
