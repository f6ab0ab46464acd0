//! The status as people read it. Pure.

mod ends;
mod table;
mod traffic;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, Utc};

use self::table::{Column, draw};
use crate::status::{AgentStatus, CertificateStatus, GroupStatus, ProcessStatus, Status, TlsStatus, Usage};

/// The status as text: all of it, or as much as makes no row wider than `width`, in characters.
pub(crate) fn render(status: &Status, width: Option<u16>) -> String {
    let mut text = format!(
        "{} {} ({}): {}, generation {}, up {}\n",
        status.app,
        status.version,
        status.env,
        word(&status.state),
        status.generation,
        duration(status.uptime_ms),
    );
    for listener in &status.listeners {
        let tls = if listener.tls { ", TLS" } else { "" };
        let by_turns = match listener.by_turns {
            0 => String::new(),
            count => format!("; {count} by turns"),
        };
        text += &format!("{}: {} ({}{tls}{by_turns})\n", listener.name, listener.address, listener.policy);
    }
    text += &format!("\n{}\n\n", processes(status, width));
    text += &ends::last_exits(status, width);
    text += &groups(&status.groups);
    text += &duties(&status.agent);
    text += &traffic::mail(status);
    for state in &status.states {
        let everywhere = if state.keys.is_some() { "every observer" } else { "every worker" };
        let spread = if state.converged { "in" } else { "not yet in" };
        let keys = state.keys.map(|keys| format!("{}, ", plural(keys, "key"))).unwrap_or_default();
        let (name, version, bytes) = (&state.name, state.version, plural(state.bytes, "byte"));
        text += &format!("state {name}: {keys}version {version}, {bytes}, {spread} {everywhere}\n");
    }
    if let Some(problem) = &status.config.refused {
        text += &format!("config refused, version {} stays: {problem}\n", status.config.version);
    }
    text += &certificates(&status.tls);
    text + &traffic::topics(&status.bus.topics, width)
}

fn certificates(tls: &TlsStatus) -> String {
    let mut listeners: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for CertificateStatus { listener, file, expires } in &tls.certificates {
        listeners.entry((file, expires)).or_default().push(listener);
    }
    let certificate = |((file, expires), listeners): ((&PathBuf, &DateTime<Utc>), Vec<&str>)| {
        format!("certificate {} of {}: until {expires}\n", file.display(), listeners.join(", "))
    };
    let refused =
        tls.refused.iter().map(|problem| format!("certificates refused, the old ones stay: {problem}\n"));
    listeners.into_iter().map(certificate).chain(refused).collect()
}

const PROCESSES: [Column; 10] = [
    Column::words("PROCESS", 0),
    Column::figures("PID", 0),
    Column::words("STATE", 0),
    Column::figures("UP", 1),
    Column::figures("RESTARTS", 3),
    Column::figures("CONNS", 5),
    Column::figures("REQUESTS", 4),
    Column::figures("LAG", 7),
    Column::figures("MEMORY", 2),
    Column::figures("CPU", 6),
];

fn processes(status: &Status, width: Option<u16>) -> String {
    let none = String::new;
    let mut master = vec!["master".to_owned(), status.master.pid.to_string(), word(&status.state)];
    master.extend([duration(status.uptime_ms), none(), none(), none(), none()]);
    master.extend(usage(&status.master.usage));
    let agent = [none(), none(), duration(status.agent.lag_ms)];
    let agent = row("├─ agent".to_owned(), &status.agent.process, agent);
    let workers = status.workers.iter().enumerate().map(|(nth, worker)| {
        let branch = if nth + 1 == status.workers.len() { '└' } else { '├' };
        let name = format!("{branch}─ {}.{}", worker.group, worker.index);
        let traffic = [worker.connections.to_string(), worker.requests.to_string(), duration(worker.lag_ms)];
        row(name, &worker.process, traffic)
    });
    draw(&PROCESSES, [master, agent].into_iter().chain(workers).collect(), width)
}

fn row(name: String, process: &ProcessStatus, traffic: [String; 3]) -> Vec<String> {
    let pid = process.pid.map_or_else(String::new, |pid| pid.to_string());
    let beginning =
        [name, pid, word(&process.state), duration(process.uptime_ms), process.restarts.to_string()];
    beginning.into_iter().chain(traffic).chain(usage(&process.usage)).collect()
}

fn usage(usage: &Usage) -> [String; 2] {
    // Whoever lives has some memory: without any, nothing is known.
    if usage.rss_bytes == 0 {
        return ["-", "-"].map(str::to_owned);
    }
    [ByteSize::b(usage.rss_bytes).display().iec().to_string(), duration(usage.cpu_ms)]
}

/// What the table does not show: how many there should be, and who was given up.
fn groups(groups: &[GroupStatus]) -> String {
    let group = |group: &GroupStatus| {
        let given_up = if group.gave_up { "; gave up, and is tried again slowly" } else { "" };
        format!("group {}: {} of {} workers ready{given_up}\n", group.name, group.ready, group.wanted)
    };
    groups.iter().map(group).collect()
}

fn duties(agent: &AgentStatus) -> String {
    let duty = |duty: &crate::status::DutyStatus| {
        let error =
            duty.last_error.as_ref().map(|error| format!("; failed last: {error}")).unwrap_or_default();
        format!("duty {}: {}{error}\n", duty.name, word(&duty.state))
    };
    agent.duties.iter().map(duty).collect()
}

/// Two units at most: people compare, scripts have `--json`.
fn duration(milliseconds: u64) -> String {
    let shown = match milliseconds {
        0..1000 => Duration::from_millis(milliseconds),
        _ => Duration::from_secs(milliseconds / 1000),
    };
    humantime::format_duration(shown).to_string().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// So many of these.
fn plural(count: u64, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}

/// A state's name as it stands in the JSON.
fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Status, duration, plural, render};

    fn process(own: Value) -> Value {
        let exit = json!({ "code": 1, "signal": null, "reason": "failed", "at": "2026-01-01T00:00:00Z",
            "message": "Traceback (most recent call last): | File \"a/long/way/to/worker.py\", line 3 | KeyError: 'text'" });
        let mut all = json!({ "pid": 4_194_304, "state": "backing-off", "generation": 1, "restarts": 12,
            "uptime_ms": 93_784_000, "rss_bytes": 1_234_567_890, "cpu_ms": 7_384_000, "last_exit": exit, "duties": [],
            "connections": 12_345, "requests": 123_456_789, "accepted": 1, "refused": 0, "timed_out": 0, "panics": 0,
            "lost_log_lines": 0, "lag_ms": 250, "jobs": {}, "states": {}, "group": "thumbnails" });
        all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        all
    }

    fn busy() -> Status {
        let topics: Vec<Value> = (0..30)
            .map(|nth| {
                json!({ "name": format!("shop.orders.{}", "x".repeat(nth)), "sent": 123_456_789, "relayed": 987_654_321,
                    "dropped": nth, "bytes": 98_765_432_100_u64, "queued": 12_345, "missed": nth })
            })
            .collect();
        serde_json::from_value(json!({
            "app": "shop", "version": "0.1.0", "env": "prod", "state": "degraded", "generation": 3, "uptime_ms": 1,
            "master": { "pid": 4_194_303, "rss_bytes": 0, "cpu_ms": 0 }, "agent": process(json!({})), "groups": [],
            "workers": (0..20).map(|index| process(json!({ "index": index }))).collect::<Vec<_>>(),
            "listeners": [], "states": [], "config": { "version": 1, "refused": null },
            "bus": { "relayed": 0, "dropped": 0, "queued_bytes": 0, "topics": topics }
        }))
        .unwrap()
    }

    #[test]
    fn what_is_unknown_is_no_figure() {
        assert_eq!(super::usage(&super::Usage::default()), ["-", "-"]);
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        for width in [60, 80, 100, 120, 200] {
            let text = render(&busy(), Some(width));
            let wide = text.lines().find(|line| line.chars().count() > usize::from(width));
            assert_eq!(wide, None, "{width}:\n{text}");
            assert!(
                text.contains("thumbnails.19") && text.contains("DROPPED") && text.contains("\nand 20 more")
            );
            assert!(width == 60 || text.contains(" KeyError: 'text'\n"), "{text}");
        }
    }

    #[test]
    fn a_pipe_gets_all_of_it() {
        let text = render(&busy(), None);
        for words in ["LAG", "CPU", "BYTES", "MISSED", "worker.py", "thumbnails.18, thumbnails.19: "] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("shop.orders.")).count(), 30);
    }

    #[test]
    fn a_duration_has_two_units_at_most() {
        for (milliseconds, shown) in [
            (0, "0s"),
            (850, "850ms"),
            (61_999, "1m 1s"),
            (3_600_000, "1h"),
            (3_661_000, "1h 1m"),
            (93_784_000, "1day 2h"),
        ] {
            assert_eq!(duration(milliseconds), shown);
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([plural(0, "key"), plural(1, "key"), plural(2, "key")], ["0 keys", "1 key", "2 keys"]);
    }
}
