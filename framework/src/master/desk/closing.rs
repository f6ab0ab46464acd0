//! The end of the desk: nobody comes any more, and those who are here go to workers that serve them before they leave.

use std::time::{Duration, Instant};

use super::Desk;

/// How long it is seen to it that what was handed over is taken up. Workers wait longer for the last of them.
const LAST_LOOKS: Duration = Duration::from_millis(500);

impl Desk {
    /// Hands over what there is, and takes back what lies with those who take too long.
    pub(super) fn close(mut self) {
        self.close_openings();
        self.lobby.empty();
        let until = Instant::now() + LAST_LOOKS;
        loop {
            // Who could not be handed over a moment ago may be now.
            self.lobby.house_homeless();
            self.lobby.send_bundles();
            if !self.lobby.is_owed() || Instant::now() >= until {
                return;
            }
            self.wait();
            self.hush();
            self.lobby.look(Instant::now());
        }
    }

    fn close_openings(&mut self) {
        // The kernel would go on calling for a socket that a worker has open, too.
        (0..self.openings.len()).for_each(|place| self.watch(place, false));
        self.openings.clear();
        self.short = false;
    }
}
