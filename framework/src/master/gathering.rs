//! What workers contribute: the latest value of each, for as long as its process lives, passed on to the agents. Pure,
//! and the payload stays closed.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Action, ChildId};
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::peer::Address;
use crate::bus::topic;

/// The most bytes of all that one process contributes. A little more than a worker allows itself, for the envelopes.
const LIMIT: usize = (1 << 20) + (256 << 10);

/// The most topics that one process contributes to.
const TOPICS: usize = 1024;

/// All contributions.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    agents: BTreeSet<ChildId>,
    givers: BTreeMap<ChildId, Giver>,
    /// Values and withdrawals are counted together, so that what overtakes the other on its way is told from it.
    last_number: u64,
}

#[derive(Debug)]
struct Giver {
    address: Address,
    values: BTreeMap<String, Frame>,
}

impl Gathering {
    /// An agent said hello: it gets what there is, and all that comes.
    pub(crate) fn admit(&mut self, agent: ChildId, actions: &mut Vec<Action>) {
        self.agents.insert(agent);
        let values = self.givers.values().flat_map(|giver| giver.values.values());
        actions.extend(values.map(|frame| Action::Send { to: agent, frame: frame.clone() }));
    }

    /// A worker has a new value. One that contributes too much is an error.
    pub(crate) fn contribute(
        &mut self,
        from: ChildId,
        address: Address,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let name = frame.topic();
        let giver = self.givers.entry(from).or_insert_with(|| Giver { address, values: BTreeMap::new() });
        let others = giver.values.iter().filter(|(topic, _)| *topic != name);
        let (count, bytes) = others.fold((1, frame.wire_length()), |(count, bytes), (_, frame)| {
            (count + 1, bytes + frame.wire_length())
        });
        if topic::check(name).is_err() || frame.is_in_memory() || bytes > LIMIT || count > TOPICS {
            return Err(format!("it contributes `{name}`, {bytes} bytes to {count} topics in all"));
        }
        self.last_number += 1;
        let route = Route { from: address, ..frame.route() };
        let value = frame.kept().readdressed(Kind::Contribution, self.last_number);
        let value = value.with_descriptors(vec![]).on(route);
        giver.values.insert(name.to_owned(), value.clone());
        self.tell(&value, actions);
        Ok(())
    }

    /// A process is gone.
    pub(crate) fn leave(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.agents.remove(&id);
        let Some(Giver { address, values }) = self.givers.remove(&id) else { return };
        for name in values.keys() {
            self.last_number += 1;
            let route = Route { from: address, ..Route::default() };
            self.tell(&Frame::about(Kind::Withdrawn, name, self.last_number, &[]).on(route), actions);
        }
    }

    fn tell(&self, frame: &Frame, actions: &mut Vec<Action>) {
        actions.extend(self.agents.iter().map(|&to| Action::Send { to, frame: frame.clone() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::peer::Form;

    const AGENT: ChildId = ChildId(1);
    const NEXT_AGENT: ChildId = ChildId(9);

    fn address(index: u16) -> Address {
        Address { index, pid: 100, ..Address::to(Form::Worker) }
    }

    fn contribute(
        gathering: &mut Gathering,
        id: u64,
        topic: &str,
        bytes: usize,
    ) -> Result<Vec<Sent>, String> {
        let mut actions = Vec::new();
        let frame = Frame::about(Kind::Contribute, topic, 0, &vec![0; bytes]);
        gathering.contribute(ChildId(id), address(id as u16), &frame, &mut actions)?;
        Ok(sends(&actions))
    }

    type Sent = (u64, Kind, u16, u64);

    fn sends(actions: &[Action]) -> Vec<Sent> {
        let send = |action: &Action| match action {
            Action::Send { to, frame } => (to.0, frame.kind(), frame.route().from.index, frame.number()),
            other => panic!("{other:?}"),
        };
        actions.iter().map(send).collect()
    }

    #[test]
    fn agents_get_the_latest_value_of_each_worker_and_hear_of_its_end() {
        let mut gathering = Gathering::default();
        gathering.admit(AGENT, &mut Vec::new());
        assert_eq!(contribute(&mut gathering, 2, "load", 1).unwrap(), [(1, Kind::Contribution, 2, 1)]);
        assert_eq!(contribute(&mut gathering, 3, "load", 1).unwrap(), [(1, Kind::Contribution, 3, 2)]);
        assert_eq!(contribute(&mut gathering, 2, "load", 1).unwrap(), [(1, Kind::Contribution, 2, 3)]);
        let mut actions = Vec::new();
        gathering.leave(AGENT, &mut actions);
        gathering.admit(NEXT_AGENT, &mut actions);
        assert_eq!(sends(&actions), [(9, Kind::Contribution, 2, 3), (9, Kind::Contribution, 3, 2)]);
        actions.clear();
        gathering.leave(ChildId(2), &mut actions);
        gathering.leave(ChildId(2), &mut actions);
        assert_eq!(sends(&actions), [(9, Kind::Withdrawn, 2, 4)]);
    }

    #[test]
    fn what_one_process_contributes_is_bounded() {
        let mut gathering = Gathering::default();
        assert!(contribute(&mut gathering, 2, "a", 1 << 20).is_ok());
        assert!(contribute(&mut gathering, 2, "b", 1 << 19).is_err());
        assert!(contribute(&mut gathering, 2, "a", 1).is_ok());
        assert!(contribute(&mut gathering, 2, "b", 1 << 19).is_ok());
        assert!(contribute(&mut gathering, 3, "hatchery.x", 1).is_err());
        for topic in 0..TOPICS {
            assert!(contribute(&mut gathering, 4, &topic.to_string(), 1).is_ok());
        }
        assert!(contribute(&mut gathering, 4, "one more", 1).is_err());
    }
}
