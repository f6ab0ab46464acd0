//! What goes out to the children, and what becomes of what does not fit.

use std::collections::VecDeque;
use std::io;

use rustix::io::Errno;

use super::Master;
use super::descriptors::MORE_FILES;
use super::event::{ChildId, Event};
use crate::bus::control::ANNOUNCEMENT;
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{Fill, SendError, Sender};
use crate::bus::parcel::Parcel;
use crate::role::Slot;

impl Master {
    pub(super) fn send(&mut self, to: ChildId, frame: Frame) {
        let Some(child) = self.children.get(&to) else {
            return;
        };
        let is_news = frame.kind() == Kind::News && frame.number() == 0;
        let is_the_end = match frame.kind() {
            Kind::Shutdown => frame.payload() != ANNOUNCEMENT,
            // It may have said by itself that its work is done.
            kind => kind == Kind::Farewell,
        };
        if is_the_end {
            self.entrance.leave(to);
        }
        match child.sender.push(&frame) {
            Ok(()) => {}
            // Its exit is on the way to us.
            Err(SendError::Gone) => self.dropped += 1,
            // Who is too slow for news misses some.
            Err(SendError::Full(_)) if is_news => self.dropped += 1,
            Err(SendError::Full(full)) => {
                self.dropped += 1;
                self.queue.push_back(Event::LinkLost { id: to, problem: Some(full.to_string()) });
            }
        }
    }

    pub(super) fn pack(&self, to: ChildId) {
        if let Some(child) = self.children.get(&to) {
            child.sender.pack();
        }
    }

    pub(super) fn recall(&self, to: ChildId, topic: &str) {
        if let Some(child) = self.children.get(&to) {
            child.sender.recall(topic);
        }
    }

    pub(super) fn deliver(
        &mut self,
        to: ChildId,
        parcel: Parcel,
        push: fn(&Sender, &Parcel) -> Result<Fill, SendError>,
    ) {
        let Some(child) = self.children.get(&to) else { return };
        match push(&child.sender, &parcel) {
            Ok(Fill::Fine) => {}
            Ok(Fill::Crowded) => self.crowded.push(child.sender.clone()),
            Err(SendError::Gone) => {
                // What came before this goes first.
                let left = child.sender.take_back().into_iter().chain([parcel]);
                note_left(&mut self.queue, to, left);
            }
            Err(SendError::Full(_)) => self.queue.push_back(Event::Undelivered { to, parcel }),
        }
    }

    /// Takes leave of a child that has ended, or whose link is closed, if `event` is that. What waited for it comes first
    /// then, so that it goes on before anything newer.
    pub(super) fn take_leave(&mut self, event: Event) -> Event {
        let (id, left) = match event {
            Event::Exited { id, .. } => (id, self.children.remove(&id).map(|child| child.sender.take_back())),
            Event::LinkLost { id, problem: None } => {
                (id, self.children.get(&id).map(|child| child.sender.take_back()))
            }
            _ => return event,
        };
        match left.filter(|left| !left.is_empty()) {
            Some(parcels) => {
                self.queue.push_front(event);
                Event::Left { by: id, parcels }
            }
            None => event,
        }
    }

    pub(super) fn await_room(&self, id: ChildId) {
        let Some(child) = self.children.get(&id) else { return };
        let (sender, events) = (child.sender.clone(), self.care.events());
        tokio::spawn(async move {
            sender.roomy().await;
            // If the master is gone, nobody waits for room.
            let _ = events.send(Event::Room { id }).await;
        });
    }

    pub(super) fn welcome(&mut self, to: ChildId, slot: &Slot, generation: u64, replaces: bool) {
        let Some(program) = self.programs.of(generation) else { return };
        let welcome = Frame::new(Kind::Welcome, u64::from(replaces), program.welcome.clone());
        match self.entrance.descriptors(to, slot) {
            Ok(descriptors) => self.send(to, welcome.with_descriptors(descriptors)),
            Err(error) => {
                let problem = Some(format!("no connections can be handed to it: {}", with_advice(&error)));
                self.queue.push_back(Event::LinkLost { id: to, problem });
            }
        }
    }
}

/// All that a run of mail leaves at one closed link is told together.
fn note_left(queue: &mut VecDeque<Event>, by: ChildId, left: impl Iterator<Item = Parcel>) {
    let earlier = queue.iter_mut().find_map(|event| match event {
        Event::Left { by: earlier, parcels } if *earlier == by => Some(parcels),
        _ => None,
    });
    match earlier {
        Some(parcels) => parcels.extend(left),
        None => queue.push_back(Event::Left { by, parcels: left.collect() }),
    }
}

/// What the master had no descriptor for is no fault of the process.
fn with_advice(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => format!("{error}: that is the master's limit; {MORE_FILES}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets_a_closed_link_is_told_with_what_lay_in_its_queue() {
        let parcel = |number| Parcel::Frame(Frame::about(Kind::Message, "words", number, b""));
        let mut queue = VecDeque::from([Event::Timer]);
        note_left(&mut queue, ChildId(2), [parcel(1), parcel(2)].into_iter());
        queue.push_back(Event::Undelivered { to: ChildId(3), parcel: parcel(2) });
        note_left(&mut queue, ChildId(4), [parcel(2)].into_iter());
        note_left(&mut queue, ChildId(2), [parcel(3)].into_iter());
        let left = queue.iter().filter_map(|event| match event {
            Event::Left { by, parcels } => Some((by.0, parcels.len())),
            _ => None,
        });
        assert_eq!(left.collect::<Vec<_>>(), [(2, 3), (4, 1)]);
    }
}
