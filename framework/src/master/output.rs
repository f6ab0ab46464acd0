//! What children write to stderr: passed on to the master's own stderr, and its end kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

use super::tail::Tail;
use crate::log::Console;

/// The most bytes of one read, so that a child that writes much leaves time for everybody else.
const CHUNK: usize = 16 << 10;

/// A child's stderr, read by a task that lives as long as anybody can write there.
#[derive(Debug)]
pub(super) struct Output {
    tail: Arc<Mutex<Tail>>,
    reading: JoinHandle<()>,
}

impl Output {
    pub(super) fn of(stderr: ChildStderr, console: Console) -> Self {
        let tail = Arc::default();
        let reading = tokio::spawn(pass_on(stderr, console, Arc::clone(&tail)));
        Self { tail, reading }
    }

    /// What a dead child said at last. A process that holds the other end of the pipe is waited for no longer
    /// than `patience`, and is heard on.
    pub(super) async fn last_lines(mut self, patience: Duration) -> Option<String> {
        let _ = tokio::time::timeout(patience, &mut self.reading).await;
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).last_lines(Instant::now())
    }
}

async fn pass_on(mut stderr: ChildStderr, console: Console, tail: Arc<Mutex<Tail>>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let bytes = &buffer[..count];
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(bytes, Instant::now());
        console.pass_on(bytes);
        // A flood of one child is not worth a delay of all others.
        tokio::task::yield_now().await;
    }
}
