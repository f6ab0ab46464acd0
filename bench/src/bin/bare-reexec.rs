//! The least that a master, an agent and workers can be: the floor for the time that a start takes.
//!
//! `bare-reexec WORKERS` starts itself again as the agent, waits for its one byte, starts the workers, waits
//! for a byte from each, prints `ready ADDRESS`, and ends with its stdin. A child's stdin is its link to the
//! parent, with which it ends; a worker's stdout is the listener that it inherits.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let role = env::args().nth(1).unwrap_or_default();
    let outcome = match (role.as_str(), role.parse()) {
        ("agent", _) => live(None),
        ("worker", _) => inherited_listener().and_then(|listener| live(Some(listener))),
        (_, Ok(workers)) => lead(workers),
        _ => {
            eprintln!("usage: bare-reexec WORKERS");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {role}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The parent's life: the agent first, then the workers, then nothing until its input ends.
fn lead(workers: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let mut agent = Offspring::start("agent", Stdio::null())?;
    agent.wait_until_ready()?;
    let mut workers = (0..workers)
        .map(|_| Offspring::start("worker", OwnedFd::from(listener.try_clone()?).into()))
        .collect::<io::Result<Vec<_>>>()?;
    workers.iter_mut().try_for_each(Offspring::wait_until_ready)?;
    writeln!(io::stdout(), "ready {}", listener.local_addr()?)?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    workers.into_iter().chain([agent]).try_for_each(Offspring::end)
}

/// A child and the parent's end of its link.
struct Offspring {
    process: Child,
    link: UnixStream,
}

impl Offspring {
    fn start(role: &str, stdout: Stdio) -> io::Result<Self> {
        let (link, theirs) = UnixStream::pair()?;
        let process = Command::new(env::current_exe()?)
            .arg(role)
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout)
            .spawn()?;
        Ok(Self { process, link })
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        self.link.read_exact(&mut [0])
    }

    fn end(mut self) -> io::Result<()> {
        drop(self.link);
        self.process.wait().map(drop)
    }
}

fn inherited_listener() -> io::Result<TcpListener> {
    io::stdout().as_fd().try_clone_to_owned().map(TcpListener::from)
}

/// A child's life: it says ready, serves if it has what to serve on, and ends with its link.
fn live(listener: Option<TcpListener>) -> io::Result<()> {
    let link = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    link.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut link = tokio::net::UnixStream::from_std(link)?;
        let listener = listener.map(tokio::net::TcpListener::from_std).transpose()?;
        let serving = async {
            match listener {
                Some(listener) => hatchery_bench::serve(listener).await.map(|never| match never {}),
                None => std::future::pending().await,
            }
        };
        link.write_all(&[1]).await?;
        tokio::select! {
            ended = serving => ended,
            _ = link.read_u8() => Ok(()),
        }
    })
}
