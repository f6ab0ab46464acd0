//! The end of the desk: nobody comes any more, and those who are here go to workers that serve them before they leave.

use std::time::{Duration, Instant};

use super::Desk;
use crate::master::peeking::Seen;

/// How long it is seen to it that what was handed over is taken up. Workers wait longer for the last of them.
const LAST_LOOKS: Duration = Duration::from_millis(500);

impl Desk {
    /// Hands over what there is, and takes back what lies with those who take too long.
    pub(super) fn hand_over_last(mut self) {
        self.close_openings();
        self.roster.hurry();
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
        let until = Instant::now() + LAST_LOOKS;
        loop {
            // Who could not be handed over a moment ago may be now.
            self.house_homeless();
            self.send_bundles();
            if !self.roster.is_owed() || Instant::now() >= until {
                return;
            }
            self.wait();
            self.hush();
            self.look();
        }
    }

    fn close_openings(&mut self) {
        // The kernel would go on calling for a socket that a worker has open, too.
        (0..self.openings.len()).for_each(|place| self.watch(place, false));
        self.openings.clear();
        self.short = false;
    }
}
