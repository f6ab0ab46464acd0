//! Is this a whole answer, and the right one? Pure: bytes in, a word out.

use httparse::{EMPTY_HEADER, Header, Response, Status};

const MOST_HEADERS: usize = 32;

/// What becomes of the connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// The next request may go there.
    Stays,
    /// The server has said that it closes it.
    Closes,
}

/// What the bytes that have come so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Not all of an answer.
    Partial,
    /// The answer that was wanted, and the pid that it tells.
    Whole(Connection, u32),
    /// Another status, a body without a pid, no length, or no HTTP.
    Wrong,
}

pub(crate) fn read(said: &[u8]) -> Reading {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut response = Response::new(&mut headers);
    let body = match response.parse(said) {
        Ok(Status::Complete(head)) => &said[head..],
        Ok(Status::Partial) => return Reading::Partial,
        Err(_) => return Reading::Wrong,
    };
    let length = value(response.headers, "content-length").and_then(|length| length.parse::<usize>().ok());
    match (response.code, length) {
        (Some(200), Some(length)) if body.len() < length => Reading::Partial,
        (Some(200), Some(length)) if body.len() == length => match pid(body) {
            Some(pid) => Reading::Whole(after(&response), pid),
            None => Reading::Wrong,
        },
        _ => Reading::Wrong,
    }
}

fn after(response: &Response<'_, '_>) -> Connection {
    let said = value(response.headers, "connection").unwrap_or_default().to_ascii_lowercase();
    match response.version {
        Some(1) if said != "close" => Connection::Stays,
        Some(0) if said == "keep-alive" => Connection::Stays,
        _ => Connection::Closes,
    }
}

fn value<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok().map(str::trim)
}

/// `{…"pid":7…}`
fn pid(body: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(body).ok()?.strip_prefix('{')?.strip_suffix('}')?;
    let (_, rest) = text.split_once("\"pid\":")?;
    rest.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"index\":0,\"pid\":321}";

    #[test]
    fn an_answer_is_partial_until_its_last_byte() {
        for end in 0..GOOD.len() {
            assert_eq!(read(&GOOD.as_bytes()[..end]), Reading::Partial, "{end}");
        }
        assert_eq!(read(GOOD.as_bytes()), Reading::Whole(Connection::Stays, 321));
    }

    #[test]
    fn what_was_not_wanted_is_wrong() {
        for (from, to) in [
            ("200 OK", "503 No"),
            ("pid", "pit"),
            ("321", "x21"),
            ("Length: 21", "Length: 20"),
            ("Content-", ""),
        ] {
            assert_eq!(read(GOOD.replace(from, to).as_bytes()), Reading::Wrong, "{to}");
        }
        assert_eq!(read(b"SSH-2.0\r\n"), Reading::Wrong);
    }

    #[test]
    fn the_server_says_what_becomes_of_the_connection() {
        let closing = GOOD.replace("\r\nContent", "\r\nconnection: Close\r\nContent");
        assert_eq!(read(closing.as_bytes()), Reading::Whole(Connection::Closes, 321));
        let old = GOOD.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(read(old.as_bytes()), Reading::Whole(Connection::Closes, 321));
        let kept = old.replace("\r\nContent", "\r\nConnection: keep-alive\r\nContent");
        assert_eq!(read(kept.as_bytes()), Reading::Whole(Connection::Stays, 321));
    }
}
