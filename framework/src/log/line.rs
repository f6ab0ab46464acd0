//! What a line looks like: time, level, writer, pid, target, spans, message and fields.
//!
//! One event is always one line: control characters are escaped, whoever put them into a value.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{Local, TimeZone as _};
use tracing::Level;
use tracing::field::{Field, Visit};

use crate::error::chain;

/// What the lines of this process have in common, composed once for each level.
#[derive(Debug)]
pub(super) struct Head {
    /// ` INFO web.0 4711 `
    file: [String; 5],
    /// `INFO web.0: `
    console: [String; 5],
}

impl Head {
    pub(super) fn new(label: &str) -> Self {
        let mut plain = String::new();
        escape(label, &mut plain);
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        Self {
            file: levels.map(|level| format!(" {level} {plain} {} ", process::id())),
            console: levels.map(|level| format!("{level} {plain}: ")),
        }
    }

    /// The part of a line between the time and the target.
    pub(super) fn file(&self, level: Level) -> &str {
        &self.file[index(level)]
    }

    /// The begin of a line on the console.
    pub(super) fn console(&self, level: Level) -> &str {
        &self.console[index(level)]
    }

    /// A whole line of our own, outside of any event.
    pub(super) fn line(&self, level: Level, target: &str, text: &str) -> String {
        let mut line = String::new();
        Clock::default().push(SystemTime::now(), &mut line);
        line.push_str(self.file(level));
        line.push_str(target);
        line.push_str(": ");
        escape(text, &mut line);
        line.push('\n');
        line
    }
}

fn index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

/// Writes the local time as `2026-11-20T18:42:10.123+01:00` and asks the calendar once a second only.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    text: String,
}

impl Clock {
    pub(super) fn push(&mut self, now: SystemTime, out: &mut String) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second || self.text.is_empty() {
            self.turn(since.as_secs());
        }
        let milli = since.subsec_millis();
        out.push_str(&self.text[..SECOND_END]);
        for digit in [milli / 100, milli / 10 % 10, milli % 10] {
            out.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
        out.push_str(&self.text[SECOND_END..]);
    }

    fn turn(&mut self, second: u64) {
        self.second = second;
        self.text = match Local.timestamp_opt(second.cast_signed(), 0).single() {
            Some(time) => time.format("%Y-%m-%dT%H:%M:%S.%:z").to_string(),
            None => "0000-00-00T00:00:00.+00:00".to_owned(),
        };
    }
}

/// The length of `2026-11-20T18:42:10.`, behind which the milliseconds stand.
const SECOND_END: usize = 20;

/// Writes fields as ` key=value`, and the message as it is.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    out: &'a mut String,
    separate: bool,
}

impl<'a> Fields<'a> {
    /// Fields behind what `out` holds; `separate` tells whether a space comes before the first of them.
    pub(super) fn new(out: &'a mut String, separate: bool) -> Self {
        Self { out, separate }
    }

    fn key(&mut self, field: &Field) {
        if self.separate {
            self.out.push(' ');
        }
        self.separate = true;
        let name = field.name();
        if name != "message" {
            self.out.push_str(name.strip_prefix("r#").unwrap_or(name));
            self.out.push('=');
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.key(field);
        // A `Debug` that fails has written what it could.
        let _ = write!(Escaped(self.out), "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        if field.name() != "message" && needs_quotes(value) {
            let _ = write!(Escaped(self.out), "{value:?}");
        } else {
            escape(value, self.out);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.key(field);
        escape(&chain(value), self.out);
    }
}

/// Whether a text could be taken for more than one value.
fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.bytes().any(|byte| matches!(byte, b' ' | b'"' | b'='))
}

/// Escapes all that is written through it.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, self.0);
        Ok(())
    }
}

fn escape(text: &str, out: &mut String) {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte);
    if text.bytes().all(plain) {
        out.push_str(text);
        return;
    }
    for letter in text.chars() {
        if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn control_characters_are_escaped_and_letters_kept() {
        let table = [
            ("plain", "plain"),
            ("größer 日本", "größer 日本"),
            ("a\nINFO b", r"a\nINFO b"),
            ("\r\t\0\x1b[31m", r"\r\t\u{0}\u{1b}[31m"),
            ("\u{85}\u{9b}\u{2028}\x7f", r"\u{85}\u{9b}\u{2028}\u{7f}"),
        ];
        for (text, expected) in table {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_text_with_more_than_one_word_is_quoted() {
        let table = [("", true), ("a b", true), ("a=b", true), ("\"", true), ("/path?x", false)];
        for (text, quoted) in table {
            assert_eq!(needs_quotes(text), quoted, "{text}");
        }
    }

    #[test]
    fn the_calendar_turns_with_the_second_in_both_directions() {
        let mut clock = Clock::default();
        for millis in [0, 1_999, 2_000, 1_770_000_000_007, 1_770_000_000_999, 5_040] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            let mut text = String::new();
            clock.push(time, &mut text);
            assert_eq!(text.len(), "2026-11-20T18:42:10.123+01:00".len());
            let read = DateTime::parse_from_rfc3339(&text).unwrap();
            assert_eq!(SystemTime::from(read), time);
        }
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_one_line(text in any::<String>()) {
            prop_assert!(!escaped(&text).contains(char::is_control));
        }
    }
}
