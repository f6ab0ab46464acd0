//! Requests to change how many workers a group has: what is allowed, and when it is done. Pure.

use std::time::{Duration, Instant};

use super::count::MOST_WORKERS;
use super::crew::Crew;
use super::event::{Action, Reply, Report};
use super::rules::later;
use super::supervisor::Supervisor;
use crate::bus::control::{Answer, Change};
use crate::role::WEB;

/// How long a request may take: as long as a worker may start or leave.
fn patience(crew: &Crew) -> Duration {
    let rules = &crew.rules;
    rules.ready_timeout.max(rules.drain_timeout) + rules.kill_margin + Duration::from_secs(1)
}

/// The requests that are under way.
#[derive(Debug, Default)]
pub(crate) struct Scaling {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    group: String,
    from: u32,
    to: u32,
    until: Instant,
    reply: Reply,
}

/// How many workers `crew` is to have, or why it cannot.
fn target(crew: &Crew, change: Change) -> Result<u32, String> {
    let wanted = i64::from(crew.wanted());
    let to = match change {
        Change::To(count) => i64::from(count),
        Change::By(more) => wanted + i64::from(more),
    };
    // A group that serves nobody may rest.
    let least = u32::from(crew.name == WEB);
    match u32::try_from(to) {
        Ok(to) if (least..=MOST_WORKERS).contains(&to) => Ok(to),
        _ => Err(format!("{} cannot have {to} workers: {least} to {MOST_WORKERS} are possible", crew.name)),
    }
}

/// Does what a signal wants of `web`, or of the first group where there is none; nobody is to be answered.
pub(crate) fn obey(supervisor: &mut Supervisor, by: i32, now: Instant, actions: &mut Vec<Action>) {
    let groups = supervisor.groups();
    let Some(crew) = groups.iter().find(|crew| crew.name == WEB).or(groups.first()) else { return };
    let name = crew.name.clone();
    match target(crew, Change::By(by)) {
        Ok(to) => _ = supervisor.scale(&name, to, now, actions),
        Err(problem) => actions.push(Action::Report(Report::SignalRefused { problem })),
    }
}

impl Scaling {
    /// Changes the number of workers in `group`, and answers when it has so many, or that it cannot. An older request
    /// for the same group is answered now.
    pub(crate) fn begin(
        &mut self,
        supervisor: &mut Supervisor,
        group: &str,
        change: Change,
        reply: Reply,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let groups = supervisor.groups();
        let found = groups.iter().find(|crew| crew.name == group).ok_or_else(|| {
            let names: Vec<&str> = groups.iter().map(|crew| crew.name.as_str()).collect();
            format!("no group is called {group}: there is {}", names.join(", "))
        });
        match found.and_then(|crew| target(crew, change).map(|to| (to, patience(crew)))) {
            Ok((to, patience)) => {
                self.overtake(group, to, actions);
                let from = supervisor.scale(group, to, now, actions).unwrap_or(to);
                let until = later(now, patience);
                self.pending.push(Pending { group: group.to_owned(), from, to, until, reply });
            }
            Err(problem) => actions.push(Action::Reply { reply, answer: Answer::Failed(problem) }),
        }
    }

    fn overtake(&mut self, group: &str, to: u32, actions: &mut Vec<Action>) {
        let overtaken = self.pending.extract_if(.., |pending| pending.group == group && pending.to != to);
        actions.extend(overtaken.map(|older| {
            let problem = format!("a later request wants {to} workers in {group}, not {}", older.to);
            Action::Reply { reply: older.reply, answer: Answer::Failed(problem) }
        }));
    }

    /// Answers what is done, and what cannot be done any more.
    pub(crate) fn settle(
        &mut self,
        groups: &[Crew],
        stopping: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        for index in (0..self.pending.len()).rev() {
            let pending = &self.pending[index];
            let crew = groups.iter().find(|crew| crew.name == pending.group);
            let answer = match crew {
                Some(crew) if crew.is_settled() && crew.wanted() == pending.to => {
                    Answer::Scaled { from: pending.from, to: pending.to }
                }
                _ if stopping => Answer::Failed("the cluster is stopping".to_owned()),
                Some(crew) if crew.posts.iter().any(|post| post.wanted && post.gave_up) => {
                    Answer::Failed(format!(
                        "{} is to have {} workers, but has given up, and is tried again slowly; `status` says why",
                        pending.group, pending.to
                    ))
                }
                _ if pending.until <= now => Answer::Failed(format!(
                    "{} does not have {} workers yet, and goes on trying; `status` says more",
                    pending.group, pending.to
                )),
                _ => continue,
            };
            let Pending { reply, .. } = self.pending.remove(index);
            actions.push(Action::Reply { reply, answer });
        }
    }

    /// When time alone makes an answer.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.until).min()
    }
}
