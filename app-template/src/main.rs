//! The app: what its agent and its workers do, and its configuration.

use std::process::ExitCode;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use hatchery::{App, Observed, Worker};
use serde::{Deserialize, Serialize};

/// The app's own configuration: every top-level key of `config/*.toml` that no section owns.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
struct AppConfig {
    /// What `/` says first.
    greeting: String,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self { greeting: "hello".to_owned() }
    }
}

fn main() -> ExitCode {
    App::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .config::<AppConfig>()
        .duty(hatchery_agent::config_polling())
        .duty(hatchery_agent::log_rotation())
        .worker(serve_pages)
        .run()
}

/// What every handler may use.
#[derive(Debug)]
struct Shop {
    worker: Worker,
    config: Observed<AppConfig>,
}

/// The life of a worker: it serves until it is asked to leave and has finished what it began.
async fn serve_pages(worker: Worker) -> hatchery::Result {
    let config = worker.config().await?;
    let pages = Router::new()
        .route("/", get(greet))
        .route("/whoami", get(tell_who))
        .route("/config", get(tell_config))
        .route("/echo", post(echo))
        .with_state(Arc::new(Shop { worker: worker.clone(), config }));
    worker.serve(pages).await?;
    Ok(())
}

async fn greet(State(shop): State<Arc<Shop>>) -> String {
    format!("{} from worker {}\n", shop.config.get().greeting, shop.worker.index())
}

#[derive(Serialize)]
struct Who {
    group: String,
    index: u32,
    pid: u32,
    generation: u64,
}

async fn tell_who(State(shop): State<Arc<Shop>>) -> Json<Who> {
    let worker = &shop.worker;
    Json(Who {
        group: worker.group().to_owned(),
        index: worker.index(),
        pid: std::process::id(),
        generation: worker.generation(),
    })
}

#[derive(Serialize)]
struct ConfigInForce {
    version: u64,
    config: AppConfig,
}

async fn tell_config(State(shop): State<Arc<Shop>>) -> Json<ConfigInForce> {
    let config = shop.config.get();
    Json(ConfigInForce { version: config.version(), config: AppConfig::clone(&config) })
}

async fn echo(body: Bytes) -> Bytes {
    body
}
