//! Questions and answers: one end asks, so many at a time, and the other gives back what it is asked.

use std::io::{self, Read, Write};

use hatchery_bench::bus::{Find, Inbox, Notes, Task, Wrap, sent_at, tell_sender};

/// Asks all questions, `at_once` of them at a time, and notes how long each answer took.
pub(crate) fn ask(
    mut link: impl Read + Write,
    at_once: u64,
    task: Task,
    wrap: Wrap,
    find: Find,
) -> io::Result<Notes> {
    let (mut notes, mut inbox, mut questions) = (Notes::new(task), Inbox::default(), Vec::new());
    let mut unasked = task.count.saturating_sub(at_once);
    for _ in unasked..task.count {
        wrap(&task.payload(), &mut questions);
    }
    tell_sender("begin")?;
    loop {
        link.write_all(&questions)?;
        questions.clear();
        inbox.fill(&mut link)?;
        while let Some(answer) = inbox.next(find) {
            if notes.take(sent_at(answer)) {
                tell_sender("end")?;
                return Ok(notes);
            }
            if unasked > 0 {
                unasked -= 1;
                wrap(&task.payload(), &mut questions);
            }
        }
    }
}

/// Answers until nobody asks any more.
pub(crate) fn answer(mut link: impl Read + Write, wrap: Wrap, find: Find) -> io::Result<()> {
    let (mut inbox, mut answers) = (Inbox::default(), Vec::new());
    loop {
        match inbox.fill(&mut link) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        while let Some(question) = inbox.next(find) {
            wrap(question, &mut answers);
        }
        link.write_all(&answers)?;
        answers.clear();
    }
}
