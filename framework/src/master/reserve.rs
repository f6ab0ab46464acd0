//! Descriptors that are kept for the time when there is no other: they are given up one by one for what matters more, and
//! kept anew as soon as there are some to spare. Who gets them instead is the caller's business.

use std::fs::File;
use std::io;

use rustix::io::Errno;

/// How many there are: one more than whoever holds the first of them for long.
const KEPT: usize = 2;

/// Those that are not given up.
#[derive(Debug, Default)]
pub(super) struct Reserve(Vec<File>);

impl Reserve {
    /// Keeps as many as there are to spare. Returns whether none is missing.
    pub(super) fn keep(&mut self) -> bool {
        let missing = KEPT - self.0.len();
        self.0.extend((0..missing).map_while(|_| File::open("/dev/null").ok()));
        self.0.len() == KEPT
    }

    /// Gives one up if that helps against `error`. Returns whether what failed is worth another try at once.
    pub(super) fn helps(&mut self, error: &io::Error) -> bool {
        is_shortage(error) && self.0.pop().is_some()
    }
}

/// Whether it says that this process, or the whole machine, has no more descriptors.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_given_up_once_and_only_against_a_shortage() {
        let mut reserve = Reserve::default();
        let shortage = io::Error::from(Errno::MFILE);
        assert!(!reserve.helps(&shortage), "nothing is kept yet");
        assert!(reserve.keep() && !reserve.helps(&Errno::CONNABORTED.into()));
        let helped = [Errno::MFILE, Errno::NFILE, Errno::MFILE].map(|errno| reserve.helps(&errno.into()));
        assert_eq!(helped, [true, true, false]);
        assert!(reserve.keep() && reserve.helps(&shortage) && reserve.keep());
    }
}
