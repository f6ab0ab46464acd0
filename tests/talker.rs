//! An app whose processes talk: each does what an order tells it, and keeps what it heard. Orders come over HTTP, and are
//! passed on to whom they are for.

use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::StreamExt as _;
use hatchery::{Agent, App, Asked, Duty, KeyFeed, Messenger, ReceiveError, Received, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::notes::{journal, note, pause};
use self::obeying::{kind, peer};
use self::orders::{Order, Slow, Words, words};
use self::tick::Tick;

#[path = "talker/clumsy.rs"]
mod clumsy;
#[path = "talker/erring.rs"]
mod erring;
#[path = "talker/notes.rs"]
mod notes;
#[path = "talker/obeying.rs"]
mod obeying;
#[path = "talker/orders.rs"]
mod orders;
mod tick;

fn main() -> ExitCode {
    if std::env::var_os("HATCHERY_DAEMON").is_none() {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    App::new("talker")
        .duty(hatchery_agent::config_polling())
        .duty(Duty::new("clumsy", clumsy::err))
        .agent(lead)
        .worker(serve)
        .group("jobs", work)
        .run()
}

async fn lead(agent: Agent) -> hatchery::Result {
    let _talker = Talker::begin("agent".to_owned(), agent.messenger().clone(), None)?;
    agent.publish_keyed(feed)?;
    if Path::new("eager").exists() {
        let _ = agent.ask_within(Duration::from_millis(100), &peer("web.0"), &Order::Name).await;
    }
    if Path::new("early").exists() {
        for number in 0..3 {
            agent.broadcast_to("web", &words("early", number, 0)).await?;
        }
        let delivery = agent.broadcast_confirmed(&words("early", 3, 0)).await?;
        note("delivery", &format!("{} {:?}", delivery.queued, delivery.missed));
    }
    if Path::new("crowded").exists() {
        agent.broadcast(&words("crowded", 0, 1 << 20)).await?;
        let delivery = agent.broadcast_confirmed(&words("crowded", 1, 1 << 20)).await?;
        let mut by: Vec<String> = delivery.missed_by.iter().map(ToString::to_string).collect();
        by.sort();
        note("delivery", &format!("{} {:?} {}", delivery.queued, delivery.missed, by.join(" ")));
    }
    agent.ready().await?;
    let _ = agent.until_shutdown(std::future::pending::<()>()).await;
    Ok(())
}

/// The key `brief` has 20 values, all others go on; there is no key `unlisted` before the file `listed` is there.
async fn feed(feed: KeyFeed<Tick>) -> hatchery::Result {
    if feed.key() == "unlisted" && !Path::new("listed").exists() {
        feed.refuse("no such key").await?;
        while !Path::new("listed").exists() {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let most = if feed.key() == "brief" { 20 } else { u64::MAX };
    for count in 1..=most {
        feed.set(Tick { count, pid: std::process::id() }).await?;
        sleep(Duration::from_millis(5)).await;
    }
    std::future::pending().await
}

/// A life of taking messages.
async fn work(worker: Worker) -> hatchery::Result {
    let talker = Talker::new(format!("jobs.{}", worker.index()), worker.messenger().clone(), Some(&worker));
    talker.answer()?;
    let mut words = worker.subscribe::<Words>()?;
    worker.ready().await?;
    while let Some(words) = words.next_or_leave().await {
        note("taken", &talker.name);
        pause("pause").await;
        if words.as_ref().is_ok_and(|words| words.text.starts_with("go home")) {
            break;
        }
        talker.hear(words);
    }
    Ok(())
}

/// A worker that is late does not even listen before the file `go` is there.
async fn serve(worker: Worker) -> hatchery::Result {
    while Path::new(&format!("late.{}", worker.index())).exists() && !Path::new("go").exists() {
        sleep(Duration::from_millis(5)).await;
    }
    let talker = Talker::begin(format!("web.{}", worker.index()), worker.messenger().clone(), Some(&worker))?;
    Ok(worker.serve(Router::new().route("/order", post(pass_on)).with_state(talker)).await?)
}

#[derive(Deserialize)]
struct By {
    by: String,
}

/// Orders come to any worker, and are done by whom they are for.
async fn pass_on(
    State(talker): State<Talker>,
    Query(by): Query<By>,
    Json(order): Json<Order>,
) -> Json<Value> {
    let patience = Duration::from_secs(20);
    let answer = talker.messenger.ask_within(patience, &peer(&by.by), &order).await;
    Json(answer.unwrap_or_else(|error| json!({ "error": error.to_string(), "kind": kind(&error) })))
}

/// The last value of a key, its version, and how often a version fell.
#[derive(Debug, Clone, Default, Serialize)]
struct Seen {
    count: u64,
    pid: u32,
    version: u64,
    fell: u64,
}

#[derive(Debug, Clone)]
struct Talker {
    name: String,
    messenger: Messenger,
    heard: Arc<Mutex<Vec<Value>>>,
    dawdling: Arc<AtomicUsize>,
    worker: Option<Worker>,
    seen: Arc<Mutex<Seen>>,
}

impl Talker {
    fn new(name: String, messenger: Messenger, worker: Option<&Worker>) -> Self {
        if let (Some(worker), name) = (worker.cloned(), name.clone()) {
            tokio::spawn(async move {
                worker.draining().await;
                note("asked", &name);
            });
        }
        let (worker, seen) = (worker.cloned(), Arc::default());
        Self { name, messenger, heard: Arc::default(), dawdling: Arc::default(), worker, seen }
    }

    /// Listens in a task of its own, and answers.
    fn begin(name: String, messenger: Messenger, worker: Option<&Worker>) -> hatchery::Result<Self> {
        let talker = Self::new(name, messenger, worker);
        tokio::spawn(talker.clone().listen(talker.messenger.subscribe()?));
        talker.answer()?;
        Ok(talker)
    }

    fn answer(&self) -> hatchery::Result {
        let answering = self.clone();
        self.messenger.answer_asked(move |asked: Asked<Order>| {
            let talker = answering.clone();
            async move { talker.obey(asked).await.map_err(|error| error.to_string()) }
        })?;
        let limits = hatchery::AnswerLimits { at_once: 2, waiting: 3 };
        self.messenger.answer_within(limits, async |slow: Slow| -> Result<(), String> {
            sleep(Duration::from_millis(slow.ms)).await;
            Ok(())
        })?;
        Ok(())
    }

    async fn listen(self, words: hatchery::Subscription<Words>) {
        let mut words = pin!(words.into_stream());
        while let Some(words) = words.next().await {
            self.hear(words);
            pause("slow").await;
            pause(&format!("slow.{}", self.name)).await;
        }
        note("left", &self.name);
    }

    fn hear(&self, words: Result<Received<Words>, ReceiveError>) {
        let note = match words {
            Ok(words) => {
                let from = words.origin().map(ToString::to_string);
                let (id, at) = (words.id(), words.sent_at().timestamp_micros());
                let text = words.text.trim_end();
                json!({ "text": text, "from": from, "pid": id.pid, "number": id.number, "at": at })
            }
            Err(ReceiveError::Missed { count, .. }) => json!({ "missed": count }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        journal(&note);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }
}
