//! The console: lines and others' output for stderr, written by a thread of its own, because the reader at
//! the other end may have stopped reading. What finds the queue full is dropped; lines are in the files.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How many lines, or pieces of output, may wait.
const QUEUE: usize = 256;

/// How long waiting lines may take at the end of the process.
const FAREWELL: Duration = Duration::from_millis(500);

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    queue: SyncSender<Job>,
}

#[derive(Debug)]
enum Job {
    Print(Vec<u8>),
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
        let _ = self.queue.try_send(Job::Print(line.as_bytes().to_vec()));
    }

    /// What somebody else has written, as it is. Dropped like a line when the queue is full.
    pub(crate) fn pass_on(&self, bytes: &[u8]) {
        let _ = self.queue.try_send(Job::Print(bytes.to_vec()));
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
            Job::Print(bytes) => drop(io::stderr().write_all(&bytes)),
            Job::Tell(told) => drop(told.send(())),
        }
    }
}
