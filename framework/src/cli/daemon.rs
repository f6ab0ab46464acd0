//! `start --daemon`: the command starts itself again in the background and waits for its word, at the two
//! ends of a link. The word is said by the master; if the link ends before that, the start has failed.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use super::args::Start;
use super::places::Places;
use super::words::{failed, say};
use crate::bus::codec;
use crate::bus::control::Failure;
use crate::bus::frame::{Frame, Kind};
use crate::bus::link;
use crate::error::Ending;
use crate::log::LogFolder;
use crate::master::{Herald, Outcome};
use crate::role::DAEMON_VARIABLE;
use crate::systemd::WATCHDOG_PID;

/// Whether this process is the one in the background.
pub(crate) fn is_one() -> bool {
    env::var_os(DAEMON_VARIABLE).is_some()
}

/// Where news of the start goes; a process in the background also leaves its session.
pub(crate) fn herald() -> Result<Herald, Outcome> {
    if !is_one() {
        return Ok(Herald::Terminal);
    }
    let unusable = |error: io::Error| {
        failed(Ending::Usage, format!("{DAEMON_VARIABLE} is set, but nobody waits: {error}"))
    };
    let (_, sender) = link::inherit().and_then(link::open).map_err(unusable)?;
    // Fails only for the leader of a group, which a spawned process is not.
    let _ = rustix::process::setsid();
    Ok(Herald::Starter(sender))
}

/// Starts the process in the background, and waits until it is ready or has failed.
pub(crate) async fn launch(args: &Start) -> Result<(), Outcome> {
    let places = Places::of(&args.location)?;
    let impossible =
        |error: io::Error| failed(Ending::StartFailed, format!("cannot start in the background: {error}"));
    let (ours, theirs) = link::pair().map_err(impossible)?;
    let console = places.log_dir.join("console.log");
    let output = LogFolder::from(&*places.log_dir)
        .open("console.log")
        .map_err(|error| failed(Ending::StartFailed, error.to_string()))?;
    let mut command = Command::new(env::current_exe().map_err(impossible)?);
    // The watchdog that is meant for this process is the master's to feed.
    if env::var(WATCHDOG_PID).is_ok_and(|pid| pid == std::process::id().to_string()) {
        command.env_remove(WATCHDOG_PID);
    }
    let mut child = command
        .args(env::args_os().skip(1))
        .env(DAEMON_VARIABLE, "1")
        .stdin(Stdio::from(theirs))
        .stdout(output.try_clone().map_err(impossible)?)
        .stderr(output)
        .spawn()
        .map_err(impossible)?;
    let (mut receiver, _sender) = link::open(ours).map_err(impossible)?;
    match receiver.next().await {
        Ok(Some(frame)) => {
            let outcome = take(&frame);
            if outcome.is_err() {
                // It has said its last word; the next start must not meet it.
                child.wait().map_err(impossible)?;
            }
            outcome
        }
        _ => {
            let status = child.wait().map_err(impossible)?;
            let seen =
                format!("the process in the background ended with {status}; see {}", console.display());
            Err(failed(Ending::StartFailed, seen))
        }
    }
}

fn take(word: &Frame) -> Result<(), Outcome> {
    if word.kind() == Kind::Ready {
        return say(&String::from_utf8_lossy(word.payload()));
    }
    let failure: Failure = codec::decode("the reason", word.payload())
        .map_err(|error| failed(Ending::StartFailed, error.to_string()))?;
    let code = i32::try_from(word.number()).unwrap_or(1);
    let ending = Ending::from_code(code).unwrap_or(Ending::StartFailed);
    Err(Outcome { ending, reason: failure.reason, detail: failure.detail })
}
