//! A descriptor that is kept for the time when there is no other: it is given up for one that matters more, and kept
//! anew as soon as there is one to spare. Who gets it instead is the caller's business.

use std::fs::File;
use std::io;

use rustix::io::Errno;

/// The descriptor, unless it is given up.
#[derive(Debug, Default)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    /// Keeps one, if there is one and none is kept. Returns whether one is.
    pub(super) fn keep(&mut self) -> bool {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
        self.0.is_some()
    }

    /// Gives it up if that helps against `error`. Returns whether what failed is worth another try at once.
    pub(super) fn helps(&mut self, error: &io::Error) -> bool {
        is_shortage(error) && self.0.take().is_some()
    }
}

/// Whether it says that this process, or the whole machine, has no more descriptors.
fn is_shortage(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_once_and_only_against_a_shortage() {
        let mut reserve = Reserve::default();
        let shortage = io::Error::from(Errno::MFILE);
        assert!(!reserve.helps(&shortage), "nothing is kept yet");
        assert!(reserve.keep() && !reserve.helps(&Errno::CONNABORTED.into()));
        assert!(reserve.helps(&shortage) && !reserve.helps(&shortage));
        assert!(reserve.keep() && reserve.helps(&Errno::NFILE.into()));
    }
}
