//! The traffic between the processes, as people read it. Pure.

use std::cmp::Reverse;

use bytesize::ByteSize;

use super::table::{Column, draw};
use crate::status::{PeerTraffic, Status, TopicTraffic};

/// How many topics a terminal shows.
const BUSIEST: usize = 10;

const TOPICS: [Column; 6] = [
    Column::words("TOPIC", 0),
    Column::figures("SENT", 2),
    Column::figures("RELAYED", 0),
    Column::figures("DROPPED", 0),
    Column::figures("QUEUED", 1),
    Column::figures("BYTES", 3),
];

/// A column, and what it shows of a topic.
type LostColumn = (&'static str, fn(&TopicTraffic) -> u64);

/// The columns that are there only if they say anything.
const LOST: [LostColumn; 3] = [
    ("UNHEARD", |topic| topic.unheard),
    ("MISSED", |topic| topic.missed),
    ("UNREADABLE", |topic| topic.unreadable),
];

/// What waits for each process and what was lost of its mail; nothing when all is well. And what is traced.
pub(super) fn mail(status: &Status) -> String {
    let workers = status.workers.iter().map(|worker| {
        let name = format!("{}.{}", worker.group, worker.index);
        mail_to(&name, &worker.process.bus)
    });
    let traced = match &status.bus.traced[..] {
        [] => String::new(),
        patterns => format!("traced: {}\n", patterns.join(", ").escape_debug()),
    };
    [mail_to("agent", &status.agent.process.bus)].into_iter().chain(workers).chain([traced]).collect()
}

fn mail_to(name: &str, bus: &PeerTraffic) -> String {
    let counted = [
        (bus.dropped, "dropped"),
        (bus.missed, "missed"),
        (bus.unheard, "unheard"),
        (bus.unreadable, "unreadable"),
    ];
    let waits = (bus.queued_bytes > 0).then(|| format!("{} queued", size(bus.queued_bytes)));
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> =
        waits.into_iter().chain(counted.map(|(count, what)| format!("{count} {what}"))).collect();
    if parts.is_empty() { String::new() } else { format!("mail to {name}: {}\n", parts.join(", ")) }
}

/// The topics, the busiest first; nothing before there is any. A terminal shows few of many.
pub(super) fn topics(topics: &[TopicTraffic], width: Option<u16>) -> String {
    if topics.is_empty() {
        return String::new();
    }
    let mut busiest: Vec<&TopicTraffic> = topics.iter().collect();
    busiest.sort_by_key(|topic| Reverse(topic.relayed + topic.dropped));
    let shown = if width.is_some() { BUSIEST } else { usize::MAX };
    let (busiest, rest) = busiest.split_at(shown.min(topics.len()));
    let lost =
        LOST.iter().filter(|(_, lost)| busiest.iter().any(|topic| lost(topic) > 0)).collect::<Vec<_>>();
    let columns: Vec<Column> =
        TOPICS.into_iter().chain(lost.iter().map(|(name, _)| Column::figures(name, 0))).collect();
    let rows = busiest.iter().map(|topic| {
        let counts = [topic.sent, topic.relayed, topic.dropped, topic.queued].map(|count| count.to_string());
        let name = topic.name.escape_debug().to_string();
        let lost = lost.iter().map(|(_, lost)| lost(topic).to_string());
        [name].into_iter().chain(counts).chain([size(topic.bytes)]).chain(lost).collect()
    });
    let table = draw(&columns, rows.collect(), width);
    let more = if rest.is_empty() { String::new() } else { format!("and {} more\n", rest.len()) };
    format!("\n{table}\n{more}")
}

fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_topics_come_first_and_a_terminal_shows_ten() {
        let topic =
            |nth: u64| TopicTraffic { name: format!("t{nth}"), relayed: nth, ..TopicTraffic::default() };
        let all: Vec<TopicTraffic> = (0..12).map(topic).collect();
        let names = |width| {
            let text = topics(&all, width);
            text.lines().skip(2).map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Some(80))[..2], ["t11", "t10"]);
        assert_eq!((names(Some(80)).len(), names(None).len()), (11, 12));
        assert!(topics(&all, Some(80)).ends_with("\nand 2 more\n"));
        assert_eq!(topics(&[], None), "");
    }
}
