//! A duty that fails again and again, with all that a duty can register.

use std::sync::{Mutex, PoisonError};

use hatchery::{Agent, KeyFeed, Peer, Published, Request, Topic};
use serde::{Deserialize, Serialize};

use super::notes::note;

/// What a former run has left where it outlives that run.
static LEFT: Mutex<Option<Published<Run>>> = Mutex::new(None);

#[derive(Debug, Serialize, Deserialize)]
struct Run(usize);

impl Topic for Run {
    const NAME: &'static str = "clumsy.run";
}

#[derive(Debug, Serialize, Deserialize)]
struct Which;

impl Topic for Which {
    const NAME: &'static str = "clumsy.which";
}

impl Request for Which {
    type Reply = usize;
}

/// Fails twice, if there is a file `clumsy`, and leaves a line for each run in `clumsy`.
pub(crate) async fn err(agent: Agent) -> hatchery::Result {
    let Ok(runs) = std::fs::read_to_string("clumsy") else { return Ok(()) };
    let run = runs.lines().count() + 1;
    register(&agent, run).await?;
    note("clumsy", "a run");
    if run > 2 { Ok(()) } else { Err(format!("run {run} is clumsy").into()) }
}

/// What was published under this name before.
#[derive(Debug, Serialize, Deserialize)]
struct Old(String);

impl Topic for Old {
    const NAME: &'static str = "clumsy.changing";
}

#[derive(Debug, Serialize, Deserialize)]
struct New(u32);

impl Topic for New {
    const NAME: &'static str = "clumsy.changing";
}

/// Publishes what does not fit who observes it here; whether that one knows it.
async fn change(agent: &Agent) -> hatchery::Result<bool> {
    let old = agent.publish(Old("words".to_owned())).await?;
    let observed = agent.observe::<Old>().await?;
    drop(old);
    let new = agent.publish(New(1)).await?;
    Ok(observed.misfit().is_some() && observed.get().version() < new.version())
}

async fn register(agent: &Agent, run: usize) -> hatchery::Result {
    let left = LEFT.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stale = match &left {
        Some(left) => left.set(Run(0)).await.map_err(|error| error.to_string()).err(),
        None => None,
    };
    agent.answer(move |_: Which| async move { Ok::<_, String>(run) })?;
    agent.publish_keyed(move |feed: KeyFeed<Run>| async move {
        feed.set(Run(run)).await?;
        std::future::pending().await
    })?;
    let has_changed = run > 1 || change(agent).await?;
    let published = agent.publish(Run(run)).await?;
    published.until_everywhere(published.version()).await?;
    let (twice, never) = (agent.publish(Run(99)).await, published.until_everywhere(1_000_000).await);
    let answered = agent.ask(&Peer::Agent, &Which).await?;
    let mut key = agent.observe_key::<Run>("key").await?;
    while key.get().0 != run {
        key.changed().await;
    }
    let word = |problem: Option<String>| problem.unwrap_or_else(|| "fine".to_owned());
    for line in [
        format!("run {run}: answered by {answered}, changed {has_changed}, stale {}", word(stale)),
        format!("twice {}", word(twice.err().map(|error| error.to_string()))),
        format!("never {}", word(never.err().map(|error| error.to_string()))),
    ] {
        note("clumsy-said", &line);
    }
    *LEFT.lock().unwrap_or_else(PoisonError::into_inner) = Some(published);
    Ok(())
}
