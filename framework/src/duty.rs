//! Duties: the agent's supervised tasks. A duty that fails is started again, without taking the agent down.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::backoff::Backoff;
use crate::config::SectionCheck;
use crate::error::{Result, chain};
use crate::log;
use crate::process::Tenure;
use crate::status::{DutyState, DutyStatus};

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };

/// A duty that ran this long has recovered: its next failure counts as the first.
const RECOVERED: Duration = Duration::from_secs(60);

type Run = dyn Fn(Agent) -> Pin<Box<dyn Future<Output = Result> + Send>> + Send + Sync;

/// One supervised task of the agent.
///
/// ```
/// use std::time::Duration;
/// use hatchery::{Agent, Duty};
///
/// let tick = Duty::new("tick", async |agent: Agent| {
///     while agent.until_shutdown(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
///         // what must be done exactly once
///     }
///     Ok(())
/// });
/// ```
#[derive(Clone)]
pub struct Duty {
    name: &'static str,
    run: Arc<Run>,
    section: Option<SectionCheck>,
}

impl Duty {
    /// A duty that runs `run` until it returns `Ok`, and again after each error or panic: at once the first
    /// time, then after 100 ms, doubling up to 30 s. When the process should leave, a duty has until the
    /// deadline to return.
    ///
    /// What a run has registered by its agent ends when it fails, before the next one begins: the functions that
    /// [answer](crate::Messenger::answer), the [keyed states](Agent::publish_keyed) and the [states](Agent::publish), whose
    /// values stay. What a run has registered that returns `Ok` stays for as long as the process.
    pub fn new<F, Fut>(name: &'static str, run: F) -> Self
    where
        F: Fn(Agent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        Self { name, run: Arc::new(move |agent| Box::pin(run(agent))), section: None }
    }

    /// Makes the top-level table `name` of the configuration this duty's own: it is validated as `T`, and
    /// read with [`Agent::section`]; `config show` shows all its keys.
    #[must_use]
    pub fn with_section<T: Serialize + DeserializeOwned + 'static>(mut self, name: &'static str) -> Self {
        self.section = Some(SectionCheck::of::<T>(name));
        self
    }

    pub(crate) fn section(&self) -> Option<&SectionCheck> {
        self.section.as_ref()
    }
}

impl fmt::Debug for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duty").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The states of all duties, told to the master at every change.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    statuses: Arc<Mutex<Vec<DutyStatus>>>,
}

impl Board {
    pub(crate) fn new(duties: &[Duty]) -> Self {
        let running = |duty: &Duty| DutyStatus {
            name: duty.name.to_owned(),
            state: DutyState::Running,
            last_error: None,
            next_run_ms: None,
        };
        Self { statuses: Arc::new(Mutex::new(duties.iter().map(running).collect())) }
    }

    pub(crate) fn statuses(&self) -> Vec<DutyStatus> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, index: usize, state: DutyState, error: Option<&str>) {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses[index].state = state;
        if let Some(error) = error {
            statuses[index].last_error = Some(error.to_owned());
        }
    }
}

/// Keeps one duty running until it is done or the agent leaves.
pub(crate) async fn supervise(duty: Duty, index: usize, agent: Agent, board: Board) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let Err(error) = run_once(&duty, &agent).await else {
            board.change(index, DutyState::Finished, None);
            return agent.report_duties(&board.statuses()).await;
        };
        failures = if began.elapsed() >= RECOVERED { 1 } else { failures + 1 };
        let delay = BACKOFF.delay(failures, index as u64);
        tracing::error!(
            "the duty {} failed: {error}; it starts again in {} ms",
            duty.name,
            delay.as_millis()
        );
        board.change(index, DutyState::BackingOff, Some(&error));
        agent.report_duties(&board.statuses()).await;
        if agent.until_shutdown(tokio::time::sleep(delay)).await.is_none() {
            return;
        }
        board.change(index, DutyState::Running, None);
        agent.report_duties(&board.statuses()).await;
    }
}

/// In a task of its own, so that a panic ends only this run. What it registered is gone when it has failed.
async fn run_once(duty: &Duty, agent: &Agent) -> Result<(), String> {
    let tenure = Tenure::default();
    let outcome = match tokio::spawn((duty.run)(agent.under(tenure.clone()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(chain(&*error)),
        Err(panic) => Err(log::last_panic().unwrap_or_else(|| panic.to_string())),
    };
    if outcome.is_err() {
        tenure.end().await;
    }
    outcome
}
