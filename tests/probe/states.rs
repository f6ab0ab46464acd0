//! The states of the probe, as its configuration wants them: keyed ones, a large one, and what workers contribute.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use hatchery::{Agent, KeyFeed, Observed, SharedBytes, Topic, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::ProbeConfig;
use crate::bulk::Bulk;
use crate::tick::Tick;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct States {
    /// The keys that each worker observes.
    keys: Vec<String>,
    /// How long an upstream outlives its observers.
    linger_ms: u64,
    /// How large the large state is; none at 0.
    bulk_bytes: usize,
    /// How often it is published, counted from the start.
    bulk_rounds: u64,
    /// How large the picture is, which is published with the large state; none at 0.
    picture_bytes: usize,
    /// Each worker contributes its index, and the agent gathers them.
    contribute: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Load {
    index: u32,
}

impl Topic for Load {
    const NAME: &'static str = "load";
}

/// Bytes that are all the round's number.
#[derive(Debug, Serialize, Deserialize)]
struct Picture {
    round: u64,
    pixels: SharedBytes,
}

impl Topic for Picture {
    const NAME: &'static str = "picture";
}

impl Picture {
    fn of(round: u64, bytes: usize) -> Self {
        Self { round, pixels: vec![round as u8; bytes].into() }
    }
}

/// What the agent does.
pub(crate) async fn lead(agent: &Agent, config: &Observed<ProbeConfig>) -> hatchery::Result {
    let states = config.get().states.clone();
    let linger = Duration::from_millis(states.linger_ms);
    agent.publish_keyed_lingering(linger, |feed: KeyFeed<Tick>| feed_key(feed))?;
    assert!(agent.publish_keyed(|feed: KeyFeed<Tick>| feed_key(feed)).is_err(), "one publisher");
    if states.bulk_bytes > 0 {
        tokio::spawn(publish_bulk(agent.clone(), config.clone()));
    }
    if states.picture_bytes > 0 {
        tokio::spawn(publish_picture(agent.clone(), config.clone()));
    }
    if states.contribute {
        tokio::spawn(gather(agent.clone()));
    }
    Ok(())
}

/// An upstream: it locks a file for as long as it lives, so that a second one is noticed.
async fn feed_key(feed: KeyFeed<Tick>) -> hatchery::Result {
    let lock = File::create(format!("upstream-{}", feed.key()))?;
    if lock.try_lock().is_err() {
        File::create("overlap")?;
    }
    let mut started = OpenOptions::new().create(true).append(true).open("upstreams")?;
    writeln!(started, "{} {}", feed.key(), std::process::id())?;
    if feed.key() == "flaky" {
        match std::fs::read_to_string("upstreams")?.lines().count() {
            1 => return Err("the upstream is away".into()),
            2 => panic!("the upstream talks nonsense"),
            _ => {}
        }
    }
    let pid = std::process::id();
    for count in 0.. {
        feed.set(Tick { count, pid }).await?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn publish_bulk(agent: Agent, mut config: Observed<ProbeConfig>) -> hatchery::Result {
    let bytes = config.get().states.bulk_bytes;
    let bulk = agent.publish(Bulk { round: 0, bytes }).await?;
    let mut round = 0;
    loop {
        let mut version = 0;
        while round < config.get().states.bulk_rounds {
            round += 1;
            match bulk.set(Bulk { round, bytes }).await {
                Ok(next) => version = next,
                Err(error) => {
                    std::fs::write("refused.new", error.to_string())?;
                    std::fs::rename("refused.new", format!("refused-{round}"))?;
                }
            }
        }
        if version > 0 {
            File::create(format!("published-{round}"))?;
            if timeout(Duration::from_millis(300), bulk.until_everywhere(version)).await.is_err() {
                File::create(format!("late-{round}"))?;
            }
            bulk.until_everywhere(version).await?;
            File::create(format!("everywhere-{round}"))?;
        }
        config.changed().await;
    }
}

async fn publish_picture(agent: Agent, mut config: Observed<ProbeConfig>) -> hatchery::Result {
    let bytes = config.get().states.picture_bytes;
    let mut round = 1;
    let picture = agent.publish(Picture::of(round, bytes)).await?;
    loop {
        while round < config.get().states.bulk_rounds {
            round += 1;
            picture.set(Picture::of(round, bytes)).await?;
        }
        config.changed().await;
    }
}

/// Writes down each set.
async fn gather(agent: Agent) -> hatchery::Result {
    let mut loads = agent.gather::<Load>()?;
    loop {
        let set = loads.get();
        let line =
            set.iter().map(|one| format!("{} {} {}\n", one.origin(), one.origin().pid(), one.value().index));
        std::fs::write("gathered.new", format!("{}\n{}", std::process::id(), line.collect::<String>()))?;
        std::fs::rename("gathered.new", "gathered")?;
        loads.changed().await;
    }
}

/// What a worker sees: of each key the count, the version, who fed it, and how often a version fell.
type Seen = Arc<Mutex<BTreeMap<String, (u64, u64, u32, u64)>>>;

/// The pages of a worker, and its observing.
pub(crate) async fn pages(worker: Worker, config: Observed<ProbeConfig>) -> hatchery::Result<Router> {
    if config.get().states.contribute {
        worker.contribute(&Load { index: 99 }).await?;
        worker.contribute(&Load { index: worker.index() }).await?;
    }
    let (seen, bulk) = (Seen::default(), Arc::<Mutex<Option<Observed<Bulk>>>>::default());
    tokio::spawn(observe_keys(worker.clone(), config, Arc::clone(&seen)));
    tokio::spawn({
        let (worker, bulk) = (worker.clone(), Arc::clone(&bulk));
        async move {
            let observed = worker.observe::<Bulk>().await.ok();
            *bulk.lock().unwrap_or_else(|error| error.into_inner()) = observed;
        }
    });
    let picture = Arc::<Mutex<Option<(SharedBytes, Observed<Picture>)>>>::default();
    tokio::spawn({
        let (worker, picture) = (worker.clone(), Arc::clone(&picture));
        async move {
            let observed = worker.observe::<Picture>().await.ok();
            // The pixels that came first are kept.
            *picture.lock().unwrap_or_else(|error| error.into_inner()) =
                observed.map(|observed| (observed.get().pixels.clone(), observed));
        }
    });
    let index = worker.index();
    let keys = async move || -> Json<Value> {
        let seen = seen.lock().unwrap_or_else(|error| error.into_inner());
        Json(json!({ "index": index, "pid": std::process::id(), "keys": *seen }))
    };
    let large = async move || -> Json<Value> {
        let bulk = bulk.lock().unwrap_or_else(|error| error.into_inner()).clone();
        let (round, bytes) = bulk.map(|bulk| bulk.get()).map_or((0, 0), |bulk| (bulk.round, bulk.bytes));
        Json(json!({ "index": index, "round": round, "bytes": bytes }))
    };
    let picture = async move || -> Json<Value> {
        let picture = picture.lock().unwrap_or_else(|error| error.into_inner()).clone();
        let (kept, round, newest) = picture.map_or_else(Default::default, |(kept, picture)| {
            let newest = picture.get();
            (colour(&kept), newest.round, colour(&newest.pixels))
        });
        let pid = std::process::id();
        Json(json!({ "index": index, "pid": pid, "kept": kept, "round": round, "newest": newest }))
    };
    let router = Router::new().route("/states/keys", get(keys)).route("/states/large", get(large));
    Ok(router.route("/states/picture", get(picture)))
}

/// What all of these bytes are; none if they are not all the same.
fn colour(pixels: &[u8]) -> Option<u8> {
    let first = *pixels.first()?;
    pixels.iter().all(|pixel| *pixel == first).then_some(first)
}

/// Observes the keys that the configuration names, each in a task that ends with its name there.
async fn observe_keys(worker: Worker, mut config: Observed<ProbeConfig>, seen: Seen) {
    let mut tasks: BTreeMap<String, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        let keys = config.get().states.keys.clone();
        tasks.retain(|key, task| {
            let stays = keys.contains(key);
            if !stays {
                task.abort();
                seen.lock().unwrap_or_else(|error| error.into_inner()).remove(key);
            }
            stays
        });
        for key in keys {
            tasks
                .entry(key.clone())
                .or_insert_with(|| tokio::spawn(observe_key(worker.clone(), key, Arc::clone(&seen))));
        }
        config.changed().await;
    }
}

async fn observe_key(worker: Worker, key: String, seen: Seen) {
    let Ok(mut observed) = worker.observe_key::<Tick>(&key).await else { return };
    let (mut fell, mut last) = (0, 0);
    loop {
        let tick = observed.get();
        fell += u64::from(tick.version() < last);
        last = tick.version();
        let line = (tick.count, last, tick.pid, fell);
        seen.lock().unwrap_or_else(|error| error.into_inner()).insert(key.clone(), line);
        observed.changed().await;
    }
}
