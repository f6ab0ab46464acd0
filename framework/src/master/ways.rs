//! The ways by which connections go to the workers. What is for the same worker is put together, so that it costs the
//! two of them one call each.

use std::collections::BTreeMap;
use std::time::Instant;

use super::event::ChildId;
use super::shortage::Shortage;
use crate::handover::{BUNDLE, Connection, Handover, Message};

/// The ways to all workers.
#[derive(Debug, Default)]
pub(super) struct Ways {
    open: BTreeMap<ChildId, Way>,
    /// Those to workers that have ended, with what could not be taken back yet.
    abandoned: Vec<Handover>,
    shortage: Shortage,
}

#[derive(Debug)]
struct Way {
    handover: Handover,
    /// What is to be handed over next.
    bundle: Vec<Connection>,
    /// How many connections the worker takes at a time.
    most: usize,
    /// Whether more than one at a time was handed over, and may lie there.
    bundled: bool,
    /// Whether it gets one at a time for now, whatever it takes.
    singly: bool,
}

impl Ways {
    pub(super) fn join(&mut self, id: ChildId, handover: Handover) {
        self.open.insert(id, Way { handover, bundle: Vec::new(), most: 1, bundled: false, singly: false });
    }

    /// The worker has ended; returns what it has not received. What finds no room here is [salvaged](Self::salvage) later.
    pub(super) fn gone(&mut self, id: ChildId) -> Vec<Connection> {
        self.abandoned.extend(self.open.remove(&id).map(|way| way.handover));
        self.salvage()
    }

    /// Takes back what lies on the ways to workers that have ended.
    pub(super) fn salvage(&mut self) -> Vec<Connection> {
        let mut back = Vec::new();
        let shortage = &mut self.shortage;
        self.abandoned.retain(|handover| !empty(handover, &mut back, shortage).whole);
        back
    }

    /// Whether something lies there that is to be salvaged.
    pub(super) fn has_abandoned(&self) -> bool {
        !self.abandoned.is_empty()
    }

    /// The worker takes so many connections at a time. One that does not know of bundles says 0.
    pub(super) fn ready(&mut self, id: ChildId, most: u64) {
        if let Some(way) = self.open.get_mut(&id) {
            way.most = usize::try_from(most).unwrap_or(BUNDLE).clamp(1, BUNDLE);
        }
    }

    /// Puts a connection to the others for this worker, and tells whether it takes no more of them at a time.
    pub(super) fn put(&mut self, id: ChildId, connection: Connection) -> bool {
        self.open.get_mut(&id).is_some_and(|way| {
            way.bundle.push(connection);
            way.singly || way.bundle.len() >= way.most
        })
    }

    /// For whom something was put together.
    pub(super) fn laden(&self) -> Vec<ChildId> {
        self.open.iter().filter(|(_, way)| !way.bundle.is_empty()).map(|(id, _)| *id).collect()
    }

    /// Hands over what was put together; returns what could not be.
    pub(super) fn send(&mut self, id: ChildId) -> Vec<Connection> {
        let Some(Way { handover, bundle, bundled, .. }) = self.open.get_mut(&id) else { return Vec::new() };
        if handover.send(bundle).is_err() {
            return std::mem::take(bundle);
        }
        *bundled |= bundle.len() > 1;
        bundle.clear();
        Vec::new()
    }

    /// It takes long, perhaps because it has descriptors for some of a bundle, but not for all: it gets one at a time, until
    /// it is [forgiven](Self::forgive), and so does it what lies there. Returns what could not be handed over again.
    pub(super) fn unbundle(&mut self, id: ChildId) -> Vec<Connection> {
        let Some(way) = self.open.get_mut(&id) else { return Vec::new() };
        way.singly = true;
        if !way.bundled {
            return Vec::new();
        }
        let mut back = Vec::new();
        let emptied = empty(&way.handover, &mut back, &mut self.shortage);
        way.bundled = !emptied.whole;
        if emptied.knocked {
            // A knock that is gone would say that the worker has come round. Where it finds no room, nor does the rest.
            let _ = way.handover.knock();
        }
        back.retain(|one| !self.send_alone(id, one));
        back
    }

    /// Hands over again what was taken back, alone; returns it if that could not be.
    pub(super) fn put_back(&self, id: ChildId, connection: Connection) -> Option<Connection> {
        (!self.send_alone(id, &connection)).then_some(connection)
    }

    fn send_alone(&self, id: ChildId, connection: &Connection) -> bool {
        self.open.get(&id).is_some_and(|way| way.handover.send(std::slice::from_ref(connection)).is_ok())
    }

    /// It gets bundles again.
    pub(super) fn forgive(&mut self, id: ChildId) {
        if let Some(way) = self.open.get_mut(&id) {
            way.singly = false;
        }
    }

    /// Leaves something there that the worker takes away when it comes round; whether that was possible.
    pub(super) fn knock(&self, id: ChildId) -> bool {
        self.open.get(&id).is_some_and(|way| way.handover.knock().is_ok())
    }

    /// How much the worker has not received.
    pub(super) fn lying(&self, id: ChildId) -> usize {
        self.open.get(&id).map_or(0, |way| way.handover.lying())
    }

    /// Takes back what the worker has not received, as far as there are descriptors for it.
    pub(super) fn take_back(&mut self, id: ChildId) -> Vec<Connection> {
        let mut back = Vec::new();
        if let Some(way) = self.open.get_mut(&id) {
            way.bundled = !empty(&way.handover, &mut back, &mut self.shortage).whole;
        }
        back
    }
}

/// What was taken back from a way.
struct Emptied {
    /// Whether nothing is left there.
    whole: bool,
    /// Whether a knock was among it.
    knocked: bool,
}

/// Takes `back` what lies on a way, as far as there are descriptors for it.
fn empty(handover: &Handover, back: &mut Vec<Connection>, shortage: &mut Shortage) -> Emptied {
    let mut knocked = false;
    loop {
        match handover.take_back() {
            Ok(Some(Message::Connections { came, lost })) => {
                back.extend(came);
                if lost > 0 {
                    tracing::error!(
                        "connections were lost, because the limit of open files is reached: {lost}"
                    );
                }
            }
            Ok(Some(Message::Knock)) => knocked = true,
            Ok(Some(Message::End) | None) => return Emptied { whole: true, knocked },
            Err(error) => {
                if shortage.is_news(Instant::now()) {
                    let lying = handover.lying();
                    tracing::warn!(
                        "connections stay with a worker that is slow or gone, because they cannot be taken back: {error}: \
                         {lying}"
                    );
                }
                return Emptied { whole: false, knocked };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::{peek, receive};

    const A: ChildId = ChildId(1);

    fn ways(most: u64) -> Ways {
        let mut ways = Ways::default();
        ways.join(A, Handover::new().unwrap());
        ways.ready(A, most);
        ways
    }

    /// Puts one connection more, and tells whether a bundle is full with it.
    fn put(ways: &mut Ways) -> bool {
        let socket = std::io::pipe().unwrap().1.into();
        ways.put(A, Connection { door: 0, client: None, socket })
    }

    #[test]
    fn a_worker_gets_as_many_at_a_time_as_it_takes() {
        let mut two = ways(2);
        assert_eq!([put(&mut two), put(&mut two)], [false, true]);
        assert_eq!(two.laden(), [A]);
        assert!(two.send(A).is_empty() && two.laden().is_empty());
        assert_eq!((two.lying(A), two.take_back(A).len(), two.lying(A)), (2, 2, 0));
        assert!(put(&mut ways(0)), "one that says nothing takes one");
        let mut many = ways(u64::MAX);
        assert_eq!((0..BUNDLE).filter(|_| put(&mut many)).count(), 1);
    }

    #[test]
    fn who_takes_long_gets_one_at_a_time_until_it_is_forgiven() {
        let mut ways = ways(2);
        put(&mut ways);
        assert!(put(&mut ways) && ways.send(A).is_empty());
        assert!(ways.unbundle(A).is_empty() && put(&mut ways));
        assert!(ways.send(A).is_empty());
        let end = ways.open[&A].handover.receiving_end();
        assert_eq!(
            [0; 3].map(|_| peek(&end).ok().zip(receive(&end).ok()).map(|(count, _)| count)),
            [Some(1); 3]
        );
        ways.forgive(A);
        assert!(!put(&mut ways));
    }

    #[test]
    fn a_knock_stays_first_when_what_lies_there_is_handed_over_again_singly() {
        let mut ways = ways(2);
        assert!(ways.knock(A) && !put(&mut ways) && put(&mut ways) && ways.send(A).is_empty());
        assert!(ways.unbundle(A).is_empty());
        assert_eq!(ways.lying(A), 3);
        let end = ways.open[&A].handover.receiving_end();
        assert!(matches!(receive(&end), Ok(Message::Knock)));
        assert_eq!([peek(&end).unwrap(), ways.take_back(A).len()], [1, 2]);
    }
}
