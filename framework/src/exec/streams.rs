//! The three streams of a helper, all of them at once, so that nobody waits for a full pipe.

use std::io::{self, Cursor};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::error::{Fault, Stream};

/// How much is read at a time, in bytes.
const CHUNK: usize = 8 * 1024;

/// Our ends of a helper's pipes, and what has come out of them.
#[derive(Debug)]
pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    input: Cursor<Vec<u8>>,
    stdout: Source<ChildStdout>,
    stderr: Source<ChildStderr>,
}

impl Pipes {
    /// Takes the pipes of `child`. Each of its outputs may be of `limit` bytes.
    pub(super) fn of(child: &mut Child, input: Vec<u8>, limit: u64) -> Self {
        Self {
            stdin: child.stdin.take(),
            input: Cursor::new(input),
            stdout: Source { stream: Stream::Stdout, pipe: child.stdout.take(), limit, taken: Vec::new() },
            stderr: Source { stream: Stream::Stderr, pipe: child.stderr.take(), limit, taken: Vec::new() },
        }
    }

    /// Writes the input and reads what is written, until both outputs end or one of them passes the limit. May be
    /// called again, after errors, too: what has ended is let be. Cancel safe.
    pub(super) async fn pump(&mut self) -> Result<(), Fault> {
        let Self { stdin, input, stdout, stderr } = self;
        tokio::try_join!(feed(stdin, input), stdout.drain(), stderr.drain())?;
        Ok(())
    }

    /// What was written to stdout and stderr.
    pub(super) fn into_taken(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout.taken, self.stderr.taken)
    }
}

async fn feed(stdin: &mut Option<ChildStdin>, input: &mut Cursor<Vec<u8>>) -> Result<(), Fault> {
    if let Some(pipe) = stdin {
        let fed = pipe.write_all_buf(input).await;
        *stdin = None;
        // It need not read everything.
        if let Err(error) = fed
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Where a helper writes to.
#[derive(Debug)]
struct Source<P> {
    stream: Stream,
    /// `None` when it has ended or passed the limit; the helper cannot write to it any more then.
    pipe: Option<P>,
    limit: u64,
    taken: Vec<u8>,
}

impl<P: AsyncRead + Unpin> Source<P> {
    async fn drain(&mut self) -> Result<(), Fault> {
        while let Some(pipe) = &mut self.pipe {
            // One byte more, which tells that there are too many.
            let room = self.limit.saturating_add(1) - self.taken.len() as u64;
            self.taken.reserve(CHUNK);
            let read = pipe.take(room).read_buf(&mut self.taken).await?;
            if self.taken.len() as u64 > self.limit {
                self.pipe = None;
                self.taken.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
                return Err(Fault::TooMuch(self.stream));
            }
            if read == 0 {
                self.pipe = None;
            }
        }
        Ok(())
    }
}
