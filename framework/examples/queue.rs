//! An app with a group of workers that take messages and nothing else: whatever is stopped, reloaded or scaled, each job
//! that was accepted is carried out.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use hatchery::{App, Peer, Topic, Worker};
use serde::{Deserialize, Serialize};

/// From the root of the repository:
///
/// ```sh
/// mkdir -p target/queue/config
/// cargo run -p hatchery --example queue -- start --app-dir target/queue --set log.console=info
/// curl -X POST localhost:7001/jobs/tea
/// ```
fn main() -> ExitCode {
    App::new("queue").worker(accept).group("jobs", work).run()
}

/// What is to be done.
#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
}

impl Topic for Job {
    const NAME: &'static str = "jobs";
}

async fn accept(worker: Worker) -> hatchery::Result {
    let router = Router::new().route("/jobs/{name}", post(hand_out)).with_state(worker.clone());
    Ok(worker.serve(router).await?)
}

/// 202 is said when the job is queued for a worker, and not before.
async fn hand_out(State(worker): State<Worker>, Path(name): Path<String>) -> StatusCode {
    match worker.send_to(&Peer::next_of("jobs"), &Job { name }).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The life of a worker of the group: it ends when it should leave and everything that came for it is done.
async fn work(worker: Worker) -> hatchery::Result {
    let mut jobs = worker.subscribe::<Job>()?;
    worker.ready().await?;
    while let Some(job) = jobs.next_or_leave().await {
        match job {
            Ok(job) => carry_out(&job).await,
            Err(problem) => tracing::error!("{problem}"),
        }
    }
    Ok(())
}

async fn carry_out(job: &Job) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    tracing::info!("{} is done", job.name);
}
