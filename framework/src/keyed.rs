//! Keyed states as the agent publishes them: one upstream for each key that somebody observes, started, tried again
//! and ended as `upstreams` decides.

mod upstreams;

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::upstreams::{Step, Upstreams};
use crate::bus::payload::Payload;
use crate::bus::{Topic, topic};
use crate::error::{Result, chain};
use crate::log;
use crate::process::{Process, Tenure};
use crate::published::{PublishError, encode, publish};

/// How long an upstream goes on when its last observer is gone, unless the author says otherwise: longer than it takes
/// to replace a worker that has crashed.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// One key of a keyed state, for the upstream that feeds it. Clones feed the same key.
#[derive(Debug)]
pub struct KeyFeed<T> {
    process: Process,
    topic: Arc<str>,
    /// What was set last, for observers that come when the master has forgotten it. Locked while it is on the way,
    /// so that nothing older overtakes it.
    last: Arc<Mutex<Option<Payload>>>,
    /// Whether that was a refusal.
    refuses: Arc<AtomicBool>,
    value: PhantomData<fn(T)>,
}

impl<T> Clone for KeyFeed<T> {
    fn clone(&self) -> Self {
        let Self { process, topic, last, refuses, value } = self;
        let (topic, last, refuses) = (Arc::clone(topic), Arc::clone(last), Arc::clone(refuses));
        Self { process: process.clone(), topic, last, refuses, value: *value }
    }
}

impl<T: Topic> KeyFeed<T> {
    fn new(process: Process, topic: &str) -> Self {
        Self {
            process,
            topic: topic.into(),
            last: Arc::default(),
            refuses: Arc::default(),
            value: PhantomData,
        }
    }

    /// The key, as the observers wrote it.
    #[must_use]
    pub fn key(&self) -> &str {
        topic::split(&self.topic).map_or("", |(_, key)| key)
    }

    /// Publishes a new value of this key and returns its version, which is higher than that of any value of any key
    /// before, also of earlier agents. Returns when the master has it; the observers have it a moment later. Cancel
    /// safe, but the value may have been published.
    ///
    /// # Errors
    /// When the value cannot be encoded or is too large, or the master is gone.
    pub async fn set(&self, value: T) -> Result<u64, PublishError> {
        let payload = encode(T::NAME, &value)?;
        drop(value);
        self.put(payload).await
    }

    /// Tells all who observe this key, and those who come later, that there is no value, and why: `observe_key` fails by
    /// [`ObserveError::Refused`](crate::ObserveError::Refused), and [`Observed::refusal`](crate::Observed::refusal) has
    /// the reason, of which 4000 bytes are kept. The next [`set`](Self::set) takes it back. A future that returns `Ok`
    /// after this is called anew 30 seconds later, if anybody observes the key by then, and where nobody has for as long as
    /// it lingers, with the next observer. Cancel safe, but the refusal may have been published.
    ///
    /// # Errors
    /// When the master is gone, or this agent does not lead any more.
    pub async fn refuse(&self, reason: &str) -> Result<(), PublishError> {
        self.put(Payload::refusing(reason)).await.map(drop)
    }

    async fn put(&self, payload: Payload) -> Result<u64, PublishError> {
        let mut last = self.last.lock().await;
        self.refuses.store(payload.refusal().is_some(), Ordering::Relaxed);
        *last = Some(payload.clone());
        publish(&self.process, &self.topic, payload).await
    }

    /// Publishes the last value anew, if there is one.
    async fn repeat(&self) -> Result<(), PublishError> {
        let last = self.last.lock().await;
        if let Some(payload) = &*last {
            publish(&self.process, &self.topic, payload.clone()).await?;
        }
        Ok(())
    }
}

/// Publishes the keyed state `T` for as long as `tenure` lasts, and the process lives.
pub(crate) fn open<T, F, Fut>(
    process: &Process,
    tenure: &Tenure,
    linger: Duration,
    feed: F,
) -> Result<(), PublishError>
where
    T: Topic,
    F: Fn(KeyFeed<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    topic::check(T::NAME)?;
    if !process.wanted().claim(T::NAME) {
        return Err(PublishError::Twice(T::NAME.to_owned()));
    }
    let publisher = Publisher {
        process: process.clone(),
        feed: Arc::new(feed),
        upstreams: Upstreams::new(linger),
        keys: HashMap::new(),
        running: JoinSet::new(),
        names: HashMap::new(),
    };
    let ended = CancellationToken::new();
    let publishing = tokio::spawn(publisher.run(ended.clone()));
    let is_in_time = tenure.add(async move {
        ended.cancel();
        // A panic of it is in the log.
        let _ = publishing.await;
    });
    if is_in_time { Ok(()) } else { Err(PublishError::Over(T::NAME.to_owned())) }
}

struct Publisher<T, F> {
    process: Process,
    feed: Arc<F>,
    upstreams: Upstreams,
    keys: HashMap<String, Upstream<T>>,
    running: JoinSet<Result>,
    /// Which key a task feeds.
    names: HashMap<Id, String>,
}

struct Upstream<T> {
    feed: KeyFeed<T>,
    task: Option<AbortHandle>,
    /// Why it failed last.
    problem: Option<String>,
}

type Ended = Result<(Id, Result), JoinError>;

impl<T, F, Fut> Publisher<T, F>
where
    T: Topic,
    F: Fn(KeyFeed<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    /// Until the process leaves, or it is `ended`; with it end all upstreams.
    async fn run(mut self, ended: CancellationToken) {
        let process = self.process.clone();
        loop {
            let due = self.upstreams.due().map(tokio::time::Instant::from_std);
            let steps = tokio::select! {
                () = process.shutdown().cancelled() => return,
                () = ended.cancelled() => {
                    // Before anybody else feeds the same keys.
                    self.running.shutdown().await;
                    return process.wanted().release(T::NAME);
                }
                changes = process.wanted().changes(T::NAME) => self.heed(changes),
                Some(ended) = self.running.join_next_with_id() => self.conclude(ended),
                () = at(due) => self.upstreams.tick(Instant::now()),
            };
            for step in steps {
                self.take(step);
            }
        }
    }

    fn heed(&mut self, changes: Vec<(String, Option<u64>)>) -> Vec<Step> {
        let now = Instant::now();
        let mut steps = Vec::new();
        for (key, wish) in changes {
            match wish {
                Some(wish) => steps.extend(self.upstreams.want(&key, wish, now)),
                None => self.upstreams.release(&key, now),
            }
        }
        steps
    }

    fn conclude(&mut self, ended: Ended) -> Vec<Step> {
        let (id, failure) = match ended {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(error))) => (id, Some(chain(&*error))),
            Err(gone) if gone.is_cancelled() => (gone.id(), None),
            Err(panic) => (panic.id(), Some(log::last_panic().unwrap_or_else(|| panic.to_string()))),
        };
        let Some(key) = self.names.remove(&id) else { return Vec::new() };
        let now = Instant::now();
        let step = match failure {
            Some(problem) => match self.upstreams.failed(&key, now) {
                Some(delay) => {
                    self.tell_of_failure(&key, problem, delay);
                    None
                }
                None => self.upstreams.ended(&key, now),
            },
            None if self.keys.get(&key).is_some_and(|it| it.feed.refuses.load(Ordering::Relaxed)) => {
                self.upstreams.refused(&key, now)
            }
            None => self.upstreams.ended(&key, now),
        };
        step.into_iter().collect()
    }

    /// Once for each reason in a row: it may go on for ever.
    fn tell_of_failure(&mut self, key: &str, problem: String, delay: Duration) {
        let Some(upstream) = self.keys.get_mut(key) else { return };
        let words = format!("the upstream of {}[{key}] failed: {problem}", T::NAME);
        if delay.is_zero() || upstream.problem.as_ref() != Some(&problem) {
            tracing::error!("{words}; it starts again, and the same failure in a row is told once");
        } else {
            tracing::debug!("{words}; it starts again in {} ms", delay.as_millis());
        }
        upstream.problem = Some(problem);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start(key) => self.start(key),
            Step::End(key) => {
                if let Some(task) = self.keys.get_mut(&key).and_then(|upstream| upstream.task.take()) {
                    task.abort();
                }
            }
            Step::Forget(key) => drop(self.keys.remove(&key)),
            Step::Republish(key) => {
                if let Some(upstream) = self.keys.get(&key) {
                    let feed = upstream.feed.clone();
                    tokio::spawn(async move {
                        if let Err(error) = feed.repeat().await {
                            tracing::error!("{} is not published anew: {error}", topic::display(&feed.topic));
                        }
                    });
                }
            }
        }
    }

    fn start(&mut self, key: String) {
        let process = &self.process;
        let upstream = self.keys.entry(key.clone()).or_insert_with(|| {
            // The key came in a topic of this form.
            let topic = topic::keyed(T::NAME, &key).unwrap_or_default();
            Upstream { feed: KeyFeed::new(process.clone(), &topic), task: None, problem: None }
        });
        let (make, feed) = (Arc::clone(&self.feed), upstream.feed.clone());
        // In the task, so that a panic on the way to the future is that of this upstream.
        let task = self.running.spawn(async move { make(feed).await });
        self.names.insert(task.id(), key);
        upstream.task = Some(task);
    }
}

/// Waits for a moment that may never come.
async fn at(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
