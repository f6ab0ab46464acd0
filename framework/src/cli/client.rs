//! The caller's end of the control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use interprocess::local_socket::GenericFilePath;
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};

use super::places::Places;
use super::words::failed;
use crate::bus::codec;
use crate::bus::control::{Answer, Request};
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{self, Receiver, Sender};
use crate::error::Ending;
use crate::instance::RunDir;
use crate::master::Outcome;

/// How long a master may take to answer. It answers between two events, so this is very long.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a master may take from its lock to its socket, and how often to look.
const START: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(10);

/// How long a master that closes a connection may take to be gone.
const MOMENT: Option<Timespec> = Some(Timespec { tv_sec: 1, tv_nsec: 0 });

/// A connection with a running master.
#[derive(Debug)]
pub(crate) struct Client {
    receiver: Receiver,
    sender: Sender,
    run_dir: RunDir,
    /// A handle of the process itself, which no other process can take over as it could the pid.
    master: Option<OwnedFd>,
}

impl Client {
    pub(crate) async fn connect(places: &Places) -> Result<Self, Outcome> {
        let run_dir = places.run_dir.clone();
        let opened = tokio::time::timeout(PATIENCE, open_in_time(&run_dir)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let socket = opened.map_err(|error| absent(&run_dir, &error))?;
        let master = socket_peercred(&socket).and_then(|peer| pidfd_open(peer.pid, PidfdFlags::empty())).ok();
        let (receiver, sender) = link::open(socket).map_err(|error| absent(&run_dir, &error))?;
        Ok(Self { receiver, sender, run_dir, master })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer, Outcome> {
        self.ask_within(PATIENCE, request).await
    }

    /// Asks for what takes its time: the master answers when it is done or has failed.
    pub(crate) async fn ask_patiently(&mut self, request: &Request) -> Result<Answer, Outcome> {
        self.ask_within(Duration::MAX, request).await
    }

    /// The next answer to what was asked for patiently.
    pub(crate) async fn next_answer(&mut self) -> Result<Answer, Outcome> {
        let answer = self.receive().await;
        answer.map_err(|problem| failed(Ending::Failed, problem))
    }

    async fn ask_within(&mut self, patience: Duration, request: &Request) -> Result<Answer, Outcome> {
        let answer = tokio::time::timeout(patience, self.exchange(request)).await;
        // It drops what it has not begun, because we leave; what it has begun it ends.
        let rest = match request {
            Request::Status => "",
            _ => ": it carries this out only if it has begun to; look at `status` before you try again",
        };
        let silent =
            || failed(Ending::Failed, format!("{} does not answer{rest}", describe_holder(&self.run_dir)));
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            // A master that ends lets go of its connections a moment before it is gone.
            Ok(Err(_)) if self.is_gone(MOMENT) => Err(not_running()),
            Ok(Err(problem)) => Err(failed(Ending::Failed, problem)),
            Err(_) => Err(silent()),
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Answer, String> {
        let body = codec::encode("a request", request).map_err(|error| error.to_string())?;
        self.sender.send(Frame::new(Kind::Request, 0, body)).await.map_err(|error| error.to_string())?;
        self.receive().await
    }

    async fn receive(&mut self) -> Result<Answer, String> {
        let frame = self.receiver.next().await.map_err(|error| error.to_string())?;
        let frame = frame.ok_or("the master closed the connection")?;
        codec::decode("an answer", frame.payload()).map_err(|error| error.to_string())
    }

    /// Waits until the master is gone: first it lets go of the connection, then its process ends.
    pub(crate) async fn until_gone(&mut self) {
        while let Ok(Some(_)) = self.receiver.next().await {}
        // Without a handle the end of the connection has to do.
        self.is_gone(None);
    }

    /// Whether the master's process ends within `patience`, or ever. Nothing else is left to do by then, so
    /// the wait may block.
    fn is_gone(&self, patience: Option<Timespec>) -> bool {
        let Some(process) = &self.master else {
            return self.run_dir.holder().is_none();
        };
        poll(&mut [PollFd::new(process, PollFlags::IN)], patience.as_ref()).is_ok_and(|ended| ended > 0)
    }
}

/// A master has its lock a moment before it has its socket, and a moment longer.
async fn open_in_time(run_dir: &RunDir) -> io::Result<OwnedFd> {
    let deadline = tokio::time::Instant::now() + START;
    loop {
        match open(run_dir).await {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && run_dir.holder().is_some()
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            other => return other,
        }
    }
}

async fn open(run_dir: &RunDir) -> io::Result<OwnedFd> {
    let stream = Stream::connect(run_dir.control_socket().to_fs_name::<GenericFilePath>()?).await?;
    let Stream::UdSocket(stream) = stream;
    OwnedFd::try_from(stream)
}

fn absent(run_dir: &RunDir, error: &io::Error) -> Outcome {
    match (error.kind(), run_dir.holder()) {
        (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, None) => not_running(),
        (_, Some(_)) => {
            failed(Ending::Failed, format!("{} cannot be reached: {error}", describe_holder(run_dir)))
        }
        (_, None) => failed(Ending::Failed, format!("the control socket cannot be used: {error}")),
    }
}

fn not_running() -> Outcome {
    failed(Ending::NotRunning, "not running")
}

fn describe_holder(run_dir: &RunDir) -> String {
    match run_dir.holder().map(|holder| holder.pid) {
        Some(pid) => format!("the master with pid {pid}"),
        None => "the master".to_owned(),
    }
}
