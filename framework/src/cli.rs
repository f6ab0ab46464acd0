//! The command line of every app.

mod args;
mod client;
mod daemon;
mod places;
mod start;
mod view;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use self::args::{Args, Command, ConfigCommand, Location};
use self::client::Client;
use self::places::Places;
use crate::bus::control::{Answer, Request};
use crate::config::ConfigError;
use crate::error::{Ending, chain};
use crate::master::Outcome;
use crate::sections::Sections;
use crate::status::Status;

/// What the command line knows of the app.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) sections: Sections,
}

/// Runs the command that the arguments name.
pub(crate) fn run(about: &About) -> ExitCode {
    let command = Args::command().name(about.name).bin_name(about.name).version(about.version);
    let args = match command.try_get_matches().and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors; a reader that is gone does not matter.
            let _ = error.print();
            return if error.use_stderr() { Ending::Usage.into() } else { Ending::Done.into() };
        }
    };
    let outcome = match args.command {
        Command::Start(start) => start::run(about, &start),
        Command::Stop { location, timeout, fast } => {
            let timeout_ms = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            with_runtime(stop(about, &location, Request::Stop { fast, timeout_ms }))
        }
        Command::Status { location, json } => with_runtime(status(&location, json)),
        Command::Config { command: ConfigCommand::Check { location, set } } => check(about, &location, set),
    };
    conclude(&outcome)
}

/// Says on stderr what went wrong, if something did: one line, then the detail.
fn conclude(outcome: &Outcome) -> ExitCode {
    let mut stderr = std::io::stderr();
    if !outcome.reason.is_empty() {
        let _ = writeln!(stderr, "error: {}", outcome.reason);
    }
    if !outcome.detail.is_empty() {
        let _ = writeln!(stderr, "{}", outcome.detail);
    }
    outcome.ending.into()
}

/// Writes an answer to stdout; a reader that is gone does not matter.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn failed(ending: Ending, reason: impl Into<String>) -> Outcome {
    Outcome { ending, reason: reason.into(), detail: String::new() }
}

impl From<ConfigError> for Outcome {
    fn from(error: ConfigError) -> Self {
        Self { ending: Ending::Config, reason: error.to_string(), detail: error.detail() }
    }
}

fn with_runtime(work: impl Future<Output = Result<(), Outcome>>) -> Outcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(Ending::Failed, format!("no runtime: {error}")),
    };
    runtime.block_on(work).err().unwrap_or_else(Outcome::done)
}

async fn stop(about: &About, location: &Location, request: Request) -> Result<(), Outcome> {
    let mut client = Client::connect(&Places::of(location)?).await?;
    match client.ask(&request).await? {
        Answer::Stopping => {}
        other => return Err(unexpected(&other)),
    }
    client.until_gone().await;
    say(&format!("{} has stopped", about.name));
    Ok(())
}

async fn status(location: &Location, json: bool) -> Result<(), Outcome> {
    let mut client = Client::connect(&Places::of(location)?).await?;
    match client.ask(&Request::Status).await? {
        Answer::Status(status) if json => say(&to_json(&status)?),
        Answer::Status(status) => say(view::render(&status).trim_end()),
        other => return Err(unexpected(&other)),
    }
    Ok(())
}

fn to_json(status: &Status) -> Result<String, Outcome> {
    serde_json::to_string(status).map_err(|error| failed(Ending::Failed, chain(&error)))
}

fn unexpected(answer: &Answer) -> Outcome {
    match answer {
        Answer::Refused(reason) => failed(Ending::Failed, format!("the master refused: {reason}")),
        _ => failed(Ending::Failed, "the master answered something else than was asked"),
    }
}

fn check(about: &About, location: &Location, set: Vec<String>) -> Outcome {
    let checked = Places::of(location).and_then(|places| {
        let merged = places.layers(set)?.read()?.merge()?;
        about.sections.encode(&merged)?;
        Ok(places)
    });
    match checked {
        Ok(places) => {
            say(&format!("the configuration for `{}` in {} is good", places.env, places.app_dir.display()));
            Outcome::done()
        }
        Err(outcome) => outcome,
    }
}
