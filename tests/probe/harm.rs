//! Pages that do harm to their process, or keep it busy.

use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use hatchery::{Cancelled, CpuError, Worker};
use serde::Deserialize;

use super::Slow;

pub(crate) fn pages(worker: Worker) -> Router {
    Router::new()
        .route("/panic", get(async || -> &'static str { panic!("a handler panics") }))
        .route("/panic-in-a-task", get(panic_in_a_task))
        .route("/retire", get(retire))
        .route("/block", get(block))
        .route("/heavy", get(heavy))
        .route("/heavy-panic", get(heavy_panic))
        .route("/abort", get(end_abruptly))
        .route("/overflow", get(async || dig(0).to_string()))
        .route("/exhaust", get(exhaust))
        .route("/run", post(run))
        .route("/complain", get(complain))
        .with_state(worker)
}

async fn panic_in_a_task() -> &'static str {
    tokio::spawn(async { panic!("a task panics") });
    "it is on its way"
}

async fn retire(State(worker): State<Worker>) -> String {
    worker
        .retire("it was asked for over HTTP")
        .await
        .map_or_else(|gone| gone.to_string(), |()| "asked".to_owned())
}

/// Keeps the loop of this worker busy.
async fn block(Query(slow): Query<Slow>) -> &'static str {
    let _ = std::fs::write("block-began", std::process::id().to_string());
    let over = std::time::Instant::now() + Duration::from_millis(slow.ms);
    while std::time::Instant::now() < over {
        std::hint::spin_loop();
    }
    "busy, not dead"
}

/// Keeps a thread of the pool busy, unless nobody waits any more.
async fn heavy(State(worker): State<Worker>, Query(slow): Query<Slow>) -> Result<&'static str, CpuError> {
    let _ = std::fs::write("heavy-began", "");
    let over = std::time::Instant::now() + Duration::from_millis(slow.ms);
    let job = move |cancelled: &Cancelled| {
        while std::time::Instant::now() < over && !cancelled.is_cancelled() {
            std::hint::spin_loop();
        }
        "heavy, but done"
    };
    worker.cpu_with(job).await
}

async fn heavy_panic(State(worker): State<Worker>) -> Result<(), CpuError> {
    worker.cpu(|| panic!("a job panics")).await
}

async fn end_abruptly() -> &'static str {
    eprintln!("the ledger is corrupt");
    std::process::abort()
}

/// Needs more stack than there is.
fn dig(depth: u64) -> u64 {
    let hole = std::hint::black_box([depth; 1024]);
    if depth == u64::MAX { 0 } else { dig(depth + 1).wrapping_add(hole[0]) }
}

/// Takes memory until there is none, or 1 GiB, should nothing limit it.
async fn exhaust() -> &'static str {
    let hoard: Vec<Vec<u8>> = (0..64).map(|number| vec![number + 1; 16 << 20]).collect();
    drop(std::hint::black_box(hoard));
    "there was enough"
}

/// Runs a command of the shell and leaves it behind.
async fn run(command: String) -> String {
    let child = std::process::Command::new("sh").arg("-c").arg(command).spawn();
    child.map_or_else(|error| error.to_string(), |child| child.id().to_string())
}

#[derive(Deserialize)]
struct Complaint {
    bytes: usize,
}

/// Writes this much to stderr, in lines.
async fn complain(Query(complaint): Query<Complaint>) -> String {
    use std::io::Write as _;
    let lines = "a line of no interest, of the length that lines have: 64 bytes.\n".repeat(1024);
    let mut left = complaint.bytes;
    while left > 0 {
        let count = left.min(lines.len());
        if std::io::stderr().write_all(&lines.as_bytes()[..count]).is_err() {
            break;
        }
        left -= count;
    }
    left.to_string()
}
