//! An app with workers in two languages: those of the group `web` serve HTTP, those of the group `py` are `worker.py`
//! beside this file.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use hatchery::{Agent, App, BoxError, Duty, Peer, Request, Topic, Worker};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

/// What all workers follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { greeting: "hello".to_owned() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    text: String,
}

impl Topic for Question {
    const NAME: &'static str = "questions";
}

impl Request for Question {
    type Reply = String;
}

#[derive(Debug, Serialize, Deserialize)]
struct Words {
    text: String,
}

impl Topic for Words {
    const NAME: &'static str = "words";
}

/// From the root of the repository:
///
/// ```sh
/// mkdir -p target/python/config && cp framework/examples/python/worker.py target/python/
/// cargo run -p hatchery --example python -- start --app-dir target/python
/// curl localhost:7001/ask/what%20is%206%20times%207
/// curl localhost:7001/say/hello
/// echo 'greeting = "moin"' > target/python/config/default.toml
/// curl localhost:7001/ask/how%20do%20you%20greet
/// ```
fn main() -> ExitCode {
    App::new("python")
        .config::<Config>()
        .duty(Duty::new("reread", reread))
        .worker(serve)
        .group_command("py", ["python3", "worker.py"])
        .run()
}

/// Hands in what the files of the configuration say now, again and again.
async fn reread(agent: Agent) -> hatchery::Result {
    while agent.until_shutdown(sleep(Duration::from_millis(200))).await.is_some() {
        let desk = agent.config_desk();
        desk.submit(desk.layers().read()).await?;
    }
    Ok(())
}

async fn serve(worker: Worker) -> hatchery::Result {
    let router = Router::new().route("/ask/{text}", get(ask)).route("/say/{text}", get(say));
    Ok(worker.clone().serve(router.with_state(worker)).await?)
}

/// The answer to an error.
type Mishap = (StatusCode, String);

fn mishap(error: impl Into<BoxError>) -> Mishap {
    (StatusCode::BAD_GATEWAY, error.into().to_string())
}

async fn ask(State(worker): State<Worker>, Path(text): Path<String>) -> Result<String, Mishap> {
    worker.ask(&Peer::any_of("py"), &Question { text }).await.map_err(mishap)
}

/// Tells a worker of `py` something, and answers with what it says to that.
async fn say(State(worker): State<Worker>, Path(text): Path<String>) -> Result<String, Mishap> {
    let mut heard = worker.subscribe::<Words>().map_err(mishap)?;
    worker.send_to(&Peer::any_of("py"), &Words { text }).await.map_err(mishap)?;
    let said = timeout(Duration::from_secs(5), heard.next()).await.map_err(mishap)?.map_err(mishap)?;
    Ok(said.into_inner().text)
}
