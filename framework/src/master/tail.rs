//! The end of what a process wrote to stderr, kept in case that these are its last words. Pure.

use std::time::{Duration, Instant};

/// How many bytes are kept.
const KEPT: usize = 2048;

/// How many bytes of it are told.
const TOLD: usize = 300;

/// What was written longer than this before the end has nothing to do with it. An abort may have to write a
/// core file first.
const FRESH: Duration = Duration::from_secs(10);

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    written: Option<Instant>,
    /// A line that says more than all that follows it, such as a backtrace.
    cause: Option<String>,
}

impl Tail {
    /// More was written. What came long before it is forgotten.
    pub(super) fn push(&mut self, more: &[u8], now: Instant) {
        if !self.is_fresh(now) {
            self.bytes.clear();
            self.cause = None;
        }
        self.written = Some(now);
        let more = &more[more.len().saturating_sub(KEPT)..];
        let surplus = (self.bytes.len() + more.len()).saturating_sub(KEPT);
        self.bytes.drain(..surplus);
        self.bytes.extend_from_slice(more);
        if self.cause.is_none() {
            let text = String::from_utf8_lossy(&self.bytes);
            self.cause = text.lines().find(|line| tells_of_memory(line)).map(readable);
        }
    }

    /// The last lines in one, if they were written just now.
    pub(super) fn last_lines(&self, now: Instant) -> Option<String> {
        if !self.is_fresh(now) {
            return None;
        }
        if let Some(cause) = &self.cause {
            return Some(cut(cause, TOLD).to_owned());
        }
        let text = String::from_utf8_lossy(&self.bytes);
        let mut told = String::new();
        for line in text.lines().rev().map(readable).filter(|line| !line.is_empty()) {
            if told.is_empty() {
                told = cut(&line, TOLD).to_owned();
            } else if line.len() + 3 + told.len() <= TOLD {
                told = format!("{line} | {told}");
            } else {
                break;
            }
        }
        (!told.is_empty()).then_some(told)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.written.is_some_and(|written| now.saturating_duration_since(written) <= FRESH)
    }
}

/// Whether the allocator says that there is no memory. It writes its line in pieces.
fn tells_of_memory(line: &str) -> bool {
    line.starts_with("memory allocation of ") && line.ends_with(" bytes failed")
}

/// One line without its margins, with what a terminal would obey made visible.
fn readable(line: &str) -> String {
    let escape = |char: char| {
        let shown: Box<dyn Iterator<Item = char>> =
            if char.is_control() { Box::new(char.escape_default()) } else { Box::new(std::iter::once(char)) };
        shown
    };
    line.trim().chars().flat_map(escape).collect()
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        let mut tail = Tail::default();
        let now = Instant::now();
        tail.push(text.as_bytes(), now);
        tail.last_lines(now)
    }

    #[test]
    fn the_last_lines_are_told_in_one() {
        assert_eq!(told(""), None);
        assert_eq!(told("\n \n"), None);
        assert_eq!(told("one\n\n  two\n").unwrap(), "one | two");
        assert_eq!(told("\x1b[31mred\x07\n").unwrap(), "\\u{1b}[31mred\\u{7}");
        assert_eq!(told("unfinished").unwrap(), "unfinished");
    }

    #[test]
    fn what_is_told_is_short_and_its_end_is_kept() {
        let long = "ü".repeat(1000);
        assert_eq!(told(&long).unwrap().len(), TOLD);
        let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
        let told = told(&lines).unwrap();
        assert!(told.ends_with("line 498 | line 499") && told.len() <= TOLD, "{told}");
    }

    #[test]
    fn old_output_is_no_last_word() {
        let mut tail = Tail::default();
        let start = Instant::now();
        tail.push(b"a warning\n", start);
        assert_eq!(tail.last_lines(start + FRESH * 2), None);
        tail.push(b"the end\n", start + FRESH * 2);
        assert_eq!(tail.last_lines(start + FRESH * 2).unwrap(), "the end");
    }

    #[test]
    fn a_failed_allocation_is_told_before_the_backtrace_behind_it() {
        let mut tail = Tail::default();
        let now = Instant::now();
        for piece in ["a warning\nmemory allocation of ", "9", " bytes failed\n", "stack backtrace:\n"] {
            tail.push(piece.as_bytes(), now);
        }
        tail.push(&b"   0: and so on\n".repeat(500), now);
        assert_eq!(tail.last_lines(now).as_deref(), Some("memory allocation of 9 bytes failed"));
    }
}
