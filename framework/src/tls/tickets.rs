//! The keys by which session tickets are sealed: all workers have the same ones, so that a client's session resumes on
//! each of them. Pure: time and randomness come in as arguments.

use core::fmt;

use serde::{Deserialize, Serialize};

/// How long a key seals new tickets, in seconds; for as long again it opens them.
pub(super) const ROTATION: u64 = 6 * 60 * 60;

/// One key, and when it was made, in seconds since 1970. Its `Debug` shows the time alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketKey {
    pub(crate) name: [u8; 16],
    pub(crate) key: [u8; 32],
    pub(crate) made_at: u64,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("made_at", &self.made_at).finish_non_exhaustive()
    }
}

/// The key that seals, and the one before it, which only opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketKeys {
    pub(super) current: TicketKey,
    pub(super) previous: Option<TicketKey>,
}

impl TicketKeys {
    pub(crate) fn new(current: TicketKey) -> Self {
        Self { current, previous: None }
    }

    /// Whether a new key should seal from now on. A clock that was set does not keep a key alive.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now.abs_diff(self.current.made_at) >= ROTATION
    }

    /// With a new key; the present one opens for one more round. What was left alone for longer than that is forgotten.
    pub(crate) fn rotated(&self, fresh: TicketKey) -> Self {
        let recent = fresh.made_at.abs_diff(self.current.made_at) < 2 * ROTATION;
        Self { previous: recent.then(|| self.current.clone()), current: fresh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(made_at: u64) -> TicketKey {
        TicketKey { name: [0; 16], key: [1; 32], made_at }
    }

    #[test]
    fn a_key_seals_for_one_round_and_opens_for_two() {
        let keys = TicketKeys::new(key(1000));
        assert!(!keys.is_due(1000 + ROTATION - 1));
        assert!(keys.is_due(1000 + ROTATION));
        let next = keys.rotated(key(1000 + ROTATION));
        assert_eq!(next.previous, Some(key(1000)));
        let last = next.rotated(key(1000 + 2 * ROTATION));
        assert_eq!(last.previous, Some(key(1000 + ROTATION)));
    }

    #[test]
    fn keys_that_nobody_rotated_in_time_are_forgotten() {
        let keys = TicketKeys::new(key(1000));
        assert_eq!(keys.rotated(key(1000 + 2 * ROTATION)).previous, None);
        assert!(keys.is_due(0) == (1000 >= ROTATION) && TicketKeys::new(key(ROTATION)).is_due(0));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", key(7)), "TicketKey { made_at: 7, .. }");
    }
}
