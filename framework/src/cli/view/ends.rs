//! How the last processes of the slots ended, as people read it: one line for all that ended alike. Pure.

use super::table::cut;
use crate::exit::Exit;
use crate::status::Status;

/// A line for each way in which processes ended, cut to `width` if there is one.
pub(super) fn last_exits(status: &Status, width: Option<u16>) -> String {
    let agent = ("agent".to_owned(), &status.agent.process.last_exit);
    let workers = status.workers.iter().map(|worker| {
        let name = format!("{}.{}", worker.group, worker.index);
        (name, &worker.process.last_exit)
    });
    let mut ends: Vec<(Vec<String>, &Exit)> = Vec::new();
    for (name, exit) in [agent].into_iter().chain(workers) {
        let Some(exit) = exit else { continue };
        match ends.iter_mut().find(|(_, known)| known.to_string() == exit.to_string()) {
            // A slot is there twice while one process takes the other's place.
            Some((names, _)) if names.last() == Some(&name) => {}
            Some((names, _)) => names.push(name),
            None => ends.push((vec![name], exit)),
        }
    }
    ends.iter().map(|(names, exit)| line(names, exit, width)).collect()
}

fn line(names: &[String], exit: &Exit, width: Option<u16>) -> String {
    let shown = width.map_or(names.len(), |width| fitting(names, usize::from(width / 4)));
    let (shown, rest) = names.split_at(shown);
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    let named = format!("{}{more}", shown.join(", "));
    let beginning = format!("last exit of {named}: ");
    let room = width.map(|width| usize::from(width).saturating_sub(beginning.chars().count()));
    format!("{beginning}{}\n", words(exit, room))
}

/// How many of the names, one at least, have place in so many characters.
fn fitting(names: &[String], room: usize) -> usize {
    let mut taken = 0;
    let fits = |name: &&String| {
        taken += name.chars().count() + ", ".len();
        taken <= room
    };
    names.iter().take_while(fits).count().max(1)
}

/// The end in one line. Where the room is short, the last of several lines on stderr says the most.
fn words(exit: &Exit, room: Option<usize>) -> String {
    let whole = exit.to_string();
    let line = whole.lines().next().unwrap_or_default();
    let line = if line.len() < whole.len() { format!("{}…", line.trim_end()) } else { line.to_owned() };
    let Some(room) = room.filter(|room| line.chars().count() > *room) else { return line };
    let message = exit.message.as_deref().unwrap_or_default();
    let mut last = message.rsplit(" | ").filter(|line| !line.starts_with("note: "));
    match (message.contains(" | "), last.next()) {
        (true, Some(last)) => {
            let how = whole.strip_suffix(message).unwrap_or_default();
            cut(&format!("{how}… {last}"), room)
        }
        _ => cut(&line, room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Reason, Status as End};

    fn exit(message: &str) -> Exit {
        let at = chrono::DateTime::UNIX_EPOCH;
        Exit::new(Some(End::Code(1)), Reason::Failed, Some(message.to_owned()), at)
    }

    #[test]
    fn where_the_room_is_short_the_last_line_is_shown() {
        let trace = "Traceback (most recent call last): | File \"worker.py\", line 3 | KeyError: 'text'";
        for (message, room, shown) in [
            ("no such host", None, "failed with code 1: no such host"),
            ("no such host", Some(24), "failed with code 1: no…"),
            (trace, None, &*format!("failed with code 1: {trace}")),
            (trace, Some(60), "failed with code 1: … KeyError: 'text'"),
            (trace, Some(30), "failed with code 1: … KeyErro…"),
            ("overflow | note: more", Some(40), "failed with code 1: … overflow"),
            ("one \ntwo", Some(60), "failed with code 1: one…"),
        ] {
            assert_eq!(words(&exit(message), room), shown);
        }
    }

    #[test]
    fn where_the_room_is_short_few_of_many_are_named() {
        let names: Vec<String> = (0..5).map(|index| format!("web.{index}")).collect();
        for (width, named) in [
            (Some(80), "web.0, web.1 and 3 more: "),
            (Some(12), "web.0 and 4 more: "),
            (None, "web.0, web.1, web.2, web.3, web.4: "),
        ] {
            let line = line(&names, &exit("x"), width);
            assert!(line.starts_with(&format!("last exit of {named}")), "{line}");
        }
    }
}
