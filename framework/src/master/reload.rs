//! Reloads: a new generation takes the place of the old one, the agent first and then the workers, a few at a time;
//! what goes wrong before the end takes everything new down again. One at a time, and one more waits. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::event::{Action, Prepared, Reply, Report};
use super::pace::Pace;
use super::rules::later;
use super::supervisor::Supervisor;
use crate::bus::control::Answer;
use crate::events::ClusterEvent;
use crate::role::Slot;
use crate::status::ClusterState;

/// How many may wait behind the one that is under way.
const QUEUE: usize = 1;

/// How long going back may take before the caller is answered all the same.
const RETREAT: Duration = Duration::from_secs(60);

/// The reloads that were asked for.
#[derive(Debug)]
pub(crate) struct Reloading {
    pace: Pace,
    current: Option<Current>,
    waiting: VecDeque<Wanted>,
    asked: u64,
}

/// A reload that somebody wants.
#[derive(Debug)]
struct Wanted {
    /// Replace the agent although its image is the same.
    agent: bool,
    /// Nobody is to be answered if a signal wants it.
    reply: Option<Reply>,
}

#[derive(Debug)]
struct Current {
    wanted: Wanted,
    from: u64,
    to: u64,
    step: Step,
    began: Instant,
    /// How many worked, of the agent and of each group.
    before: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Until the last of the generation before the one in force have left.
    Clearing,
    /// Until the image and the settings are there.
    Preparing,
    Agent,
    Workers,
    /// Back to the generation that was in force, for this reason; that much time is given to it.
    Retreating {
        problem: String,
        until: Instant,
    },
}

impl Reloading {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, current: None, waiting: VecDeque::new(), asked: 0 }
    }

    /// Somebody wants a reload.
    pub(crate) fn ask(
        &mut self,
        agent: bool,
        reply: Option<Reply>,
        state: ClusterState,
        actions: &mut Vec<Action>,
    ) {
        self.asked += 1;
        self.forget_the_gone();
        let refusal = match state {
            ClusterState::Starting => Some("the cluster is still starting"),
            ClusterState::Stopping => Some("the cluster is stopping"),
            _ if self.waiting.len() >= QUEUE => Some("a reload is under way, and another one waits already"),
            _ => None,
        };
        match refusal {
            Some(problem) => refuse(reply, problem, actions),
            None => self.waiting.push_back(Wanted { agent, reply }),
        }
    }

    /// Who waits for a turn and has left may have asked again since.
    fn forget_the_gone(&mut self) {
        self.waiting.retain(|wanted| !wanted.reply.as_ref().is_some_and(Reply::is_gone));
    }

    /// How many were asked for, those among them that were refused.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Whether one is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    /// The image and the settings were looked at.
    pub(crate) fn prepared(
        &mut self,
        outcome: Result<Prepared, String>,
        supervisor: &mut Supervisor,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(current) = self.current.as_mut().filter(|current| current.step == Step::Preparing) else {
            return;
        };
        match outcome {
            Ok(prepared) if prepared.changed || current.wanted.agent => {
                current.step = Step::Agent;
                supervisor.replace_agent(current.to, now, actions);
            }
            Ok(_) => current.step = Step::Workers,
            Err(problem) => self.fail(problem, Vec::new(), supervisor, now, actions),
        }
    }

    /// Takes every step that is possible now.
    pub(crate) fn converge(&mut self, supervisor: &mut Supervisor, now: Instant, actions: &mut Vec<Action>) {
        if supervisor.state() == ClusterState::Stopping {
            return self.give_up(actions);
        }
        self.begin(supervisor, now, actions);
        let Some(current) = &mut self.current else { return };
        let stillborn = supervisor.take_stillborn(current.to);
        match &current.step {
            Step::Clearing if !supervisor.is_clearing(current.from) => {
                current.step = Step::Preparing;
                actions.push(Action::PrepareGeneration { generation: current.to });
            }
            Step::Clearing | Step::Preparing => {}
            Step::Agent | Step::Workers if stillborn.is_some() => {
                let problem = stillborn.unwrap_or_default();
                supervisor.retreat(current.from, current.to, now, actions);
                actions.push(Action::Report(Report::GoingBack { generation: current.from }));
                tell(&current.wanted, format!("going back: {problem}"), actions);
                current.step = Step::Retreating { problem, until: later(now, RETREAT) };
            }
            Step::Agent if supervisor.agent_is_of(current.to) => {
                tell(&current.wanted, "the agent is replaced".to_owned(), actions);
                current.step = Step::Workers;
                self.advance(supervisor, now, actions);
            }
            Step::Agent => {}
            Step::Workers => self.advance(supervisor, now, actions),
            Step::Retreating { problem, until }
                if supervisor.has_returned(current.from, current.to, &current.before) || *until <= now =>
            {
                let (problem, remaining) = (problem.clone(), supervisor.active_of(current.to));
                self.fail(problem, remaining, supervisor, now, actions);
            }
            Step::Retreating { .. } => {}
        }
    }

    /// When time alone changes anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.current.as_ref()?.step {
            Step::Retreating { until, .. } => Some(until),
            _ => None,
        }
    }

    fn begin(&mut self, supervisor: &mut Supervisor, now: Instant, actions: &mut Vec<Action>) {
        if self.current.is_some() {
            return;
        }
        self.forget_the_gone();
        let Some(wanted) = self.waiting.pop_front() else { return };
        // The number of one that failed is free again if nobody of it is left.
        let (from, to) = (supervisor.generation(), supervisor.newest_generation() + 1);
        tell(&wanted, format!("reloading: generation {to}"), actions);
        actions.push(Action::Report(Report::Reloading { generation: to }));
        let before = supervisor.at_work();
        self.current = Some(Current { wanted, from, to, step: Step::Clearing, began: now, before });
    }

    /// The next workers, as many as may be replaced at a time.
    fn advance(&mut self, supervisor: &mut Supervisor, now: Instant, actions: &mut Vec<Action>) {
        let Some(current) = &self.current else { return };
        for slot in supervisor.advance_workers(current.to, self.pace, now, actions) {
            tell(&current.wanted, format!("replacing {slot}"), actions);
        }
        if supervisor.workers_are_of(current.to) {
            let took = now.saturating_duration_since(current.began);
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let generation = current.to;
            let answer = Answer::Reloaded { generation, took_ms };
            self.end(generation, answer, ClusterEvent::Reloaded { generation }, supervisor, now, actions);
        }
    }

    /// Ends a reload that has failed. Those of its processes that could not be replaced are in the slots `remaining`.
    fn fail(
        &mut self,
        problem: String,
        remaining: Vec<Slot>,
        supervisor: &mut Supervisor,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(current) = &self.current else { return };
        let (generation, to) = (current.from, current.to);
        // Before its first process there was nothing to take back, whatever else has ended meanwhile.
        let is_back =
            current.step == Step::Preparing || supervisor.has_returned(generation, to, &current.before);
        let slots: Vec<String> = remaining.iter().map(Slot::to_string).collect();
        let outcome = match &slots[..] {
            [] if !is_back => format!(
                "generation {generation} serves on, but fewer processes work than before; they are tried again: {problem}"
            ),
            [] => format!("nothing has changed, generation {generation} serves on: {problem}"),
            [..] => format!(
                "generation {generation} serves on, but not in {}: still generation {to} there, until one of {generation} \
                 can be started: {problem}",
                slots.join(", ")
            ),
        };
        let event = ClusterEvent::ReloadFailed { generation, problem, remaining: slots };
        self.end(generation, Answer::Failed(outcome), event, supervisor, now, actions);
    }

    fn end(
        &mut self,
        generation: u64,
        answer: Answer,
        event: ClusterEvent,
        supervisor: &mut Supervisor,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(current) = self.current.take() else { return };
        supervisor.enforce_generation(generation);
        actions.push(Action::SettleGeneration { generation });
        actions.push(Action::Report(Report::Event(event)));
        actions.extend(current.wanted.reply.map(|reply| Action::Reply { reply, answer }));
        // Whoever waited has waited long enough.
        self.begin(supervisor, now, actions);
    }

    fn give_up(&mut self, actions: &mut Vec<Action>) {
        let current = self.current.take().map(|current| current.wanted);
        for wanted in current.into_iter().chain(self.waiting.drain(..)) {
            refuse(wanted.reply, "the cluster is stopping", actions);
        }
    }
}

fn refuse(reply: Option<Reply>, problem: &str, actions: &mut Vec<Action>) {
    match reply {
        Some(reply) => {
            actions.push(Action::Reply { reply, answer: Answer::Failed(format!("no reload: {problem}")) });
        }
        None => actions.push(Action::Report(Report::SignalRefused { problem: problem.to_owned() })),
    }
}

fn tell(wanted: &Wanted, news: String, actions: &mut Vec<Action>) {
    if let Some(reply) = &wanted.reply {
        actions.push(Action::Tell { to: reply.clone(), answer: Answer::Progress(news) });
    }
}
