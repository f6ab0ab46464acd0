//! The three streams of a helper, all of them at once, so that nobody waits for a full pipe.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::error::{Fault, Stream};

/// How much is read at a time, in bytes.
const CHUNK: usize = 8 * 1024;

/// What a helper has written so far.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Our ends of a helper's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Pipes {
    pub(super) fn of(child: Option<&mut Child>) -> Self {
        match child {
            Some(child) => {
                Self { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() }
            }
            None => Self { stdin: None, stdout: None, stderr: None },
        }
    }

    /// Writes the input and reads what is written, until both outputs end or one of them passes `limit`.
    pub(super) async fn pump(
        self,
        input: Option<Vec<u8>>,
        limit: u64,
        captured: &mut Captured,
    ) -> Result<(), Fault> {
        let Captured { stdout, stderr } = captured;
        tokio::try_join!(
            feed(self.stdin, input.unwrap_or_default()),
            collect(Stream::Stdout, self.stdout, limit, stdout),
            collect(Stream::Stderr, self.stderr, limit, stderr),
        )?;
        Ok(())
    }
}

async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) -> Result<(), Fault> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(&input).await {
        // It need not read everything.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

async fn collect(
    stream: Stream,
    pipe: Option<impl AsyncRead + Unpin>,
    limit: u64,
    into: &mut Vec<u8>,
) -> Result<(), Fault> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut pipe = pipe.take(limit.saturating_add(1));
    loop {
        into.reserve(CHUNK);
        if pipe.read_buf(into).await? == 0 {
            break;
        }
    }
    if into.len() as u64 <= limit {
        return Ok(());
    }
    into.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Err(Fault::TooMuch(stream))
}
