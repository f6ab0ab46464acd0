//! A load that goes on: the thread of its clients, what they share, and the life of each.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hatchery::testing::eventually;
use tokio::runtime;
use tokio::time::{sleep, timeout};

use super::Load;
use super::client::Client;
use super::line::Past;
use super::report::{Failure, Outcome, Report, Seen};

/// A load that goes on. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    book: Arc<Book>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn begin(load: Load) -> Self {
        let book = Arc::new(Book::new(&load));
        let thread = thread::spawn({
            let book = book.clone();
            move || drive(load, book)
        });
        Self { book, thread: Some(thread) }
    }

    /// Waits until every client has had an answer, or a failure.
    pub(crate) fn await_first_answers(&self) {
        eventually("every client has begun", || {
            let begun = self.book.begun.load(Ordering::Relaxed);
            (begun == self.book.clients || self.is_over()).then_some(())
        });
    }

    /// Whether it has reached its bounds and everybody has left.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What has come of it so far.
    pub(crate) fn so_far(&self) -> Report {
        self.book.report.lock().expect("the report").clone()
    }

    /// Lets the clients finish what they have begun, and reports.
    pub(crate) fn end(mut self) -> Report {
        self.leave().expect("the clients' thread");
        self.so_far()
    }

    /// Waits for the load to reach its bounds, and reports.
    pub(crate) fn finish(mut self) -> Report {
        self.thread.take().map_or(Ok(()), JoinHandle::join).expect("the clients' thread");
        self.so_far()
    }

    fn leave(&mut self) -> thread::Result<()> {
        self.book.over.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.leave();
    }
}

/// What all clients of a load share.
#[derive(Debug)]
struct Book {
    began: Instant,
    clients: usize,
    requests: u64,
    longest: Duration,
    over: AtomicBool,
    begun: AtomicUsize,
    taken: AtomicU64,
    report: Mutex<Report>,
}

impl Book {
    fn new(load: &Load) -> Self {
        Self {
            began: Instant::now(),
            clients: load.clients,
            requests: load.requests,
            longest: load.longest,
            over: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            report: Mutex::default(),
        }
    }

    /// Whether one more request may be sent.
    fn take_turn(&self) -> bool {
        let in_time = !self.over.load(Ordering::Relaxed) && self.began.elapsed() < self.longest;
        in_time && self.take_last_turn()
    }

    fn take_last_turn(&self) -> bool {
        self.taken.fetch_add(1, Ordering::Relaxed) < self.requests
    }

    fn note(&self, outcome: Outcome, took: Duration, past: Past) {
        let at = self.began.elapsed();
        self.report.lock().expect("the report").add(&Seen { outcome, at, took, past });
    }
}

fn drive(load: Load, book: Arc<Book>) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let load = Arc::new(load);
        let clients: Vec<_> =
            (0..load.clients).map(|_| tokio::spawn(ask_on(load.clone(), book.clone()))).collect();
        for client in clients {
            client.await.expect("a client");
        }
    });
}

/// The life of one client. It asks once more when it is to end, for a connection may have broken while it paused.
async fn ask_on(load: Arc<Load>, book: Arc<Book>) {
    let mut client = Client::new(&load);
    let mut is_first = true;
    while book.take_turn() {
        let outcome = ask(&mut client, &load, &book).await;
        if std::mem::take(&mut is_first) {
            book.begun.fetch_add(1, Ordering::Relaxed);
        }
        // Whoever is refused at once must not keep the machine from what it waits for.
        let pause = if outcome.is_ok() { load.pause } else { load.pause.max(Duration::from_millis(5)) };
        if pause > Duration::ZERO {
            sleep(pause).await;
        }
    }
    if book.over.load(Ordering::Relaxed) && book.take_last_turn() {
        let _ = ask(&mut client, &load, &book).await;
    }
}

async fn ask(client: &mut Client, load: &Load, book: &Book) -> Outcome {
    let began = Instant::now();
    let outcome =
        timeout(load.patience, client.ask()).await.unwrap_or_else(|_| Err(Failure::TimedOut.into()));
    book.note(outcome, began.elapsed(), client.past());
    outcome
}
