//! The commands that have to do with messages: sending one, and tracing.

use super::args::{About, Location};
use super::client::Client;
use super::places::Places;
use super::unexpected;
use super::words::{failed, say, with_runtime};
use crate::bus::control::{Answer, Posting, Receipt, Request};
use crate::bus::pattern::Patterns;
use crate::bus::wording::Named;
use crate::bus::{codec, topic};
use crate::error::Ending;
use crate::mail;
use crate::master::Outcome;
use crate::status::Status;

/// The most bytes of a message from here: the master reads no longer requests.
const MOST: usize = 60 << 10;

/// Puts a message on the bus.
pub(super) fn send(about: &About, location: &Location, topic: String, json: &str, to: String) -> Outcome {
    let payload = Named::read(&to, |name| about.groups.contains(&name)).and_then(|_| encode(&topic, json));
    let posting = match payload {
        Ok(payload) => Posting { topic, to: to.clone(), payload: payload.into(), time: mail::now() },
        Err(problem) => return failed(Ending::Usage, problem),
    };
    with_runtime(async {
        let mut client = Client::connect(&Places::of(location)?).await?;
        match client.ask(&Request::Post(posting)).await? {
            Answer::Posted(receipt) => tell(about, &receipt, &to),
            other => Err(unexpected(&other)),
        }
    })
}

/// What the message is on the bus.
fn encode(topic: &str, json: &str) -> Result<Vec<u8>, String> {
    topic::check(topic).map_err(|error| error.to_string())?;
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("the message is no JSON: {error}"))?;
    let payload = codec::encode(topic, &value).map_err(|error| error.to_string())?;
    if payload.len() > MOST {
        return Err(format!("the message has {} bytes: at most {MOST} can be sent from here", payload.len()));
    }
    Ok(payload)
}

fn tell(about: &About, receipt: &Receipt, to: &str) -> Result<(), Outcome> {
    let pids: Vec<String> =
        receipt.full.iter().filter(|pid| **pid > 0).map(|pid| format!("pid:{pid}")).collect();
    let missed = if pids.is_empty() { to.to_owned() } else { pids.join(", ") };
    match receipt {
        Receipt { queued: 0, full, nobody, .. } if full.is_empty() || nobody.is_some() => Err(failed(
            Ending::Failed,
            format!("nobody can get the message for {to}: {}", absence(&about.groups, to)),
        )),
        Receipt { queued: 0, .. } => {
            Err(failed(Ending::Failed, format!("too much waits for {missed} already")))
        }
        Receipt { queued, full, .. } => {
            let processes = if *queued == 1 { "process" } else { "processes" };
            let rest = if full.is_empty() { String::new() } else { format!("; too much waits for {missed}") };
            say(&format!("queued for {queued} {processes}{rest}"))
        }
    }
}

/// Why nobody is there, and what can be done.
fn absence(groups: &[&str], to: &str) -> String {
    match Named::read(to, |name| groups.contains(&name)) {
        Ok(Named::Group(group) | Named::OneOf(_, group)) => {
            format!(
                "nobody of {group} is there; `status` shows who is, and `scale {group}=+1` starts one more"
            )
        }
        _ => "there is no such process; `status` shows who there is".to_owned(),
    }
}

/// Chooses the topics that every process tells of in its log; none, to end that.
pub(super) fn trace(location: &Location, words: Vec<String>) -> Outcome {
    let checked = Patterns::try_from(words)
        .and_then(|patterns| patterns.check().map(|()| patterns).map_err(|error| error.to_string()));
    let patterns = match checked {
        Ok(patterns) => patterns,
        Err(problem) => return failed(Ending::Usage, problem),
    };
    with_runtime(async {
        let places = Places::of(location)?;
        match Client::connect(&places).await?.ask(&Request::Trace { patterns }).await? {
            Answer::Traced => tell_of_trace(&places).await,
            other => Err(unexpected(&other)),
        }
    })
}

/// Tells which topics are chosen.
pub(super) fn traced(location: &Location) -> Outcome {
    with_runtime(async { tell_of_trace(&Places::of(location)?).await })
}

async fn tell_of_trace(places: &Places) -> Result<(), Outcome> {
    match Client::connect(places).await?.ask(&Request::Status).await? {
        Answer::Status(status) => say(&describe(&status)),
        other => Err(unexpected(&other)),
    }
}

/// What is traced, and where that is read.
fn describe(status: &Status) -> String {
    let topics = status.bus.traced.join(", ");
    if topics.is_empty() {
        return "nothing is traced".to_owned();
    }
    let groups = status.groups.iter().map(|group| format!(", {}.log", group.name)).collect::<String>();
    let folder = status.log_dir.display();
    format!("every process logs what goes by on {}: agent.log{groups} in {folder}", topics.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_what_the_authors_type_reads() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Order {
            article: String,
            count: u8,
            note: Option<String>,
        }
        let payload = encode("orders", r#"{"article": "tea", "count": 3, "note": null}"#).unwrap();
        let order: Order = codec::decode("orders", &payload).unwrap();
        assert_eq!(order, Order { article: "tea".to_owned(), count: 3, note: None });
    }

    #[test]
    fn a_message_for_nobody_says_what_to_do() {
        for to in ["jobs", "any:jobs", "next:jobs"] {
            assert!(absence(&["jobs"], to).contains("`scale jobs=+1` starts one"), "{to}");
        }
        for to in ["99", "jobs.7"] {
            assert!(absence(&["jobs"], to).contains("no such process; `status` shows"), "{to}");
        }
    }

    #[test]
    fn what_is_no_message_says_why() {
        let long = format!("\"{}\"", "x".repeat(MOST));
        for (topic, json, problem) in [
            ("orders", "{\"a\": \n tea}", "the message is no JSON: expected ident at line 2 column 3"),
            ("orders", "", "the message is no JSON: EOF while parsing a value at line 1 column 0"),
            ("hatchery.exited", "1", "the topic name `hatchery.exited` belongs to the framework"),
            ("orders", &long, "at most 61440 can be sent from here"),
        ] {
            let error = encode(topic, json).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
