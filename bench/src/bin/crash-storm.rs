//! An app in which one group crashes for ever: each worker of `storm` fails as soon as it is ready. The workers of
//! `web` serve, as if nothing were.

use std::process::ExitCode;

use axum::{Router, routing::get};
use hatchery::{App, Worker};

fn main() -> ExitCode {
    App::new("crash-storm").worker(serve).group("storm", crash).run()
}

async fn serve(worker: Worker) -> hatchery::Result {
    worker.serve(Router::new().route("/", get(async || hatchery_bench::GREETING))).await?;
    Ok(())
}

async fn crash(worker: Worker) -> hatchery::Result {
    worker.ready().await?;
    Err("this worker crashes on purpose".into())
}
