//! What a reload asks of the supervisor: which generation fills which slot. Pure.

use std::time::Instant;

use super::Supervisor;
use crate::master::crew::Crew;
use crate::master::event::Action;
use crate::master::pace::Pace;
use crate::master::post::Post;
use crate::role::Slot;

impl Supervisor {
    /// Whether anybody of another generation is still on the way out. An agent that no reload had to replace is of an
    /// older one and stays.
    pub(crate) fn is_clearing(&self, generation: u64) -> bool {
        let mut everybody = self.crews.iter().flat_map(Crew::occupants);
        everybody.any(|occupant| occupant.generation != generation && !occupant.is_active())
    }

    /// Has the agent replaced by one of another generation.
    pub(crate) fn replace_agent(&mut self, to: u64, now: Instant, actions: &mut Vec<Action>) {
        self.crews[0].posts[0].advance(to, false, now, actions);
    }

    /// Whether the agent is of this generation, and alone.
    pub(crate) fn agent_is_of(&self, generation: u64) -> bool {
        self.crews[0].is_of(generation)
    }

    /// Has the next workers of each group replaced, and returns their slots.
    pub(crate) fn advance_workers(
        &mut self,
        to: u64,
        pace: Pace,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Vec<Slot> {
        self.crews[1..].iter_mut().flat_map(|crew| crew.advance(to, pace, now, actions)).collect()
    }

    /// Whether every wanted worker is of this generation, and works.
    pub(crate) fn workers_are_of(&self, generation: u64) -> bool {
        self.groups().iter().all(|crew| crew.is_of(generation))
    }

    /// How many work, of the agent and of each group.
    pub(crate) fn at_work(&self) -> Vec<u32> {
        self.crews.iter().map(Crew::ready).collect()
    }

    /// Whether nobody of the generation `to` is left, and as many work as `before`, unless fewer are wanted now. An agent
    /// that no reload had to replace is of a generation older than the one in force.
    pub(crate) fn has_returned(&self, from: u64, to: u64, before: &[u32]) -> bool {
        let is_back = |(crew, before): (&Crew, &u32)| {
            crew.is_of(from)
                || (crew.occupants().all(|occupant| occupant.generation != to)
                    && crew.ready() >= crew.wanted().min(*before))
        };
        self.crews.iter().zip(before).all(is_back)
    }

    /// The slots in which processes of this generation work, or are about to.
    pub(crate) fn active_of(&self, generation: u64) -> Vec<Slot> {
        let is_held =
            |post: &&Post| post.occupants.iter().any(|it| it.generation == generation && it.is_active());
        let posts = self.crews.iter().flat_map(|crew| &crew.posts);
        posts.filter(is_held).map(|post| post.slot.clone()).collect()
    }

    /// The slots that are given back to an older generation, and not taken by it yet.
    pub(crate) fn stranded(&self) -> Vec<Slot> {
        let is_stranded =
            |post: &&Post| post.occupants.iter().any(|it| it.generation > post.generation && it.is_active());
        let posts = self.crews.iter().flat_map(|crew| &crew.posts);
        posts.filter(is_stranded).map(|post| post.slot.clone()).collect()
    }

    /// The highest generation that any process is of: the one in force, unless a reload is under way or has left something.
    pub(crate) fn newest_generation(&self) -> u64 {
        let everybody = self.crews.iter().flat_map(Crew::occupants);
        everybody.map(|occupant| occupant.generation).max().unwrap_or_default().max(self.generation)
    }

    /// Gives every slot of `to` back to `from`.
    pub(crate) fn retreat(&mut self, from: u64, to: u64, now: Instant, actions: &mut Vec<Action>) {
        for crew in &mut self.crews {
            for post in crew.posts.iter_mut().filter(|post| post.generation == to) {
                post.retreat(from, &crew.rules, now, actions);
            }
        }
    }

    /// How the last process of this generation that ended before it was ready did so.
    pub(crate) fn take_stillborn(&mut self, generation: u64) -> Option<String> {
        self.stillborn.take().filter(|(of, _)| *of == generation).map(|(_, problem)| problem)
    }

    /// Puts a generation in force: whatever is started from now on is of it.
    pub(crate) fn enforce_generation(&mut self, generation: u64) {
        self.generation = generation;
        let posts = self.crews.iter_mut().flat_map(|crew| &mut crew.posts);
        posts.for_each(|post| post.generation = generation);
    }
}
