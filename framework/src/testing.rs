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

mod answer;
mod cluster;
mod site;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use answer::Answer;
pub use cluster::Cluster;
pub use site::Site;

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
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
