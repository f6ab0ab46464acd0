//! What errors do not quote of a configuration, because a secret may stand there. Works on the text, which may be no TOML
//! at all. Pure.

use crate::secret::{is_secret, unquoted};

/// How much of what stands before a `=` is looked at, in bytes: names are short, and lines may not be.
const LOOK_BACK: usize = 64;

/// What begins and ends texts of several lines.
const FENCES: [&str; 2] = ["\"\"\"", "'''"];

/// From which byte of `line` on nothing is shown; `before` is what stands above it in the file.
pub(super) fn hidden_from(before: &str, line: &str) -> Option<usize> {
    match Reach::of(before) {
        Reach { is_inside: true, .. } => Some(0),
        // Below the header of a secret table, and not the next header.
        Reach { table: true, .. } if !is_header(line) => Some(value_of(line).unwrap_or_default()),
        _ => [secret_value(line), user_of_a_url(line)].into_iter().flatten().min(),
    }
}

/// Words about a secret value without the value. What the author's type says of it may quote it in any way.
pub(super) fn without_value(message: &str) -> String {
    let refused = || "the value is refused, in words that may quote the secret: correct it".to_owned();
    unquoted(message).unwrap_or_else(refused)
}

/// How far the secrets above a line reach.
#[derive(Debug, Default)]
struct Reach {
    /// The table has the name of a secret.
    table: bool,
    /// The value of a secret has begun, and may not have ended.
    is_inside: bool,
}

impl Reach {
    fn of(text: &str) -> Self {
        let mut reach = Self::default();
        let (mut fence, mut depth) = (None::<&str>, 0_usize);
        // The last piece is the beginning of the line itself.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let mut rest = line;
            let starts = fence.is_none() && depth == 0;
            if starts && line.trim_start().starts_with('#') {
                continue;
            }
            if starts && is_header(line) {
                reach = Self { table: is_secret_path(header_path(line)), is_inside: false };
                continue;
            }
            if starts {
                let Some(value) = value_of(line) else { continue };
                reach.is_inside = secret_value(line).is_some();
                rest = &line[value..];
            } else if fence.is_none() && is_secret_within(line) {
                // A table inside of a value that goes on, or below one that was never closed.
                reach.is_inside = true;
            }
            (fence, depth) = after(rest, fence, depth);
            reach.is_inside &= fence.is_some() || depth > 0;
        }
        // A text that was never closed may have taken up secrets.
        reach.is_inside |= fence.is_some();
        reach
    }
}

/// What is open at the end of a piece of a value: a text of several lines, or so many lists and tables.
fn after<'a>(piece: &'a str, fence: Option<&'a str>, depth: usize) -> (Option<&'a str>, usize) {
    let (mut fence, mut depth, mut rest) = (fence, depth, piece);
    while let Some(first) = rest.chars().next() {
        let mut step = first.len_utf8();
        let met = FENCES.into_iter().find(|known| rest.starts_with(known));
        match (fence, met) {
            (Some(open), Some(met)) if open == met => (fence, step) = (None, met.len()),
            (Some("\"\"\""), _) if first == '\\' => {
                step += rest[1..].chars().next().map_or(0, char::len_utf8)
            }
            (Some(_), _) => {}
            (None, Some(met)) => (fence, step) = (Some(met), met.len()),
            (None, None) => match first {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                '#' => break,
                // A text on this line, whatever stands in it.
                '"' | '\'' => step = text_length(rest, first),
                _ => {}
            },
        }
        rest = &rest[step..];
    }
    (fence, depth)
}

/// How long the text is that `rest` begins with.
fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let ends = |(_, letter): &(usize, char)| {
        let is_end = *letter == quote && !escaped;
        escaped = quote == '"' && *letter == '\\' && !escaped;
        is_end
    };
    rest[1..].char_indices().find(ends).map_or(rest.len(), |(at, _)| at + 2)
}

fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The path in a header, without what stands behind it.
fn header_path(line: &str) -> &str {
    let inside = line.trim_start().trim_start_matches('[');
    let mut rest = inside;
    while let Some(first) = rest.chars().next().filter(|first| *first != ']') {
        let step = if ['"', '\''].contains(&first) { text_length(rest, first) } else { first.len_utf8() };
        rest = &rest[step..];
    }
    &inside[..inside.len() - rest.len()]
}

/// Whether a line inside of a value has a secret's name in it.
fn is_secret_within(line: &str) -> bool {
    secret_value(line).is_some() || (is_header(line) && is_secret_path(header_path(line)))
}

/// Whether one of the keys of a path is a secret's.
fn is_secret_path(path: &str) -> bool {
    path.split('.').any(is_secret)
}

/// Where the value of a line begins, if it has one.
fn value_of(line: &str) -> Option<usize> {
    line.find('=').map(|at| at + 1)
}

/// Where the first value begins that has a secret's name, also inside of a table or a text, and also where somebody has
/// written it like another language.
fn secret_value(line: &str) -> Option<usize> {
    let names_secret = |at: &usize| {
        let from = at.saturating_sub(LOOK_BACK)..*at;
        let from = from.into_iter().find(|from| line.is_char_boundary(*from)).unwrap_or(*at);
        is_secret_path(&line[from..*at])
    };
    let named = line.match_indices(['=', ':']).map(|(at, _)| at).find(names_secret).map(|at| at + 1);
    let ended = first_word_end(line).filter(|end| is_secret_path(&line[..*end]));
    [named, ended].into_iter().flatten().min()
}

/// Where the first word of a line ends, if a blank ends it and a value may follow without any sign.
fn first_word_end(line: &str) -> Option<usize> {
    let start = line.find(|letter: char| !letter.is_whitespace() && letter != '#')?;
    let end = start + line[start..].find(char::is_whitespace)?;
    let follows = line[end..].trim_start();
    (!follows.is_empty() && !follows.starts_with(['=', ':'])).then_some(end)
}

/// Where a URL names a user, perhaps with a password.
fn user_of_a_url(line: &str) -> Option<usize> {
    let scheme = line.find("://")? + "://".len();
    line[scheme..].contains('@').then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::MASK;

    fn shown(text: &str) -> String {
        let (before, line) = text.rsplit_once('\n').map_or(("", text), |(before, line)| (before, line));
        let before = if before.is_empty() { String::new() } else { format!("{before}\n") };
        match hidden_from(&before, line) {
            Some(from) => format!("{}{MASK}", &line[..from]),
            None => line.to_owned(),
        }
    }

    #[test]
    fn nothing_of_a_secret_is_shown_whatever_it_is_written_like() {
        for (text, expected) in [
            ("port = 3", "port = 3"),
            ("password = 3", "password =***"),
            ("db.password = 3", "db.password =***"),
            ("token.value = 3", "token.value =***"),
            ("\"api-key\" = 3", "\"api-key\" =***"),
            ("password = \"x", "password =***"),
            ("db = { host = 'a', password = 'x' }", "db = { host = 'a', password =***"),
            ("url = 'redis://u:p@host'", "url = 'redis://***"),
            ("url = 'redis://host'", "url = 'redis://host'"),
            ("dsn = 'host=a password=x'", "dsn = 'host=a password=***"),
            ("[tokens]\nalice = 'x'", "alice =***"),
            ("[a.tokens.b]\nalice", "***"),
            ("[tokens]\n[tokens]", "[tokens]"),
            ("[tokens]\nalice = 'x'\n[open]\nport = 3", "port = 3"),
            ("tokens = [\n  'a',\n  3", "***"),
            ("tokens = [\n  'a',\n]\nport = 3", "port = 3"),
            ("tokens = [\n  ']',\n  3", "***"),
            ("token = \"\"\"\na = 1\nb", "***"),
            ("token = '''\na = 1'''\nport = 3", "port = 3"),
            ("list = [\n  3,\n  4", "  4"),
            ("list = [\n  { password = [1,\n  4", "***"),
            ("password: 'x'", "password:***"),
            ("\"password\" : 'x'", "\"password\" :***"),
            ("  db.password 'x'", "  db.password***"),
            ("# password 'x'", "# password***"),
            ("password", "password"),
            ("greeting 'x'", "greeting 'x'"),
            ("db = { host = 'a', password: 'x' }", "db = { host = 'a', password:***"),
            ("db = { host = 'a', token.value = 'x' }", "db = { host = 'a', token.value =***"),
            ("[tokens] # of the shop\nalice = 'x'", "alice =***"),
            ("[[\"a]b\".tokens]] # of it\nalice = 'x'", "alice =***"),
            ("[open] # has no token\nalice = 'x'", "alice = 'x'"),
            ("text = \"\"\"\n[tokens]\nalice = 'x'", "***"),
            ("list = [\n[tokens]\nalice = 'x'", "***"),
            ("# password = 'x'", "# password =***"),
            ("# tokens = [\nport = 3", "port = 3"),
            ("a = \"\\\"[\"\n[tokens]\nalice = 3", "alice =***"),
            ("a = \"\"\"\\\"\"\" [\n\"\"\"\n[tokens]\nalice = 3", "alice =***"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
