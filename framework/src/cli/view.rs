//! The status as people read it. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};

use crate::status::{
    AgentStatus, CertificateStatus, GroupStatus, PeerTraffic, ProcessStatus, Status, TlsStatus, Usage,
};

/// How many characters of the last exit the table shows: it would be as wide as the longest of all.
const WIDEST: usize = 60;

/// The whole status as text.
pub(crate) fn render(status: &Status) -> String {
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
    text += &format!("\n{}\n\n", processes(status));
    text += &groups(&status.groups);
    text += &duties(&status.agent);
    text += &bus(status);
    for state in &status.states {
        let everywhere = if state.keys.is_some() { "every observer" } else { "every worker" };
        let spread = if state.converged { "in" } else { "not yet in" };
        let keys = state.keys.map(|keys| format!("{keys} keys, ")).unwrap_or_default();
        let (name, version, bytes) = (&state.name, state.version, state.bytes);
        text += &format!("state {name}: {keys}version {version}, {bytes} bytes, {spread} {everywhere}\n");
    }
    if let Some(problem) = &status.config.refused {
        text += &format!("config refused, version {} stays: {problem}\n", status.config.version);
    }
    text + &certificates(&status.tls)
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

fn processes(status: &Status) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header([
        "PROCESS",
        "PID",
        "STATE",
        "UP",
        "RESTARTS",
        "CONNECTIONS",
        "REQUESTS",
        "LAG",
        "MEMORY",
        "CPU",
        "LAST EXIT",
    ]);
    let none = || Cell::new("");
    let mut master = vec![Cell::new("master"), right(status.master.pid), Cell::new(word(&status.state))];
    master.extend([right(duration(status.uptime_ms)), none(), none(), none(), none()]);
    master.extend(usage(&status.master.usage));
    table.add_row(master);
    let lag = |lag_ms: u64| right(duration(lag_ms));
    let agent = [none(), none(), lag(status.agent.lag_ms)];
    table.add_row(row("├─ agent".to_owned(), &status.agent.process, agent));
    for (nth, worker) in status.workers.iter().enumerate() {
        let branch = if nth + 1 == status.workers.len() { '└' } else { '├' };
        let name = format!("{branch}─ {}.{}", worker.group, worker.index);
        table.add_row(row(
            name,
            &worker.process,
            [right(worker.connections), right(worker.requests), lag(worker.lag_ms)],
        ));
    }
    table
}

fn row(name: String, process: &ProcessStatus, traffic: [Cell; 3]) -> Vec<Cell> {
    let mut cells = vec![
        Cell::new(name),
        right(process.pid.map_or_else(String::new, |pid| pid.to_string())),
        Cell::new(word(&process.state)),
        right(duration(process.uptime_ms)),
        right(process.restarts),
    ];
    cells.extend(traffic);
    cells.extend(usage(&process.usage));
    cells
        .push(Cell::new(process.last_exit.as_ref().map(|exit| short(&exit.to_string())).unwrap_or_default()));
    cells
}

/// The beginning of a text of any length; the whole of it is in the JSON.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let kept: String = line.chars().take(WIDEST).collect();
    if kept.len() == text.len() { kept } else { format!("{}…", kept.trim_end()) }
}

fn usage(usage: &Usage) -> [Cell; 2] {
    // Whoever lives has some memory: without any, nothing is known.
    if usage.rss_bytes == 0 {
        return [right("-"), right("-")];
    }
    [right(ByteSize::b(usage.rss_bytes).display().iec()), right(duration(usage.cpu_ms))]
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

/// What was lost of the traffic and what waits; nothing when all is well.
fn bus(status: &Status) -> String {
    let topics = status.bus.topics.iter().filter(|topic| topic.dropped > 0);
    // A broadcast is sent once, and each receiver may miss its copy.
    let lost = topics.map(|topic| {
        let name = topic.name.escape_debug();
        let copies = if topic.dropped == 1 { "copy" } else { "copies" };
        format!("topic {name}: {} sent, {} {copies} not passed on\n", topic.sent, topic.dropped)
    });
    let workers = status.workers.iter().map(|worker| {
        let name = format!("{}.{}", worker.group, worker.index);
        losses(&name, &worker.process.bus)
    });
    let traced = match &status.bus.traced[..] {
        [] => String::new(),
        patterns => format!("traced: {}\n", patterns.join(", ").escape_debug()),
    };
    lost.chain([losses("agent", &status.agent.process.bus)]).chain(workers).chain([traced]).collect()
}

fn losses(name: &str, bus: &PeerTraffic) -> String {
    let counted = [
        (bus.dropped, "not passed on"),
        (bus.missed, "missed"),
        (bus.unheard, "unheard"),
        (bus.unreadable, "unreadable"),
    ];
    let waits =
        (bus.queued_bytes > 0).then(|| format!("{} waiting", ByteSize::b(bus.queued_bytes).display().iec()));
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> =
        waits.into_iter().chain(counted.map(|(count, what)| format!("{count} {what}"))).collect();
    if parts.is_empty() { String::new() } else { format!("mail to {name}: {}\n", parts.join(", ")) }
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

/// Two units at most: people compare, scripts have `--json`.
fn duration(milliseconds: u64) -> String {
    let shown = match milliseconds {
        0..1000 => Duration::from_millis(milliseconds),
        1000..3_600_000 => Duration::from_secs(milliseconds / 1000),
        _ => Duration::from_secs(milliseconds / 60_000 * 60),
    };
    humantime::format_duration(shown).to_string()
}

/// A state's name as it stands in the JSON.
fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn what_is_unknown_is_no_figure() {
        assert_eq!(super::usage(&super::Usage::default()).map(|cell| cell.content()), ["-", "-"]);
    }

    #[test]
    fn of_a_long_text_the_beginning_is_shown() {
        let long = "é".repeat(61);
        for (text, shown) in [
            ("", ""),
            ("exited with code 1", "exited with code 1"),
            (&long[..120], &long[..120]),
            (&*long, &*format!("{}…", &long[..120])),
            ("one \ntwo", "one…"),
        ] {
            assert_eq!(short(text), shown);
        }
    }
}
