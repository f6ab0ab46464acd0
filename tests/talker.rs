//! An app whose processes talk: each does what an order tells it, and keeps what it heard. Orders come over HTTP, and are
//! passed on to whom they are for.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::routing::post;
use axum::{Json, Router};
use hatchery::{
    Agent, App, AskError, KeyFeed, Messenger, Peer, ReceiveError, Received, Request, SendError, Topic, Worker,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
struct Words {
    text: String,
}

impl Topic for Words {
    const NAME: &'static str = "words";
}

/// The same topic, as somebody who is mistaken about it would send it.
#[derive(Debug, Serialize, Deserialize)]
struct Numbers {
    numbers: Vec<u8>,
}

impl Topic for Numbers {
    const NAME: &'static str = "words";
}

/// A topic that is the framework's.
#[derive(Debug, Serialize, Deserialize)]
struct Forged;

impl Topic for Forged {
    const NAME: &'static str = "hatchery.exited";
}

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    /// Send so many messages, numbered from 0 and filled up to a size.
    Send {
        to: String,
        text: String,
        count: u32,
        size: usize,
    },
    /// The same, but not waiting for room.
    TrySend {
        to: String,
        text: String,
        count: u32,
        size: usize,
    },
    /// Send numbered words to these in turn for as long as you live, and write down in the file `confirmed` what was.
    Pester {
        whom: Vec<String>,
    },
    /// Observe a key from now on.
    Observe {
        key: String,
    },
    /// Tell what you saw last of it.
    Observed,
    /// Ask another for its name so often, again when it is busy, and tell how many microseconds half of the answers
    /// took at most.
    Time {
        whom: String,
        count: usize,
    },
    /// Send what is no words under their name.
    Mislead,
    Forge,
    /// Tell what was heard.
    Heard,
    /// Ask another for its name.
    Ask {
        whom: String,
        within_ms: u64,
    },
    /// Ask so often, some at the same time, and tell how often which kind of answer came.
    Inquire {
        whom: String,
        count: usize,
    },
    /// Tell how much was heard, and how much missed.
    Tally,
    /// Ask so many at the same time.
    AskMany {
        whom: String,
        count: usize,
    },
    /// Tell your name.
    Name,
    /// Answer after so long.
    Dawdle {
        ms: u64,
    },
    /// Tell how many were told to dawdle and have not been given up.
    Dawdling,
    Refuse {
        words: String,
    },
    Panic,
    Die,
}

impl Topic for Order {
    const NAME: &'static str = "orders";
}

impl Request for Order {
    type Reply = Value;
}

/// A question that is answered by two at a time.
#[derive(Debug, Serialize, Deserialize)]
struct Slow {
    ms: u64,
}

impl Topic for Slow {
    const NAME: &'static str = "slow";
}

impl Request for Slow {
    type Reply = ();
}

/// A question that nobody answers.
#[derive(Debug, Serialize, Deserialize)]
struct Riddle;

impl Topic for Riddle {
    const NAME: &'static str = "riddle";
}

impl Request for Riddle {
    type Reply = ();
}

/// What the agent feeds each key with.
#[derive(Debug, Serialize, Deserialize)]
struct Tick {
    count: u64,
    pid: u32,
}

impl Topic for Tick {
    const NAME: &'static str = "tick";
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

/// Counted while it lives.
struct Dawdler(Arc<AtomicUsize>);

impl Dawdler {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Dawdler {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    if std::env::var_os("HATCHERY_DAEMON").is_none() {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    App::new("talker")
        .duty(hatchery_agent::config_polling())
        .agent(lead)
        .worker(serve)
        .group("jobs", work)
        .run()
}

async fn lead(agent: Agent) -> hatchery::Result {
    let _talker = Talker::begin("agent".to_owned(), agent.messenger().clone(), None)?;
    agent.publish_keyed(feed)?;
    agent.ready().await?;
    let _ = agent.until_shutdown(std::future::pending::<()>()).await;
    Ok(())
}

/// The key `brief` has 20 values, all others go on.
async fn feed(feed: KeyFeed<Tick>) -> hatchery::Result {
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

/// Takes as many milliseconds as a file says, if there is one; for as long as it is there, if it does not say how many.
async fn pause(file: &str) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    match text.trim().parse() {
        Ok(ms) => sleep(Duration::from_millis(ms)).await,
        Err(_) => {
            while Path::new(file).exists() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
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

/// `agent`, `web.1`, `any:web`, `next:web`, or a process id.
fn peer(name: &str) -> Peer {
    match name.split_once([':', '.']) {
        Some(("any", group)) => Peer::any_of(group),
        Some(("next", group)) => Peer::next_of(group),
        Some((group, index)) => Peer::worker(group, index.parse().unwrap_or(u32::MAX)),
        None => name.parse().map_or(Peer::Agent, Peer::Process),
    }
}

fn kind(error: &AskError) -> &'static str {
    match error {
        AskError::Deadline { .. } => "deadline",
        AskError::Gone(_) => "gone",
        AskError::Busy(_) => "busy",
        AskError::NobodyAnswers { .. } => "nobody",
        AskError::Refused { .. } => "refused",
        AskError::Misunderstood { .. } | AskError::Codec(_) => "misunderstood",
        AskError::Send(SendError::NoSuchPeer(..)) => "no such peer",
        AskError::Send(_) => "not sent",
    }
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
        self.messenger.answer(move |order: Order| {
            let talker = answering.clone();
            async move { talker.obey(order).await.map_err(|error| error.to_string()) }
        })?;
        let limits = hatchery::AnswerLimits { at_once: 2, waiting: 3 };
        self.messenger.answer_within(limits, async |slow: Slow| -> Result<(), String> {
            sleep(Duration::from_millis(slow.ms)).await;
            Ok(())
        })?;
        Ok(())
    }

    async fn listen(self, mut words: hatchery::Subscription<Words>) {
        loop {
            let words = words.next().await;
            if matches!(words, Err(ReceiveError::Left { .. })) {
                return note("left", &self.name);
            }
            self.hear(words);
            pause("slow").await;
        }
    }

    fn hear(&self, words: Result<Received<Words>, ReceiveError>) {
        let note = match words {
            Ok(words) => {
                let from = words.origin().map(ToString::to_string);
                json!({ "text": words.text.trim_end(), "from": from, "number": words.id().number })
            }
            Err(ReceiveError::Missed { count, .. }) => json!({ "missed": count }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        journal(&note);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    async fn obey(self, order: Order) -> hatchery::Result<Value> {
        Ok(match order {
            Order::Send { to, text, count, size } => {
                for number in 0..count {
                    self.send(&to, &words(&text, number, size)).await?;
                }
                json!(count)
            }
            Order::TrySend { to, text, count, size } => {
                let mut refused = 0;
                for number in 0..count {
                    match self.messenger.try_send_to(&peer(&to), &words(&text, number, size)).await {
                        Err(SendError::Full(_)) => refused += 1,
                        other => other?,
                    }
                }
                json!(refused)
            }
            order @ (Order::Pester { .. } | Order::Observe { .. }) => {
                tokio::spawn(self.go_on(order));
                json!(null)
            }
            Order::Time { whom, count } => json!(self.time(&peer(&whom), count).await?),
            Order::Mislead => {
                self.messenger.broadcast(&Numbers { numbers: vec![1] }).await?;
                json!(1)
            }
            Order::Forge => json!(self.messenger.broadcast(&Forged).await.map_err(|error| error.to_string())),
            Order::Ask { whom, within_ms } if whom == "riddle" => {
                let patience = Duration::from_millis(within_ms);
                let answer = self.messenger.ask_within(patience, &Peer::Agent, &Riddle).await;
                json!(answer.map_err(|error| kind(&error)))
            }
            Order::Ask { whom, within_ms } => {
                let patience = Duration::from_millis(within_ms);
                let answer = self.messenger.ask_within(patience, &peer(&whom), &Order::Name).await;
                json!(answer.map_err(|error| kind(&error)))
            }
            Order::Inquire { whom, count } => self.inquire(&peer(&whom), count).await,
            Order::AskMany { whom, count } => {
                let (peer, slow) = (peer(&whom), Slow { ms: 300 });
                let asks = (0..count).map(|_| self.messenger.ask(&peer, &slow));
                let answers = futures_util::future::join_all(asks).await;
                json!(answers.iter().filter(|answer| matches!(answer, Err(AskError::Busy(_)))).count())
            }
            Order::Dawdle { ms } => {
                let _here = Dawdler::begin(&self.dawdling);
                sleep(Duration::from_millis(ms)).await;
                json!("at last")
            }
            Order::Refuse { words } => return Err(words.into()),
            Order::Panic => panic!("an order to panic"),
            Order::Die => std::process::abort(),
            order => self.tell(&order),
        })
    }

    /// Does what does not end.
    async fn go_on(self, order: Order) {
        match order {
            Order::Pester { whom } => self.pester(&whom).await,
            Order::Observe { key } => self.observe(&key).await,
            _ => {}
        }
    }

    /// What it knows.
    fn tell(&self, order: &Order) -> Value {
        match order {
            Order::Name => json!(self.name),
            Order::Heard => json!(*self.heard.lock().unwrap_or_else(PoisonError::into_inner)),
            Order::Observed => json!(*self.seen.lock().unwrap_or_else(PoisonError::into_inner)),
            Order::Tally => {
                let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
                let missed: u64 = heard.iter().filter_map(|note| note["missed"].as_u64()).sum();
                json!({ "heard": heard.len(), "missed": missed })
            }
            Order::Dawdling => json!(self.dawdling.load(Ordering::Relaxed)),
            order => panic!("{order:?} is to be obeyed"),
        }
    }

    /// Eight ask at a time, and each answer takes a moment.
    async fn inquire(&self, whom: &Peer, count: usize) -> Value {
        let mut kinds = BTreeMap::<&str, usize>::new();
        let mut left = count;
        while left > 0 {
            let at_once = left.min(8);
            let question = Order::Dawdle { ms: 2 };
            let patience = Duration::from_secs(10);
            let asks = (0..at_once).map(|_| self.messenger.ask_within(patience, whom, &question));
            for answer in futures_util::future::join_all(asks).await {
                *kinds.entry(answer.as_ref().map_or_else(kind, |_| "answered")).or_default() += 1;
            }
            left -= at_once;
        }
        json!(kinds)
    }

    async fn observe(&self, key: &str) {
        let Some(worker) = &self.worker else { return };
        let Ok(mut observed) = worker.observe_key::<Tick>(key).await else { return };
        loop {
            let tick = observed.get();
            {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let fell = seen.fell + u64::from(tick.version() < seen.version);
                *seen = Seen { count: tick.count, pid: tick.pid, version: tick.version(), fell };
            }
            observed.changed().await;
        }
    }

    async fn time(&self, whom: &Peer, count: usize) -> hatchery::Result<u64> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begun = Instant::now();
            let patience = Duration::from_secs(20);
            while let Err(error) = self.messenger.ask_within(patience, whom, &Order::Name).await {
                if !matches!(error, AskError::Busy(_)) {
                    return Err(error.into());
                }
                sleep(Duration::from_millis(1)).await;
            }
            times.push(u64::try_from(begun.elapsed().as_micros())?);
        }
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    }

    async fn pester(&self, whom: &[String]) {
        for (number, to) in (0..).zip(whom.iter().cycle()) {
            let words = words("pester", number, 0);
            if self.messenger.send_to(&peer(to), &words).await.is_ok() {
                note("confirmed", &words.text);
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn send(&self, to: &str, words: &Words) -> Result<(), SendError> {
        match to {
            "all" => self.messenger.broadcast(words).await,
            "others" => self.messenger.broadcast_others(words).await,
            "group:web" => self.messenger.broadcast_to("web", words).await,
            other => self.messenger.send_to(&peer(other), words).await,
        }
    }
}

/// Writes down what was heard, where a test wants to know it of processes that end.
fn journal(message: &Value) {
    if let Some(text) = message["text"].as_str() {
        note(&format!("journal/{}", std::process::id()), text);
    }
}

fn note(path: &str, text: &str) {
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        // In one write: several processes may write to one file at the same time.
        let _ = file.write_all(format!("{text}\n").as_bytes());
    }
}

fn words(text: &str, number: u32, size: usize) -> Words {
    let text = format!("{text} {number}");
    let padding = " ".repeat(size.saturating_sub(text.len()));
    Words { text: text + &padding }
}
