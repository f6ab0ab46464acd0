//! A client that says when its server knows of it.

use std::io::{self, Read, Write};

use hatchery_bench::bus::say;

/// A stream that says `ready` on our stdout when a word has come over it.
pub(crate) struct Ready<S> {
    stream: S,
    word: &'static str,
    seen: Option<Vec<u8>>,
}

impl<S> Ready<S> {
    pub(crate) fn after(stream: S, word: &'static str) -> Self {
        Self { stream, word, seen: Some(Vec::new()) }
    }
}

impl<S: Read> Read for Ready<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(bytes)?;
        if let Some(seen) = &mut self.seen {
            seen.extend_from_slice(&bytes[..count]);
            if String::from_utf8_lossy(seen).contains(self.word) {
                self.seen = None;
                say("ready")?;
            }
        }
        Ok(count)
    }
}

impl<S: Write> Write for Ready<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
