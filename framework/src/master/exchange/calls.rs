//! The questions that have no answer yet, and who was asked. Pure.

use std::collections::HashMap;

use crate::bus::peer::Address;
use crate::master::event::ChildId;

/// How many answers one process may wait for.
const MOST: usize = 16 << 10;

/// A question without an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    asker: ChildId,
    asked_by: Address,
    /// `None` while it waits for a process to come.
    pub(super) answerer: Option<ChildId>,
}

/// All questions without an answer, by the asker's process id and its number for the question.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: HashMap<(u32, u64), Call>,
    waiting: HashMap<ChildId, usize>,
}

impl Calls {
    /// A process asks; `false` when it waits for too many answers already, or for one with this number.
    pub(super) fn open(&mut self, asker: ChildId, asked_by: Address, number: u64) -> bool {
        let waiting = self.waiting.entry(asker).or_default();
        if *waiting >= MOST || self.open.contains_key(&(asked_by.pid, number)) {
            return false;
        }
        *waiting += 1;
        self.open.insert((asked_by.pid, number), Call { asker, asked_by, answerer: None });
        true
    }

    /// A question is on its way to a process.
    pub(super) fn taken_by(&mut self, pid: u32, number: u64, answerer: ChildId) {
        if let Some(call) = self.open.get_mut(&(pid, number)) {
            call.answerer = Some(answerer);
        }
    }

    /// What will be the answer is known; returns who waits for it, if `answerer` was asked, or nobody yet.
    pub(super) fn close(&mut self, pid: u32, number: u64, answerer: Option<ChildId>) -> Option<ChildId> {
        self.open.get(&(pid, number)).filter(|call| call.answerer == answerer)?;
        self.abandon(pid, number)
    }

    /// How many questions, and how many askers, are known.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.open.len(), self.waiting.len())
    }

    /// The asker waits no longer.
    pub(super) fn cancel(&mut self, pid: u32, number: u64) -> Option<Call> {
        let call = self.open.get(&(pid, number)).copied()?;
        self.abandon(pid, number);
        Some(call)
    }

    /// Whether this process was asked, and its answer is waited for.
    pub(super) fn is_with(&self, pid: u32, number: u64, answerer: ChildId) -> bool {
        self.open.get(&(pid, number)).is_some_and(|call| call.answerer == Some(answerer))
    }

    /// There will be no answer; returns who waits for it.
    fn abandon(&mut self, pid: u32, number: u64) -> Option<ChildId> {
        let call = self.open.remove(&(pid, number))?;
        if let Some(waiting) = self.waiting.get_mut(&call.asker) {
            *waiting = waiting.saturating_sub(1);
        }
        Some(call.asker)
    }

    /// Forgets the questions that a process was to answer; returns the numbers, and who asked under which address.
    pub(super) fn answerer_gone(&mut self, id: ChildId) -> Vec<(u64, ChildId, Address)> {
        let lost = self.open.iter().filter(|(_, call)| call.answerer == Some(id));
        let mut lost: Vec<_> = lost.map(|(key, call)| (*key, call.asker, call.asked_by)).collect();
        lost.sort_unstable_by_key(|(key, ..)| *key);
        for ((pid, number), ..) in &lost {
            self.abandon(*pid, *number);
        }
        lost.into_iter().map(|((_, number), asker, asked_by)| (number, asker, asked_by)).collect()
    }

    /// Forgets the questions of a process; returns the numbers, and who was asked by which address.
    pub(super) fn asker_gone(&mut self, id: ChildId) -> Vec<(u64, ChildId, Address)> {
        let mut asked = Vec::new();
        self.open.retain(|(_, number), call| {
            if call.asker == id
                && let Some(answerer) = call.answerer
            {
                asked.push((*number, answerer, call.asked_by));
            }
            call.asker != id
        });
        self.waiting.remove(&id);
        asked.sort_unstable();
        asked
    }
}
