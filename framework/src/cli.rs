//! The command line of every app.

mod args;
mod client;
mod daemon;
mod listing;
mod mail;
mod mask;
mod options;
mod places;
mod show;
mod start;
mod view;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub(crate) use self::args::About;
use self::args::{Args, Command, ConfigCommand, Location, Options};
use self::client::Client;
use self::places::Places;
use self::words::{failed, say, with_runtime};
use crate::bus::control::{Answer, Request};
use crate::error::{Ending, chain};
use crate::http::HttpSettings;
use crate::master::{self, Outcome};
use crate::role::WEB;
use crate::status::Status;

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
        Command::Reload { location, agent } => with_runtime(reload(&location, agent)),
        Command::Scale { location, wish } => scale(&location, &wish),
        Command::Send { location, topic, message, to } => mail::send(about, &location, topic, &message, to),
        Command::Trace { location, patterns, off: false } if patterns.is_empty() => mail::traced(&location),
        Command::Trace { location, patterns, .. } => mail::trace(&location, patterns),
        Command::Config { command: ConfigCommand::Show(args) } => show::run(about, &args),
        Command::Config { command: ConfigCommand::Check { location, options } } => {
            check(about, &location, &options)
        }
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

async fn stop(about: &About, location: &Location, request: Request) -> Result<(), Outcome> {
    let mut client = Client::connect(&Places::of(location)?).await?;
    match client.ask(&request).await {
        Ok(Answer::Stopping) => client.until_gone().await,
        // It was there a moment ago: what had nothing to finish is gone before it can answer.
        Err(outcome) if outcome.ending == Ending::NotRunning => {}
        Ok(other) => return Err(unexpected(&other)),
        Err(outcome) => return Err(outcome),
    }
    say(&format!("{} has stopped", about.name))
}

async fn reload(location: &Location, agent: bool) -> Result<(), Outcome> {
    let mut client = Client::connect(&Places::of(location)?).await?;
    let mut answer = client.ask_patiently(&Request::Reload { agent }).await?;
    while let Answer::Progress(news) = answer {
        say(&news)?;
        answer = client.next_answer().await?;
    }
    match answer {
        Answer::Reloaded { generation, took_ms } => {
            say(&format!("reloaded: generation {generation} serves ({took_ms} ms)"))
        }
        other => Err(unexpected(&other)),
    }
}

fn scale(location: &Location, wish: &str) -> Outcome {
    let (group, count) = wish.split_once('=').unwrap_or((WEB, wish));
    if group.is_empty() {
        return failed(
            Ending::Usage,
            format!("`{wish}` names no group: write `{count}` for {WEB}, or GROUP={count}"),
        );
    }
    let change = match count.parse() {
        Ok(change) => change,
        Err(problem) => return failed(Ending::Usage, problem),
    };
    let request = Request::Scale { group: group.to_owned(), change };
    with_runtime(async {
        let mut client = Client::connect(&Places::of(location)?).await?;
        match client.ask_patiently(&request).await? {
            Answer::Scaled { from, to } if from == to => {
                say(&format!("{group} has {}, as before", workers(to)))
            }
            Answer::Scaled { from, to } => say(&format!("{group} has {} now; it had {from}", workers(to))),
            other => Err(unexpected(&other)),
        }
    })
}

fn workers(count: u32) -> String {
    format!("{count} {}", if count == 1 { "worker" } else { "workers" })
}

async fn status(location: &Location, json: bool) -> Result<(), Outcome> {
    let mut client = Client::connect(&Places::of(location)?).await?;
    match client.ask(&Request::Status).await? {
        Answer::Status(status) if json => say(&to_json(&status)?),
        Answer::Status(status) => {
            let text = view::render(&status, words::width());
            say(&format!("{}{}", text.trim_end(), stranded(&status)))
        }
        other => Err(unexpected(&other)),
    }
}

/// What a reload that failed has left, below the rest.
fn stranded(status: &Status) -> String {
    if status.stranded.is_empty() {
        return String::new();
    }
    let (slots, generation) = (status.stranded.join(", "), status.generation);
    format!(
        "\nnot of generation {generation}, because the way back from a failed reload is not done: {slots}"
    )
}

fn to_json(status: &Status) -> Result<String, Outcome> {
    serde_json::to_string(status).map_err(|error| failed(Ending::Failed, chain(&error)))
}

fn unexpected(answer: &Answer) -> Outcome {
    match answer {
        Answer::Failed(reason) => {
            let (reason, detail) = reason.split_once('\n').unwrap_or((reason, ""));
            Outcome { detail: detail.to_owned(), ..failed(Ending::Failed, reason) }
        }
        Answer::Refused(reason) => failed(Ending::Failed, format!("the master refused: {reason}")),
        _ => failed(Ending::Failed, "the master answered something else than was asked"),
    }
}

fn check(about: &About, location: &Location, options: &Options) -> Outcome {
    let checked = Places::of(location).and_then(|places| {
        let (_, merged) = options::layers(&places, options)?;
        about.sections.encode(&merged)?;
        let groups = start::groups(about, &merged, options)?;
        let http: HttpSettings = merged.section("http")?;
        let doors = || master::doors(&groups, &http, &places.app_dir);
        start::check_certificates(&merged, doors())?;
        start::check_accounts(&merged)?;
        start::check_listeners(&merged, doors(), &[places.run_dir.path(), &places.log_dir])?;
        Ok(places)
    });
    let answer = checked.and_then(|places| {
        say(&format!("the configuration for `{}` in {} is good", places.env, places.app_dir.display()))
    });
    answer.err().unwrap_or_else(Outcome::done)
}
