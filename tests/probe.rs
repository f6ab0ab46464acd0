//! The app of the end-to-end tests: like any app, with faults that its configuration can switch on.

mod endless;
mod tick;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::{Query, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use hatchery::{Agent, App, ClientAddress, ClusterEvents, Duty, Observed, ServeError, Topic, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::time::sleep;

#[path = "probe/bulk.rs"]
mod bulk;
#[path = "probe/faults.rs"]
mod faults;
#[path = "probe/harm.rs"]
mod harm;
#[path = "probe/states.rs"]
mod states;
#[path = "probe/streams.rs"]
mod streams;

use self::faults::{Fault, commit};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct ProbeConfig {
    greeting: String,
    /// Published by the agent as `Flags`, at every change.
    flags: u32,
    /// Has to fit a byte, to be out of range.
    small: u8,
    limits: Limits,
    /// Whatever a test says; nobody reads it.
    upstream: serde_json::Map<String, Value>,
    /// A worker from this index on waits until the file `go` exists, if it is not 0.
    late: u32,
    /// How long a worker takes to begin.
    start_ms: u64,
    /// The agent writes down what it hears of the cluster.
    watch: bool,
    states: states::States,
    agent: Fault,
    worker: Fault,
    duty: Fault,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Limits {
    depth: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Flags {
    count: u32,
}

impl Topic for Flags {
    const NAME: &'static str = "flags";
}

fn main() -> ExitCode {
    // The master dies with its test, even when the test is killed; the children set the same of the master.
    // In the background its parent is the command that started it, which leaves.
    if std::env::var_os("HATCHERY_DAEMON").is_none() {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    let app = App::new("probe")
        .version("1.2.3")
        .config::<ProbeConfig>()
        .duty(hatchery_agent::config_polling())
        .duty(hatchery_agent::log_rotation())
        .duty(Duty::new("faulty", faulty_duty))
        .agent(lead)
        .worker(serve);
    // Most tests count processes.
    let app = if Path::new("jobs").exists() { app.group("jobs", work) } else { app };
    app.run()
}

async fn faulty_duty(agent: Agent) -> hatchery::Result {
    let mut config = agent.config::<ProbeConfig>().await?;
    loop {
        commit(config.get().duty).await?;
        if agent.until_shutdown(config.changed()).await.is_none() {
            return Ok(());
        }
    }
}

async fn lead(agent: Agent) -> hatchery::Result {
    let mut config = agent.config::<ProbeConfig>().await?;
    commit(config.get().agent).await?;
    if config.get().watch {
        tokio::spawn(watch(agent.events().await?));
    }
    states::lead(&agent, &config).await?;
    let flags = agent.publish(Flags { count: config.get().flags }).await?;
    agent.ready().await?;
    agent.cluster_ready().await;
    tracing::info!("the agent knows that the cluster is ready");
    while let Some(changed) = agent.until_shutdown(config.changed()).await {
        flags.set(Flags { count: changed.flags }).await?;
    }
    Ok(())
}

async fn watch(mut events: ClusterEvents) {
    loop {
        let event = events.next().await;
        tracing::info!("heard of {}", serde_json::to_string(&event).unwrap_or_default());
    }
}

/// A worker of the group `jobs`: it serves if it has somewhere to listen.
async fn work(worker: Worker) -> hatchery::Result {
    tracing::info!("worker {} is at work", worker.index());
    for (name, socket) in worker.udp_sockets()? {
        tokio::spawn(give_back(name, socket));
    }
    let pages = Router::new().route("/whoami", get(whoami_in_jobs)).with_state(worker.clone());
    match worker.serve(pages).await {
        Err(ServeError::Nowhere(_)) => {}
        served => return Ok(served?),
    }
    worker.ready().await?;
    worker.draining().await;
    Ok(())
}

/// Answers each datagram with the name of its socket, our pid, and what it said.
async fn give_back(name: String, socket: UdpSocket) {
    let mut buffer = [0; 64];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let said = String::from_utf8_lossy(&buffer[..length]);
        let answer = format!("{name} {} {said}", std::process::id());
        let _ = socket.send_to(answer.as_bytes(), client).await;
    }
}

async fn whoami_in_jobs(State(worker): State<Worker>) -> Json<Value> {
    Json(json!({ "group": worker.group(), "index": worker.index() }))
}

#[derive(Debug, Clone)]
struct Probe {
    worker: Worker,
    config: Observed<ProbeConfig>,
    flags: Observed<Flags>,
}

async fn serve(worker: Worker) -> hatchery::Result {
    let config = worker.config::<ProbeConfig>().await?;
    let fault = config.get().worker;
    commit(fault).await?;
    sleep(Duration::from_millis(config.get().start_ms)).await;
    let late = config.get().late;
    if late > 0 && worker.index() >= late {
        commit(Fault::Wait).await?;
    }
    if fault == Fault::Leave {
        return Ok(());
    }
    tokio::spawn({
        let worker = worker.clone();
        async move {
            worker.cluster_ready().await;
            tracing::info!("worker {} knows that the cluster is ready", worker.index());
        }
    });
    let flags = worker.observe::<Flags>().await?;
    let states = states::pages(worker.clone(), config.clone()).await?;
    let pages = Router::new()
        .route("/", get(async |State(probe): State<Probe>| probe.config.get().greeting.clone()))
        .route("/whoami", get(whoami))
        .route("/whoami/{name}", get(whoami))
        .route("/client", get(client))
        .route("/config", get(config_in_force))
        .route("/flags", get(flags_in_force))
        .route("/slow", get(slow))
        .route("/slow-to-leave", get(slow_to_leave))
        .route("/ticks", get(async |State(probe): State<Probe>| endless::ticks(&probe.worker)))
        .route("/talk", get(talk))
        .route("/log", get(log_lines))
        .route("/echo", post(async |body: Bytes| body))
        .with_state(Probe { worker: worker.clone(), config, flags })
        .merge(harm::pages(worker.clone()))
        .merge(streams::pages(worker.clone()))
        .merge(states);
    worker.serve(pages).await?;
    tracing::info!("worker {} has drained", worker.index());
    Ok(())
}

async fn client(ClientAddress(client): ClientAddress) -> String {
    client.map_or_else(String::new, |client| client.to_string())
}

async fn whoami(State(probe): State<Probe>) -> Json<Value> {
    Json(streams::name(&probe.worker))
}

async fn config_in_force(State(probe): State<Probe>) -> Json<Value> {
    let config = probe.config.get();
    Json(json!({ "version": config.version(), "config": *config, "index": probe.worker.index() }))
}

async fn flags_in_force(State(probe): State<Probe>) -> Json<Value> {
    let flags = probe.flags.get();
    Json(json!({ "version": flags.version(), "count": flags.count, "index": probe.worker.index() }))
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

async fn talk(State(probe): State<Probe>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| endless::talk(socket, probe.worker))
}

/// Leaves a file when it begins, so that a test knows that it is in flight.
async fn slow(Query(slow): Query<Slow>) -> &'static str {
    let _ = std::fs::write("slow-began", "");
    sleep(Duration::from_millis(slow.ms)).await;
    "slow but sure"
}

/// The same, beginning when the worker leaves: it is in flight then, however late that comes.
async fn slow_to_leave(State(probe): State<Probe>, Query(slow): Query<Slow>) -> &'static str {
    let _ = std::fs::write("slow-began", "");
    probe.worker.draining().await;
    sleep(Duration::from_millis(slow.ms)).await;
    "slow but sure"
}

#[derive(Deserialize)]
struct Lines {
    from: u32,
    count: u32,
}

async fn log_lines(State(probe): State<Probe>, Query(lines): Query<Lines>) -> String {
    for number in lines.from..lines.from + lines.count {
        tracing::info!("numbered line {number}");
    }
    probe.worker.index().to_string()
}
