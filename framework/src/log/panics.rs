//! Panics as log lines: one line with the message and its place, kept for whoever reports why the process
//! ended.

use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

static LAST: Mutex<Option<String>> = Mutex::new(None);

static BELL: Notify = Notify::const_new();

/// Writes every panic from now on as one line of level ERROR instead of the usual text and backtrace on
/// stderr. Before logging is started that line goes to stderr.
pub(crate) fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let text = describe(info);
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
        if tracing::dispatcher::has_been_set() {
            tracing::error!(target: "panic", "{text}");
        } else {
            // Nobody can be told that nobody listens on stderr.
            let _ = writeln!(io::stderr(), "{}", text.escape_debug());
        }
        BELL.notify_one();
    }));
}

/// The last panic of this process that [`log_panics`] saw, such as
/// `thread main panicked at src/main.rs:7:5: no shop`. It may hold line breaks.
#[must_use]
pub(crate) fn last_panic() -> Option<String> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Waits for the next panic of this process that [`log_panics`] sees; one that nobody has waited for counts. For one
/// caller at a time. Cancel safe.
pub(crate) async fn panicked() {
    BELL.notified().await;
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = match payload.downcast_ref::<String>() {
        Some(text) => text.as_str(),
        None => payload.downcast_ref::<&str>().copied().unwrap_or("a value that is no text"),
    };
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    match info.location() {
        Some(location) => format!("thread {thread} panicked at {location}: {message}"),
        None => format!("thread {thread} panicked: {message}"),
    }
}
