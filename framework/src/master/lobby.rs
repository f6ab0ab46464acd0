//! Connections that were accepted, until a worker has received them: hands them over, and takes them back when the worker
//! ends, leaves, or takes too long while another has time. Whom to hand them to, `roster` and `balance` decide; to accept
//! is the desk's.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::door::Door;
use super::event::ChildId;
use super::peeking::{FIRST, Peeking, Seen};
use super::roster::{Clients, Roster};
use super::ways::Ways;
use crate::balance::{Chooser, Policy};
use crate::handover::{Connection, Handover};

/// Those who have come, and the ways to those who can take them.
#[derive(Debug)]
pub(super) struct Lobby {
    doors: Vec<Door>,
    roster: Roster,
    ways: Ways,
    /// Connections that are in nobody's hands.
    homeless: VecDeque<Connection>,
    peeking: Peeking,
}

impl Lobby {
    /// Nobody has come yet, and there is no worker. What comes by the doors is known by their number.
    pub(super) fn new(doors: Vec<Door>, peeking: Peeking) -> Self {
        let (roster, ways, homeless) = (Roster::default(), Ways::default(), VecDeque::new());
        Self { doors, roster, ways, homeless, peeking }
    }

    /// A worker was started.
    pub(super) fn join(&mut self, id: ChildId, group: String, index: u32, way: Handover) {
        self.roster.join(id, group, index);
        self.ways.join(id, way);
    }

    /// A worker can take connections, so many at a time.
    pub(super) fn ready(&mut self, id: ChildId, most: u64) {
        self.roster.ready(id);
        self.ways.ready(id, most);
    }

    /// A worker has so many connections.
    pub(super) fn reported(&mut self, id: ChildId, connections: u64) {
        self.roster.reported(id, connections);
        self.ways.forgive(id);
    }

    /// A worker leaves: what it has not received goes to others, if they have time.
    pub(super) fn leave(&mut self, id: ChildId) {
        self.roster.leave(id);
        if self.roster.has_better(id, Clients::Free) {
            self.homeless.extend(self.ways.take_back(id));
        }
    }

    /// A worker has ended.
    pub(super) fn gone(&mut self, id: ChildId) {
        self.roster.gone(id);
        self.homeless.extend(self.ways.gone(id));
    }

    /// The slots in which somebody is ready, by group.
    pub(super) fn manned(&self) -> BTreeSet<(&str, u32)> {
        self.roster.manned()
    }

    /// The group whose workers get what comes by a door.
    pub(super) fn group(&self, door: u8) -> &str {
        &self.doors[usize::from(door)].group
    }

    /// Whether anybody is ready for what comes by a door.
    pub(super) fn has_ready(&self, door: u8) -> bool {
        self.roster.has_ready(self.group(door))
    }

    /// Whether one who comes by a door now finds somebody.
    pub(super) fn has_room(&self, door: u8) -> bool {
        let crowded = self.homeless.iter().any(|homeless| homeless.door == door);
        !crowded && self.roster.can_take(self.group(door))
    }

    /// Whether something may lie with a worker, or with one that has ended, so that it is to be looked at.
    pub(super) fn is_unsettled(&self) -> bool {
        self.roster.is_unsettled() || self.ways.has_abandoned()
    }

    /// Whether connections may lie with a worker.
    pub(super) fn is_owed(&self) -> bool {
        self.roster.is_owed()
    }

    /// When the next first line was waited for long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.peeking.deadline()
    }

    /// Somebody has come. Returns whether there was anybody for it; otherwise it waits here.
    pub(super) fn come(&mut self, connection: Connection) -> bool {
        let Some(door) = self.doors.get(usize::from(connection.door)) else { return true };
        let seen = door.sight(&connection);
        self.hand_seen(connection, seen)
    }

    /// Looks at what lies with the workers, and takes it from those who take too long.
    pub(super) fn look(&mut self, now: Instant) {
        self.homeless.extend(self.ways.salvage());
        for id in self.roster.unsettled() {
            let slow = self.roster.looked(id, self.ways.lying(id), now);
            if self.roster.is_worth_recalling(id) {
                self.recall(id, now);
            } else if slow {
                let kept = self.ways.unbundle(id);
                self.keep(id, kept);
            }
        }
    }

    /// Takes from a slow worker what can be with another sooner; those who can wait for it longer are put back.
    fn recall(&mut self, id: ChildId, now: Instant) {
        let back = self.ways.take_back(id);
        let left = self.ways.lying(id);
        if back.is_empty() && left > 0 {
            // There is no room for any of it here.
            return;
        }
        let (hasty, patient): (Vec<_>, Vec<_>) =
            back.into_iter().partition(|one| self.roster.is_slow(id, self.clients(one)));
        self.homeless.extend(hasty);
        let since = self.roster.recalled(id, left, now);
        // What a slow worker takes away shows that it has come round.
        if self.ways.knock(id) {
            self.roster.knocked(id, since);
        }
        for one in patient {
            let clients = self.clients(&one);
            match self.ways.put_back(id, one) {
                None => self.roster.handed(id, clients, since),
                Some(kept) => self.homeless.push_back(kept),
            }
        }
    }

    /// Finds somebody for those that are in nobody's hands; who finds nobody waits on.
    pub(super) fn house_homeless(&mut self) {
        for one in std::mem::take(&mut self.homeless) {
            let key = self.doors.get(usize::from(one.door)).map(|door| door.key(&one)).unwrap_or_default();
            self.hand(one, &key);
        }
    }

    /// Hands over those whose first line has come, by the events that tell of it, or was waited for long enough.
    pub(super) fn house_seen(&mut self, woken: &[u64]) {
        for number in woken.iter().filter(|number| **number >= FIRST) {
            if let Some((connection, seen)) = self.peeking.called(*number) {
                self.hand_seen(connection, seen);
            }
        }
        while let Some(connection) = self.peeking.overdue(Instant::now()) {
            self.hand_seen(connection, Seen::Nothing);
        }
    }

    /// Nobody comes any more: those who are here go to workers that serve them before they leave, whichever has time.
    pub(super) fn empty(&mut self) {
        for door in self.doors.iter_mut().filter(|door| door.chooser.binds_clients()) {
            door.chooser = Chooser::new(Policy::LeastBusy, Vec::new());
        }
        self.roster.hurry();
        self.homeless.extend(self.ways.salvage());
        self.house_homeless();
        while let Some(connection) = self.peeking.give_up() {
            let door = self.doors.get(usize::from(connection.door));
            let seen = match door.map(|door| door.sight(&connection)) {
                Some(Seen::Key(key)) => Seen::Key(key),
                _ => Seen::Nothing,
            };
            self.hand_seen(connection, seen);
        }
        self.send_bundles();
    }

    /// Hands over by what was seen; what is not known yet is waited for. Returns whether there was anybody.
    fn hand_seen(&mut self, connection: Connection, seen: Seen) -> bool {
        let Some(door) = self.doors.get(usize::from(connection.door)) else { return true };
        match seen {
            Seen::Key(key) => self.hand(connection, &key),
            Seen::Nothing => {
                door.count_turn();
                self.hand(connection, &[])
            }
            Seen::NotYet => {
                let until = Instant::now() + door.peek_timeout;
                let pushed_out = self.peeking.begin(connection, until);
                pushed_out.is_none_or(|pushed_out| self.hand_seen(pushed_out, Seen::Nothing))
            }
        }
    }

    /// Hands a connection to whoever it is for. Returns whether there was anybody; otherwise it waits here.
    fn hand(&mut self, connection: Connection, key: &[u8]) -> bool {
        let Some(door) = self.doors.get_mut(usize::from(connection.door)) else { return true };
        let Some(id) = self.roster.choose(&door.group, &mut door.chooser, key) else {
            self.homeless.push_back(connection);
            return false;
        };
        self.roster.handed(id, Clients::of(&door.chooser), Instant::now());
        let full = self.ways.put(id, connection);
        !full || self.send(id)
    }

    /// Sends what was put together for a worker. Returns whether that was possible; otherwise it waits here.
    fn send(&mut self, id: ChildId) -> bool {
        let kept = self.ways.send(id);
        self.keep(id, kept)
    }

    /// Returns whether nothing was kept.
    fn keep(&mut self, id: ChildId, kept: Vec<Connection>) -> bool {
        let nothing = kept.is_empty();
        self.roster.kept(id, kept.len());
        self.homeless.extend(kept);
        nothing
    }

    /// Sends what was put together for anybody. Returns whether all of it went.
    pub(super) fn send_bundles(&mut self) -> bool {
        let unsent = self.ways.laden().into_iter().filter(|id| !self.send(*id)).count();
        unsent == 0
    }

    fn clients(&self, connection: &Connection) -> Clients {
        let door = self.doors.get(usize::from(connection.door));
        door.map_or(Clients::Free, |door| Clients::of(&door.chooser))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::event::epoll::{CreateFlags, create};

    use super::*;
    use crate::handover::{Message, receive};

    const A: ChildId = ChildId(1);
    const B: ChildId = ChildId(2);

    fn door(policy: Policy) -> Door {
        let (chooser, peek_timeout) = (Chooser::new(policy, vec![]), Duration::from_secs(1));
        Door { group: "web".to_owned(), chooser, peek_timeout, by_turns: Arc::default() }
    }

    /// With two workers that take this many connections at a time, and the ends that are theirs.
    fn lobby(doors: Vec<Door>, most: u64) -> (Lobby, [Arc<OwnedFd>; 2]) {
        let mut lobby = Lobby::new(doors, Peeking::new(create(CreateFlags::CLOEXEC).unwrap()));
        let ends = [(A, 0), (B, 1)].map(|(id, index)| {
            let way = Handover::new().unwrap();
            let end = way.receiving_end();
            lobby.join(id, "web".to_owned(), index, way);
            lobby.ready(id, most);
            end
        });
        (lobby, ends)
    }

    fn come(lobby: &mut Lobby, door: u8) {
        let socket = std::io::pipe().unwrap().1.into();
        assert!(lobby.come(Connection { door, client: None, socket }));
    }

    /// What a worker finds: the doors of the connections, and nothing for a knock.
    fn found(end: &Arc<OwnedFd>) -> Vec<Option<u8>> {
        let mut found = Vec::new();
        while let Ok(message) = receive(end) {
            match message {
                Message::Connections { came, .. } => found.extend(came.iter().map(|one| Some(one.door))),
                Message::Knock => found.push(None),
                Message::End => break,
            }
        }
        found
    }

    #[test]
    fn who_can_wait_for_a_slow_worker_is_put_back_and_others_go_on_to_the_next() {
        let (mut lobby, [first, second]) = lobby(vec![door(Policy::IpHash), door(Policy::RoundRobin)], 1);
        come(&mut lobby, 0);
        come(&mut lobby, 1);
        lobby.look(Instant::now() + Duration::from_millis(20));
        lobby.house_homeless();
        assert_eq!((found(&first), found(&second)), (vec![None, Some(0)], vec![Some(1)]));
    }

    #[test]
    fn everybody_goes_on_when_even_the_longest_patience_is_over() {
        let (mut lobby, [first, second]) = lobby(vec![door(Policy::IpHash)], 1);
        come(&mut lobby, 0);
        for later in [20, 2000] {
            lobby.look(Instant::now() + Duration::from_millis(later));
            lobby.house_homeless();
        }
        assert_eq!((found(&first), found(&second)), (vec![None], vec![Some(0)]));
    }

    #[test]
    fn who_is_here_at_the_end_is_handed_over_although_the_bundle_is_not_full() {
        let (mut lobby, [first, second]) = lobby(vec![door(Policy::RoundRobin)], 8);
        come(&mut lobby, 0);
        come(&mut lobby, 0);
        lobby.empty();
        assert_eq!((found(&first), found(&second)), (vec![Some(0)], vec![Some(0)]));
    }
}
