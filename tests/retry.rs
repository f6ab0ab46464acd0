//! Tests that a busy machine can spoil: they are tried a few times, and every failed attempt is told with its reason,
//! so that the output of a failing run shows when they become more.

use std::fs;
use std::time::Duration;

/// What the first attempt that succeeds returns; an error is the reason why an attempt says nothing. What cannot be
/// the machine's fault is no error but a panic, which ends the test at once.
///
/// # Panics
/// When none succeeds.
#[track_caller]
pub(crate) fn one_of<T, D>(
    attempts: impl IntoIterator<Item = T>,
    mut attempt: impl FnMut(T) -> Result<D, String>,
) -> D {
    let mut reasons = Vec::new();
    for with in attempts {
        match attempt(with) {
            Ok(done) => return done,
            Err(reason) => {
                eprintln!("attempt {} failed: {reason}", reasons.len() + 1);
                reasons.push(reason);
            }
        }
    }
    panic!("every attempt failed: {reasons:#?}")
}

/// An attempt of which this should hold.
pub(crate) fn should(hold: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if hold { Ok(()) } else { Err(reason()) }
}

/// How long all threads of these processes have waited for a processor.
pub(crate) fn waited(pids: &[u32]) -> Duration {
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default()
    };
    let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    Duration::from_nanos(tasks.map(|task| of(task.unwrap())).sum())
}
