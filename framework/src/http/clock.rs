//! The clock of one stream of HTTP/2: a client that leaves a piece of its answer lying, by giving no window for it, is
//! not waited for any longer than one that does not read from its socket.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep};

tokio::task_local! {
    /// What the body of the stream that is polled now has said.
    static WORD: Cell<Option<Word>>;
}

/// The connection by which an answer goes.
pub(super) trait Carrier: Send + Sync {
    /// Whether the line itself takes nothing now.
    fn is_blocked(&self) -> bool;

    /// A stream has ended, because its client took too long.
    fn count_end(&self);
}

/// What the body of an answer says of its last piece.
enum Word {
    /// It lies there until the client has room for it.
    Lies(Arc<dyn Carrier>),
    /// It was taken, and the next one is asked for.
    Taken,
}

/// Runs each stream as a task that ends, and resets the stream, when a piece of its answer lies too long.
#[derive(Debug, Clone)]
pub(super) struct Clocked {
    patience: Duration,
}

impl Clocked {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

impl<F> Executor<F> for Clocked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(run(stream, self.patience));
    }
}

/// A piece of an answer was handed out.
pub(super) fn lies(carrier: Arc<dyn Carrier>) {
    say(Word::Lies(carrier));
}

/// The last piece was taken.
pub(super) fn taken() {
    say(Word::Taken);
}

fn say(word: Word) {
    // There is nobody to hear it where a connection has one answer at a time.
    let _ = WORD.try_with(|last| last.set(Some(word)));
}

async fn run(stream: impl Future<Output = ()>, patience: Duration) {
    let mut stream = pin!(stream);
    let mut wait = None;
    poll_fn(|cx| {
        let (outcome, word) =
            WORD.sync_scope(Cell::new(None), || (stream.as_mut().poll(cx), WORD.with(Cell::take)));
        if outcome.is_ready() {
            return outcome;
        }
        match word {
            Some(Word::Lies(carrier)) => wait = Some(Wait::begin(carrier, patience)),
            Some(Word::Taken) => wait = None,
            None => {}
        }
        wait.as_mut().map_or(Poll::Pending, |wait| wait.poll(cx))
    })
    .await;
}

/// A piece that lies there.
struct Wait {
    carrier: Arc<dyn Carrier>,
    patience: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Wait {
    fn begin(carrier: Arc<dyn Carrier>, patience: Duration) -> Self {
        Self { carrier, patience, sleep: Box::pin(sleep(patience)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            // A slow line makes all streams wait; how long it may, the connection's own alarm says.
            if !self.carrier.is_blocked() {
                self.carrier.count_end();
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(Instant::now() + self.patience);
        }
    }
}
