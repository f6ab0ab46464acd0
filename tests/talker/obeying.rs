//! What a process does when it is given an order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hatchery::{AskError, Asked, Peer, ReceiveError, SendError};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::notes::note;
use super::orders::{Numbers, Order, Riddle, Slow, Words, words};
use super::{Seen, Talker, Tick};

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

/// `agent`, `web.1`, `any:web`, `next:web`, or a process id.
pub(crate) fn peer(name: &str) -> Peer {
    match name.split_once([':', '.']) {
        Some(("any", group)) => Peer::any_of(group),
        Some(("next", group)) => Peer::next_of(group),
        Some((group, index)) => Peer::worker(group, index.parse().unwrap_or(u32::MAX)),
        None => name.parse().map_or(Peer::Agent, Peer::Process),
    }
}

pub(crate) fn kind(error: &AskError) -> &'static str {
    match error {
        AskError::Deadline { .. } => "deadline",
        AskError::Gone(_) => "gone",
        AskError::Busy(_) => "busy",
        AskError::NobodyAnswers { .. } => "nobody",
        AskError::Refused { .. } => "refused",
        AskError::Panicked { .. } => "panicked",
        AskError::Misunderstood { .. } => "misunderstood",
        AskError::Codec(_) => "unreadable",
        AskError::Send(SendError::NoSuchPeer(..)) => "no such peer",
        AskError::Send(_) => "not sent",
        _ => "something new",
    }
}

/// How a question came.
fn told(asked: &Asked<Order>) -> Value {
    let id = asked.id();
    json!({
        "from": asked.origin().map(ToString::to_string),
        "at": asked.sent_at().timestamp_micros(),
        "pid": id.pid,
        "number": id.number,
    })
}

impl Talker {
    pub(crate) async fn obey(self, asked: Asked<Order>) -> hatchery::Result<Value> {
        let circumstances = told(&asked);
        Ok(match asked.into_inner() {
            Order::WhoAsks => circumstances,
            Order::Members => json!(self.messenger.members().await?),
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
            Order::Glance { key } => {
                let observed = self.messenger.observe_key::<Tick>(&key).await;
                json!(observed.map(|tick| tick.get().pid).map_err(|error| error.to_string()))
            }
            Order::Time { whom, count } => json!(self.time(&peer(&whom), count).await?),
            Order::Confirm { to, text, size } => self.confirm(&to, &words(&text, 0, size)).await?,
            Order::Once { texts } => self.hear_once(&texts).await?,
            Order::Chatter { size } => json!("x".repeat(size)),
            order @ (Order::Mislead | Order::Forge | Order::Misask { .. } | Order::Misread { .. }) => {
                self.err(order).await?
            }
            Order::AskWhoAsks { whom } => self.messenger.ask(&peer(&whom), &Order::WhoAsks).await?,
            Order::Ask { whom, within_ms } => self.ask_for_name(&whom, within_ms).await,
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

    /// What is sent before anybody waits is heard, too; then what is no words, and then nothing but the end.
    async fn hear_once(&self, texts: &[String]) -> hatchery::Result<Value> {
        let own = Peer::Process(std::process::id());
        let once = self.messenger.once::<Words>();
        for (number, text) in (0..).zip(texts) {
            self.messenger.send_to(&own, &words(text, number, 0)).await?;
        }
        let heard = once.await?.text.clone();
        let once = self.messenger.once::<Words>();
        self.messenger.send_to(&own, &Numbers { numbers: vec![1] }).await?;
        let Err(ReceiveError::Unreadable(unreadable)) = once.await else {
            return Err("numbers are no words".into());
        };
        let (problem, sender) = (unreadable.to_string(), unreadable.sending().id().pid);
        let (once, name) = (self.messenger.once::<Words>(), self.name.clone());
        tokio::spawn(async move {
            if let Err(end) = once.await {
                note("once", &format!("{name}: {end}"));
            }
        });
        Ok(json!({ "heard": heard, "problem": problem, "own": sender == std::process::id() }))
    }

    /// Of one that answers, or a riddle of one that does not.
    async fn confirm(&self, to: &str, words: &Words) -> hatchery::Result<Value> {
        let delivery = match to {
            "all" => self.messenger.broadcast_confirmed(words).await?,
            "others" => self.messenger.broadcast_others_confirmed(words).await?,
            group => self.messenger.broadcast_to_confirmed(group, words).await?,
        };
        let by: Vec<String> = delivery.missed_by.iter().map(ToString::to_string).collect();
        Ok(json!({ "queued": delivery.queued, "missed": delivery.missed, "by": by }))
    }

    async fn ask_for_name(&self, whom: &str, within_ms: u64) -> Value {
        let patience = Duration::from_millis(within_ms);
        if whom == "riddle" {
            let answer = self.messenger.ask_within(patience, &Peer::Agent, &Riddle).await;
            return json!(answer.map_err(|error| kind(&error)));
        }
        let answer = self.messenger.ask_within(patience, &peer(whom), &Order::Name).await;
        json!(answer.map_err(|error| kind(&error)))
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
            "random:jobs" => self.messenger.send_random("jobs", words).await,
            other => self.messenger.send_to(&peer(other), words).await,
        }
    }
}
