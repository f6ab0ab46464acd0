//! The life of a child from its first line to its last: find the link, say hello, be welcomed, do the
//! author's work, and say what went wrong if something did.

mod command;
mod outset;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::codec;
use crate::bus::control::{Failure, Hello};
use crate::bus::frame::{Frame, Kind, PROTOCOL};
use crate::bus::link::{self, Receiver, Sender};
use crate::config::ConfigError;
use crate::error::{BoxError, Ending, Result, chain};
use crate::exit::PANICKED;
use crate::http::Occasion;
use crate::launch::Launch;
use crate::log::{self, Log};
use crate::process::Process;
use crate::role::{ROLE_VARIABLE, Role};
use crate::signals::{Signals, Wish};
use crate::tls::CertificateError;

pub(crate) use self::command::run as become_command;

/// How long the master may take to welcome us.
const WELCOME: Duration = Duration::from_secs(10);

/// How long tasks that do not listen may hold up the end.
const RUNTIME_END: Duration = Duration::from_millis(100);

/// Lives as `role`: calls `work` with the connection to the master and the inherited sockets.
pub(crate) fn live<W, F>(role: Role, work: W) -> ExitCode
where
    W: FnOnce(Process, Vec<Arc<OwnedFd>>) -> F,
    F: Future<Output = Result> + Send + 'static,
{
    let socket = match inherit() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let build = outset::prepare(&role);
    if outset::is_orphan(&socket) {
        return Ending::Failed.into();
    }
    with_runtime(&role.clone(), connect_and_work(role, build, socket, work))
}

/// Takes the link from standard input.
fn inherit() -> Result<OwnedFd, ExitCode> {
    link::inherit().map_err(|error| {
        eprintln!("error: {ROLE_VARIABLE} is set, but {error}: only a master starts such processes");
        eprintln!("unset {ROLE_VARIABLE} and run `start`");
        Ending::Usage.into()
    })
}

fn with_runtime(role: &Role, life: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime for {role}: {error}");
            return Ending::Failed.into();
        }
    };
    let code = runtime.block_on(life);
    runtime.shutdown_timeout(RUNTIME_END);
    code
}

/// What came with the welcome.
struct Welcomed {
    process: Process,
    sockets: Vec<Arc<OwnedFd>>,
    receiver: Receiver,
    log: Log,
}

async fn connect_and_work<W, F>(role: Role, build: Result<String>, socket: OwnedFd, work: W) -> ExitCode
where
    W: FnOnce(Process, Vec<Arc<OwnedFd>>) -> F,
    F: Future<Output = Result> + Send + 'static,
{
    let (receiver, sender) = match link::open(socket) {
        Ok(halves) => halves,
        Err(error) => {
            eprintln!("error: the link of {role} cannot be used: {error}");
            return Ending::Failed.into();
        }
    };
    let welcomed =
        match tokio::time::timeout(WELCOME, be_welcomed(role, build, receiver, sender.clone())).await {
            Ok(Ok(Some(welcomed))) => welcomed,
            Ok(Ok(None)) => return Ending::Done.into(),
            Ok(Err(error)) => return confess(&sender, &*error).await,
            Err(_) => return confess(&sender, &*BoxError::from("the master sent no welcome")).await,
        };
    let Welcomed { process, sockets, receiver, log } = welcomed;
    let code = work_until_the_end(&process, &sender, receiver, work(process.clone(), sockets)).await;
    drop(log);
    code
}

/// Says hello, takes the retained states, and starts logging. `None` if the master does not want us any more.
async fn be_welcomed(
    role: Role,
    build: Result<String>,
    mut receiver: Receiver,
    sender: Sender,
) -> Result<Option<Welcomed>> {
    let hello = Hello {
        protocol: PROTOCOL,
        build: build?,
        slot: role.slot.clone(),
        generation: role.generation,
        packed: true,
    };
    sender.send(Frame::new(Kind::Hello, 0, codec::encode("the hello", &hello)?)).await?;
    let mut states = Vec::new();
    let welcome = loop {
        match receiver.next().await? {
            Some(frame) if frame.kind() == Kind::Welcome => break frame,
            Some(frame) if frame.kind() == Kind::Shutdown => return Ok(None),
            Some(frame) => states.push(frame),
            None => return Ok(None),
        }
    };
    let launch: Launch = codec::decode("the welcome", welcome.payload())?;
    let label = role.slot.to_string();
    let log = log::start(&*launch.log_dir, role.slot.group(), &label, &launch.log)
        .map_err(|error| format!("cannot write logs to {}: {error}", launch.log_dir.display()))?;
    let process = Process::new(role, launch, sender, log.reopener());
    if welcome.number() == 1 {
        process.note_replacement();
    }
    for frame in &states {
        process.heed(frame).await;
    }
    Ok(Some(Welcomed { process, sockets: welcome.descriptors().to_vec(), receiver, log }))
}

/// Does the work while serving the link and the signals. The master's death ends everything at once.
async fn work_until_the_end<F>(process: &Process, sender: &Sender, receiver: Receiver, work: F) -> ExitCode
where
    F: Future<Output = Result> + Send + 'static,
{
    // A task of its own: what arrives wakes nothing else.
    let attending = tokio::spawn(attend(process.clone(), receiver));
    let work = async {
        let done = tokio::spawn(work).await;
        if matches!(done, Ok(Ok(()))) {
            process.take_leave().await;
        }
        done
    };
    tokio::select! {
        biased;
        () = process.abort().cancelled() => Ending::Done.into(),
        () = process.collapse().cancelled() => confess_panic(sender, "it panicked").await,
        done = work => match done {
            Ok(Ok(())) => Ending::Done.into(),
            Ok(Err(error)) => confess(sender, &*error).await,
            Err(panic) => confess_panic(sender, &panic.to_string()).await,
        },
        ended = attending => match ended {
            Ok(()) => {
                tracing::warn!("the master is gone: leaving");
                Ending::Failed.into()
            }
            Err(panic) => confess_panic(sender, &panic.to_string()).await,
        },
        () = obey_signals(process) => Ending::Done.into(),
    }
}

/// Serves the link until the master is gone.
async fn attend(process: Process, receiver: Receiver) {
    if let Err(error) = process.attend(receiver).await {
        tracing::error!("{error}");
    }
}

/// TERM asks this one process to finish and leave. A worker that works asks for a successor, and leaves when that
/// is ready; the agent leaves. A second one, and QUIT, leave no time.
async fn obey_signals(process: &Process) {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("cannot listen for signals: {error}");
            return std::future::pending().await;
        }
    };
    if next_stop(&mut signals).await == Wish::StopFast || !process.said_ready() {
        return;
    }
    if process.role().slot.is_agent() {
        let patience = process.launch().http.drain_timeout;
        process.leave(Occasion::Stop, Some(patience));
        // A little longer, so that what is cut at the deadline is told.
        let _ = tokio::time::timeout(patience + RUNTIME_END, next_stop(&mut signals)).await;
        return;
    }
    // If the master is gone, so are we.
    let _ = process.retire("a signal asked it to leave").await;
    next_stop(&mut signals).await;
}

async fn next_stop(signals: &mut Signals) -> Wish {
    loop {
        let wish = signals.next().await;
        if matches!(wish, Wish::Stop | Wish::StopFast) {
            return wish;
        }
    }
}

/// Says why this process ends, if the master still listens.
async fn confess(sender: &Sender, error: &(dyn std::error::Error + Send + Sync + 'static)) -> ExitCode {
    let (ending, failure) = describe(error);
    last_words(sender, &failure).await;
    ending.into()
}

async fn confess_panic(sender: &Sender, otherwise: &str) -> ExitCode {
    let reason = log::last_panic().unwrap_or_else(|| otherwise.to_owned());
    last_words(sender, &Failure { reason, detail: String::new() }).await;
    ExitCode::from(u8::try_from(PANICKED).unwrap_or(1))
}

async fn last_words(sender: &Sender, failure: &Failure) {
    let body = codec::encode("the last words", failure).unwrap_or_default();
    let _ = sender.send(Frame::new(Kind::Failed, 0, body)).await;
    sender.flush().await;
}

fn describe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> (Ending, Failure) {
    let failure = |reason| Failure { reason, detail: String::new() };
    if let Some(wrong) = error.downcast_ref::<ConfigError>() {
        return (Ending::Config, Failure { detail: wrong.detail(), ..failure(wrong.to_string()) });
    }
    match error.downcast_ref::<CertificateError>() {
        Some(wrong) => (Ending::Config, failure(wrong.to_string())),
        None => (Ending::Failed, failure(chain(error))),
    }
}
