//! Lines that wait for the disk. It decides what the next write consists of and what is too much to keep;
//! writing is left to the file.

/// A write is at most this long, unless a single line is longer.
pub(super) const BATCH: usize = 64 * 1024;

/// What is kept while nothing can be written.
pub(super) const KEPT: usize = 1024 * 1024;

/// Whole lines, the first of which may be on disk in part.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// Where the first line begins that is not on disk as a whole.
    start: usize,
    /// How many bytes of that line are on disk.
    torn: usize,
}

impl Backlog {
    /// Takes `line`, which ends with a newline; false when there is no room for it.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        self.bytes.drain(..self.start);
        self.start = 0;
        let room = self.bytes.is_empty() || self.bytes.len() + line.len() <= KEPT;
        if room {
            self.bytes.extend_from_slice(line);
        }
        room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Whether a line is on disk in part.
    pub(super) fn is_torn(&self) -> bool {
        self.torn > 0
    }

    /// The torn line is to be written again as a whole.
    pub(super) fn start_line_again(&mut self) {
        self.torn = 0;
    }

    /// What to write next: whole lines, or the rest of the torn line and whole lines behind it.
    pub(super) fn chunk(&self) -> &[u8] {
        let rest = &self.bytes[self.start + self.torn..];
        if rest.len() <= BATCH {
            return rest;
        }
        let newline = |byte: &u8| *byte == b'\n';
        let cut = match rest[..BATCH].iter().rposition(newline) {
            Some(last) => last + 1,
            None => rest.iter().position(newline).map_or(rest.len(), |first| first + 1),
        };
        &rest[..cut]
    }

    /// The first `count` bytes of the chunk are on disk.
    pub(super) fn wrote(&mut self, count: usize) {
        let end = self.start + self.torn + count;
        let lines = &self.bytes[self.start..end];
        self.start += lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.torn = end - self.start;
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(BATCH);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holding(lines: &[&str]) -> Backlog {
        let mut backlog = Backlog::default();
        assert!(lines.iter().all(|line| backlog.push(line.as_bytes())));
        backlog
    }

    #[test]
    fn a_torn_line_goes_on_where_it_broke_off() {
        let mut backlog = holding(&["one\n", "two\n"]);
        backlog.wrote(6);
        assert!(backlog.is_torn());
        assert_eq!(backlog.chunk(), b"o\n");
        backlog.wrote(2);
        assert!(backlog.is_empty() && !backlog.is_torn());
    }

    #[test]
    fn a_torn_line_can_be_written_again_as_a_whole() {
        let mut backlog = holding(&["one\n", "two\n"]);
        backlog.wrote(6);
        assert!(backlog.push(b"three\n"));
        backlog.start_line_again();
        assert_eq!(backlog.chunk(), b"two\nthree\n");
    }

    #[test]
    fn a_line_longer_than_a_batch_is_a_write_of_its_own() {
        let long = format!("{}\n", "x".repeat(BATCH));
        let backlog = holding(&[&long, "short\n"]);
        assert_eq!(backlog.chunk().len(), BATCH + 1);
    }

    #[test]
    fn a_full_backlog_takes_no_more() {
        let mut backlog = holding(&["x\n"]);
        let line = format!("{}\n", "x".repeat(999));
        let taken = (0..2000).filter(|_| backlog.push(line.as_bytes())).count();
        assert_eq!(taken, (KEPT - 2) / 1000);
        assert!(Backlog::default().push(&vec![b'\n'; 2 * KEPT]));
    }

    proptest! {
        #[test]
        fn whatever_the_disk_takes_all_bytes_come_out_once(
            lengths in prop::collection::vec(0_usize..40_000, 0..12),
            takes in prop::collection::vec(1_usize..90_000, 1..8),
        ) {
            let lines: Vec<String> = lengths.iter().map(|length| "x".repeat(*length) + "\n").collect();
            let mut backlog = Backlog::default();
            lines.iter().for_each(|line| assert!(backlog.push(line.as_bytes())));
            let (mut disk, mut takes) = (Vec::new(), takes.into_iter().cycle());
            while !backlog.is_empty() {
                let chunk = backlog.chunk();
                prop_assert!(chunk.len() <= BATCH && chunk.ends_with(b"\n"));
                let count = chunk.len().min(takes.next().unwrap());
                disk.extend_from_slice(&chunk[..count]);
                backlog.wrote(count);
            }
            prop_assert_eq!(disk, lines.concat().into_bytes());
        }
    }
}
