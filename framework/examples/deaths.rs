//! An app that shows every way to die, in every place where an author's code runs. What the cluster makes of each is
//! in `docs/deaths.md`.

use std::future::pending;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use hatchery::{Agent, App, ClusterEvents, CpuError, Duty, MasterGone, Worker};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc;

/// From the root of the repository:
///
/// ```sh
/// mkdir -p target/deaths/config
/// cargo run -p hatchery --example deaths -- start --app-dir target/deaths --set log.console=info
/// curl localhost:7001/handler/abort          # a worker: /PLACE/WAY
/// echo abort > target/deaths/die-in-duty     # the agent: echo WAY > die-in-PLACE
/// ```
///
/// The places of a worker are `function`, `handler`, `task` and `job`, those of the agent `function`, `task` and
/// `duty`; the ways are the arms of [`die`]. `/retire` is a worker's polite way out.
///
/// For `memory` there has to be a limit: with `prlimit --as=1G target/debug/examples/deaths start …` the allocation
/// fails; in a control group that may have less than 1 GiB, such as a container's, the kernel kills.
fn main() -> ExitCode {
    App::new("deaths").duty(Duty::new("victim", die_in_duty)).agent(lead).worker(serve).run()
}

/// Dies here and now; or returns, to let the caller do with the result what it does with any other.
fn die(way: &str) -> hatchery::Result {
    match way {
        "return" => return Ok(()),
        "error" => return Err("the ledger is corrupt".into()),
        "panic" => panic!("the ledger is corrupt"),
        "abort" => {
            eprintln!("the ledger is corrupt");
            std::process::abort()
        }
        "overflow" => drop(dig(0)),
        "memory" => hoard(),
        "kill" => kill_process(getpid(), Signal::KILL)?,
        "hang" => hang(),
        unknown => return Err(format!("no way to die is called `{unknown}`: see `die`").into()),
    }
    Ok(())
}

/// Needs more stack than there is.
fn dig(depth: u64) -> u64 {
    let hole = std::hint::black_box([depth; 1024]);
    if depth == u64::MAX { 0 } else { dig(depth + 1).wrapping_add(hole[0]) }
}

/// Wants 1 GiB at once, and uses it.
fn hoard() {
    drop(std::hint::black_box(vec![1_u8; 1 << 30]));
}

/// Holds up its thread for good.
fn hang() {
    loop {
        std::thread::park();
    }
}

/// What the handlers of a worker need.
#[derive(Debug, Clone)]
struct Victim {
    worker: Worker,
    /// Tells the worker's function how to die.
    function: mpsc::Sender<String>,
}

/// The worker's function.
async fn serve(worker: Worker) -> hatchery::Result {
    let (function, mut ways) = mpsc::channel(1);
    let pages = Router::new()
        .route("/", get(async || "alive\n"))
        .route("/function/{way}", get(die_in_function))
        .route("/handler/{way}", get(die_in_handler))
        .route("/task/{way}", get(die_in_task))
        .route("/job/{way}", get(die_in_job))
        .route("/retire", get(retire))
        .with_state(Victim { worker: worker.clone(), function });
    tokio::select! {
        served = worker.serve(pages) => Ok(served?),
        Some(way) = ways.recv() => die(&way),
    }
}

async fn die_in_function(State(victim): State<Victim>, Path(way): Path<String>) -> &'static str {
    // A second order finds the function dying already.
    let _ = victim.function.try_send(way);
    pending().await
}

async fn die_in_handler(Path(way): Path<String>) -> Result<&'static str, Mishap> {
    survived(die(&way))
}

async fn die_in_task(Path(way): Path<String>) -> &'static str {
    tokio::spawn(async move { die(&way) });
    "the task has been started\n"
}

async fn die_in_job(
    State(victim): State<Victim>,
    Path(way): Path<String>,
) -> Result<Result<&'static str, Mishap>, CpuError> {
    victim.worker.cpu(move || die(&way)).await.map(survived)
}

async fn retire(State(victim): State<Victim>) -> Result<&'static str, Mishap> {
    survived(victim.worker.retire("it has seen enough").await.map_err(MasterGone::into))
}

/// The answer to an error.
type Mishap = (StatusCode, String);

fn survived(result: hatchery::Result) -> Result<&'static str, Mishap> {
    let mishap = |error: hatchery::BoxError| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    result.map(|()| "still alive\n").map_err(mishap)
}

/// The agent's function.
async fn lead(agent: Agent) -> hatchery::Result {
    tokio::spawn(write_down(agent.events().await?));
    agent.ready().await?;
    tokio::spawn({
        let agent = agent.clone();
        async move {
            loop {
                let way = order(&agent, "task").await;
                tokio::spawn(async move { die(&way) });
            }
        }
    });
    match agent.until_shutdown(order(&agent, "function")).await {
        Some(way) => die(&way),
        None => Ok(()),
    }
}

async fn die_in_duty(agent: Agent) -> hatchery::Result {
    match agent.until_shutdown(order(&agent, "duty")).await {
        Some(way) => die(&way),
        None => Ok(()),
    }
}

/// Waits for the file `die-in-PLACE` beside the folder of the logs, and takes it away.
async fn order(agent: &Agent, place: &str) -> String {
    let file = agent.log_dir().with_file_name(format!("die-in-{place}"));
    loop {
        let way = std::fs::read_to_string(&file).unwrap_or_default();
        // A file that is empty is still being written.
        if !way.is_empty() && std::fs::remove_file(&file).is_ok() {
            return way.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes down what happens in the cluster, one line for each event.
async fn write_down(mut events: ClusterEvents) {
    loop {
        let event = events.next().await;
        tracing::info!("heard of {}", serde_json::to_string(&event).unwrap_or_default());
    }
}
