//! The app whose bus is measured. `BUS_TASK` says what: `typed`, `untyped`, `state`, `state-read`, `state-owned`, `ask` or
//! `ask-many`, then `COUNT SIZE PAUSE_US`. A state is published anew when every worker has it.

use std::ops::Deref;
use std::process::ExitCode;

use futures_util::StreamExt as _;
use futures_util::stream;
use hatchery::{Agent, App, Observed, Peer, Request, SharedBytes, Topic, Worker};
use hatchery_bench::bus::{Notes, Task, now, sent_at, tell_sender};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What an author would send.
#[derive(Debug, Serialize, Deserialize)]
struct Tick {
    sent_at: u64,
    number: u64,
    symbol: String,
}

impl Topic for Tick {
    const NAME: &'static str = "tick";
}

/// Bytes that nobody looks into.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Blob(ByteBuf);

impl Topic for Blob {
    const NAME: &'static str = "blob";
}

/// The same without a copy in each process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Shared(SharedBytes);

impl Topic for Shared {
    const NAME: &'static str = "shared";
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Shared {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    number: u64,
}

impl Topic for Question {
    const NAME: &'static str = "question";
}

impl Request for Question {
    type Reply = u64;
}

fn task() -> hatchery::Result<(String, Task)> {
    let text = std::env::var("BUS_TASK")?;
    let (kind, task) = text.split_once(' ').ok_or("BUS_TASK is KIND COUNT SIZE PAUSE_US")?;
    Ok((kind.to_owned(), Task::parse(task)?))
}

fn main() -> ExitCode {
    App::new("bus-app").agent(send).worker(receive).run()
}

async fn send(agent: Agent) -> hatchery::Result {
    let (kind, task) = task()?;
    agent.answer(async |question: Question| Ok::<_, String>(question.number))?;
    agent.ready().await?;
    agent.cluster_ready().await;
    if kind.starts_with("ask") {
        return Ok(());
    }
    match &*kind {
        "state" | "state-read" => return publish::<Shared>(&agent, task).await,
        "state-owned" => return publish::<Blob>(&agent, task).await,
        _ => {}
    }
    tell_sender("begin")?;
    // The number, the names and the time take their share of the size.
    let symbol = "x".repeat(task.size.saturating_sub(40));
    for number in 0..task.count {
        match &*kind {
            "typed" => {
                let tick = Tick { sent_at: now(), number, symbol: symbol.clone() };
                agent.broadcast_to("web", &tick).await?;
            }
            _ => agent.broadcast_to("web", &Blob::from(task.payload())).await?,
        }
        if !task.pause.is_zero() {
            tokio::time::sleep(task.pause).await;
        }
    }
    tell_sender("end")?;
    Ok(())
}

/// The bytes of a page of memory.
const PAGE: usize = 4096;

/// This version is there before anything is measured.
const UNMEASURED: u64 = 1;

async fn publish<T: Topic + From<Vec<u8>>>(agent: &Agent, task: Task) -> hatchery::Result {
    let state = agent.publish(T::from(Vec::new())).await?;
    state.until_everywhere(UNMEASURED).await?;
    tell_sender("begin")?;
    for _ in 0..task.count {
        let version = state.set(T::from(task.payload())).await?;
        state.until_everywhere(version).await?;
        if !task.pause.is_zero() {
            tokio::time::sleep(task.pause).await;
        }
    }
    tell_sender("end")?;
    Ok(())
}

async fn receive(worker: Worker) -> hatchery::Result {
    let (kind, task) = task()?;
    let mut notes = Notes::new(task);
    match &*kind {
        "typed" => {
            let mut ticks = worker.subscribe::<Tick>()?;
            worker.ready().await?;
            while !notes.take(ticks.next().await?.sent_at) {}
        }
        "untyped" => {
            let mut blobs = worker.subscribe::<Blob>()?;
            worker.ready().await?;
            while !notes.take(sent_at(&blobs.next().await?)) {}
        }
        "state" => return hold::<Shared>(&worker, notes, sent_at).await,
        "state-read" => return hold::<Shared>(&worker, notes, sent_at_and_read).await,
        "state-owned" => return hold::<Blob>(&worker, notes, sent_at).await,
        _ => {
            worker.ready().await?;
            worker.cluster_ready().await;
            ask(&worker, &kind, task, &mut notes).await?;
        }
    }
    notes.tell("receiver")?;
    worker.draining().await;
    Ok(())
}

/// Notes all versions, and holds the last until the end, so that somebody can look at what memory that takes.
async fn hold<T>(worker: &Worker, mut notes: Notes, look: fn(&[u8]) -> u64) -> hatchery::Result
where
    T: Topic + Deref<Target = [u8]>,
{
    worker.ready().await?;
    let mut blob = worker.observe::<T>().await?;
    follow(&mut blob, &mut notes, look).await;
    notes.tell("receiver")?;
    worker.draining().await;
    Ok(())
}

/// When it was sent, after a look at every page.
fn sent_at_and_read(payload: &[u8]) -> u64 {
    std::hint::black_box(payload.iter().step_by(PAGE).fold(0, |all, byte| all ^ byte));
    sent_at(payload)
}

/// Notes each version up to the last. One that the observer was too late for counts as received all the same: this
/// process acknowledged each before the next was published, and only the observer had its turn later.
async fn follow<T>(blob: &mut Observed<T>, notes: &mut Notes, look: fn(&[u8]) -> u64)
where
    T: Deref<Target = [u8]>,
{
    let (mut noted, mut latest) = (UNMEASURED, blob.get());
    loop {
        if latest.version() > noted {
            notes.pass(latest.version() - noted - 1);
            noted = latest.version();
            if notes.take(look(&latest)) {
                return;
            }
        }
        latest = blob.changed().await;
    }
}

/// Asks the agent: one question after the other, or 64 at a time.
async fn ask(worker: &Worker, kind: &str, task: Task, notes: &mut Notes) -> hatchery::Result {
    tell_sender("begin")?;
    let at_once = if kind == "ask-many" { 64 } else { 1 };
    let asked = stream::iter(0..task.count).map(|number| async move {
        let began = now();
        worker.ask(&Peer::Agent, &Question { number }).await.map(|_| began)
    });
    let mut answers = asked.buffer_unordered(at_once);
    while let Some(began) = answers.next().await {
        notes.take(began?);
    }
    tell_sender("end")?;
    Ok(())
}
