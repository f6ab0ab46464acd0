//! A crew: the processes of one group, or the agent alone, with the rules that hold for them. It fills its
//! posts, has worn processes succeeded one at a time, and grows and shrinks. Pure.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::departure::Departure;
use super::event::{Action, ChildId};
use super::occupant::Occupant;
use super::pace::Pace;
use super::post::{Post, Vacated};
use super::rules::CrewRules;
use crate::exit::{Exit, Reason};
use crate::role::{AGENT, Slot};

/// The generation that a start makes.
pub(crate) const FIRST: u64 = 1;

/// The processes of one group.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) name: String,
    pub(crate) posts: Vec<Post>,
    pub(crate) rules: CrewRules,
    pub(crate) budget: Budget,
    /// Whether anybody has been ready since there were to be workers.
    has_worked: bool,
}

/// One step of the supervisor: what it takes to decide and to act.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) next_id: &'a mut u64,
    pub(crate) actions: &'a mut Vec<Action>,
}

impl Crew {
    fn new(name: &str, rules: CrewRules, posts: Vec<Post>) -> Self {
        let budget = Budget::new(rules.restart_limit, rules.restart_period);
        Self { name: name.to_owned(), posts, rules, budget, has_worked: false }
    }

    /// The agent, as a crew of one.
    pub(crate) fn agent(rules: CrewRules, now: Instant) -> Self {
        Self::new(AGENT, rules, vec![Post::new(Slot::Agent, FIRST, now)])
    }

    /// A group of workers.
    pub(crate) fn workers(group: &str, count: u32, rules: CrewRules, now: Instant) -> Self {
        let posts = (0..count).map(|index| Post::new(Slot::worker(group, index), FIRST, now)).collect();
        Self::new(group, rules, posts)
    }

    pub(crate) fn occupants(&self) -> impl Iterator<Item = &Occupant> {
        self.posts.iter().flat_map(|post| &post.occupants)
    }

    pub(crate) fn occupants_mut(&mut self) -> impl Iterator<Item = &mut Occupant> {
        self.posts.iter_mut().flat_map(|post| &mut post.occupants)
    }

    pub(crate) fn post_of(&mut self, id: ChildId) -> Option<&mut Post> {
        self.posts.iter_mut().find(|post| post.holds(id))
    }

    /// How many are wanted.
    pub(crate) fn wanted(&self) -> u32 {
        u32::try_from(self.posts.iter().filter(|post| post.wanted).count()).unwrap_or(u32::MAX)
    }

    /// How many posts have somebody who works.
    pub(crate) fn ready(&self) -> u32 {
        u32::try_from(self.posts.iter().filter(|post| post.is_ready()).count()).unwrap_or(u32::MAX)
    }

    /// Whether every wanted post has somebody who works.
    pub(crate) fn is_whole(&self) -> bool {
        self.posts.iter().filter(|post| post.wanted).all(Post::is_ready)
    }

    /// Whether somebody worked here, all of whom are gone.
    pub(crate) fn is_deserted(&self) -> bool {
        self.has_worked && self.wanted() > 0 && self.ready() == 0
    }

    /// Whether the crew is as large as it should be, with nobody on the way in or out.
    pub(crate) fn is_settled(&self) -> bool {
        self.posts.iter().all(|post| post.wanted && post.is_ready() && post.occupants.len() == 1)
    }

    /// Whether nobody works, and the budget of every wanted post is spent.
    pub(crate) fn has_given_up(&self) -> bool {
        self.ready() == 0 && self.posts.iter().filter(|post| post.wanted).all(|post| post.gave_up)
    }

    /// Changes how many are wanted, the last ones first; who is not wanted any more is asked to leave in the next
    /// step.
    pub(crate) fn scale(&mut self, to: u32, generation: u64, now: Instant) {
        self.has_worked &= to > 0;
        for post in &mut self.posts {
            post.wanted = post.slot.index() < to;
        }
        let known = u32::try_from(self.posts.len()).unwrap_or(u32::MAX);
        self.posts
            .extend((known..to).map(|index| Post::new(Slot::worker(&self.name, index), generation, now)));
    }

    /// Ends who is silent or too late.
    pub(crate) fn enforce_deadlines(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for post in &mut self.posts {
            for occupant in &mut post.occupants {
                occupant.enforce_deadline(&post.slot, &self.rules, now, actions);
            }
            post.recover(&self.rules, now);
        }
    }

    /// Takes every step that is possible now towards as many processes as are wanted.
    pub(crate) fn converge(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.has_worked |= self.ready() > 0;
        for post in &mut self.posts {
            post.relieve(&self.rules, now, turn.actions);
            post.appoint(turn.actions);
        }
        // Those that are not wanted are the last, so that indices go on from 0.
        while self.posts.last().is_some_and(|post| !post.wanted && post.occupants.is_empty()) {
            self.posts.pop();
        }
        self.recycle(now, turn.actions);
        let mut may_succeed = self.may_succeed();
        for post in &mut self.posts {
            if !post.is_due(may_succeed, now) {
                continue;
            }
            may_succeed &= post.occupants.is_empty();
            let id = ChildId(*turn.next_id);
            *turn.next_id += 1;
            let generation = post.generation;
            post.occupy(Occupant::new(id, generation, now, &self.rules));
            turn.actions.push(Action::Spawn { id, slot: post.slot.clone(), generation });
        }
    }

    /// One succession at a time, until the predecessor is gone.
    fn may_succeed(&self) -> bool {
        self.posts.iter().all(|post| post.occupants.len() < 2)
    }

    /// Has the first worn process replaced, when nobody else is being replaced.
    fn recycle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let departing = self.occupants().any(|occupant| occupant.departure.is_some());
        if departing || !self.may_succeed() {
            return;
        }
        let worn = self.occupants().find_map(|occupant| {
            let since = occupant.ready_since.filter(|_| occupant.is_ready())?;
            occupant.wear.complaint(since, now).map(|why| (occupant.id, why))
        });
        if let Some((id, why)) = worn {
            self.depart(id, Departure::Recycled(why), now, actions);
        }
    }

    /// Has a process replaced.
    pub(crate) fn depart(
        &mut self,
        id: ChildId,
        departure: Departure,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let rules = self.rules;
        if let Some(post) = self.post_of(id) {
            post.depart(id, departure, &rules, now, actions);
        }
    }

    /// Takes a process out that has ended. That the crew gave up is said once, of the first post that does.
    pub(crate) fn vacate(&mut self, id: ChildId, exit: Exit, now: Instant) -> Option<Vacated> {
        let had_given_up = self.posts.iter().any(|post| post.gave_up);
        let post = self.posts.iter_mut().find(|post| post.holds(id))?;
        let mut vacated = post.vacate(id, exit, &self.rules, &mut self.budget, now)?;
        vacated.gave_up &= !had_given_up;
        Some(vacated)
    }

    /// Has the next slots filled by another generation, as many as the pace allows, and returns them.
    pub(crate) fn advance(
        &mut self,
        to: u64,
        pace: Pace,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Vec<Slot> {
        let wanted = || self.posts.iter().filter(|post| post.wanted);
        let moving = wanted().filter(|post| post.generation == to && !post.is_settled());
        let mut surging = moving.clone().filter(|post| !post.leaves_first()).count();
        let mut unavailable = moving.filter(|post| post.leaves_first()).count();
        let mut moved = Vec::new();
        for post in self.posts.iter_mut().filter(|post| post.wanted && post.generation != to) {
            let leave_first = match (surging < pace.surge, unavailable < pace.unavailable) {
                (true, _) => false,
                (false, true) => true,
                (false, false) => break,
            };
            surging += usize::from(!leave_first);
            unavailable += usize::from(leave_first);
            post.advance(to, leave_first, now, actions);
            moved.push(post.slot.clone());
        }
        moved
    }

    /// Whether this generation, and no other, works in every wanted slot.
    pub(crate) fn is_of(&self, generation: u64) -> bool {
        self.posts
            .iter()
            .filter(|post| post.wanted)
            .all(|post| post.generation == generation && post.is_settled())
    }

    /// Asks everybody to leave for the same reason.
    pub(crate) fn dismiss(
        &mut self,
        reason: Reason,
        grace: Duration,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        for post in &mut self.posts {
            for occupant in &mut post.occupants {
                occupant.ask_to_leave(&post.slot, reason, grace, &self.rules, now, actions);
            }
        }
    }

    /// When time alone changes anything for the processes that there are.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.occupants().filter_map(|occupant| occupant.deadline(&self.rules)).min()
    }

    /// When time alone has a process started or replaced.
    pub(crate) fn due(&self) -> Option<Instant> {
        let may_succeed = self.may_succeed();
        let departing = self.occupants().any(|occupant| occupant.departure.is_some());
        let aged = |occupant: &Occupant| {
            let since = occupant.ready_since.filter(|_| occupant.is_ready())?;
            occupant.wear.age_reached(since)
        };
        let ages = self.occupants().filter_map(aged).filter(|_| may_succeed && !departing);
        self.posts.iter().filter_map(|post| post.due(may_succeed)).chain(ages).min()
    }
}
