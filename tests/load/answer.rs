//! Reading answers of HTTP/1.1 from bytes: what is there of one, and whether it is whole. Knows no connection.

/// An answer that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Whether the connection is over with it.
    pub(super) closes: bool,
}

/// What the bytes of a connection say so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// More must come; this is there of the body.
    Part(Vec<u8>),
    Whole(Answer),
    /// The answer ends with the connection; this is its state now.
    UntilClosed(Answer),
    Garbled,
}

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunked,
    UntilClosed,
}

/// Reads all that has come since the request.
pub(super) fn read(bytes: &[u8]) -> Reading {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(bytes) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return Reading::Part(Vec::new()),
        Err(_) => return Reading::Garbled,
    };
    let Some(length) = length(head.headers) else { return Reading::Garbled };
    let closes = says(head.headers, "connection", "close") || head.version == Some(0);
    let answer = |body: &[u8]| Answer { status: head.code.unwrap_or_default(), body: body.to_vec(), closes };
    let rest = &bytes[start..];
    match length {
        Length::Bytes(length) if rest.len() > length => Reading::Garbled,
        Length::Bytes(length) if rest.len() < length => Reading::Part(rest.to_vec()),
        Length::Bytes(_) => Reading::Whole(answer(rest)),
        Length::UntilClosed => Reading::UntilClosed(answer(rest)),
        Length::Chunked => match unchunk(rest) {
            Some((body, true)) => Reading::Whole(answer(&body)),
            Some((body, false)) => Reading::Part(body),
            None => Reading::Garbled,
        },
    }
}

fn value<'a>(headers: &'a [httparse::Header<'_>], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok()
}

fn says(headers: &[httparse::Header<'_>], name: &str, word: &str) -> bool {
    value(headers, name).is_some_and(|value| value.eq_ignore_ascii_case(word))
}

fn length(headers: &[httparse::Header<'_>]) -> Option<Length> {
    if says(headers, "transfer-encoding", "chunked") {
        return Some(Length::Chunked);
    }
    match value(headers, "content-length") {
        Some(length) => length.parse().ok().map(Length::Bytes),
        None => Some(Length::UntilClosed),
    }
}

/// What is there of a chunked body, and whether that is all; `None` when it is none. Trailers are not expected.
fn unchunk(mut bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(bytes).ok()? {
            httparse::Status::Complete((start, size)) => (start, usize::try_from(size).ok()?),
            httparse::Status::Partial => return Some((body, false)),
        };
        let rest = &bytes[start..];
        let end = size.checked_add(2)?;
        if rest.len() < end {
            body.extend(&rest[..rest.len().min(size)]);
            return Some((body, false));
        }
        if &rest[size..end] != b"\r\n" {
            return None;
        }
        body.extend(&rest[..size]);
        bytes = &rest[end..];
        if size == 0 {
            return bytes.is_empty().then_some((body, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn whole(status: u16, body: &str, closes: bool) -> Reading {
        Reading::Whole(Answer { status, body: body.into(), closes })
    }

    #[test]
    fn an_answer_is_whole_when_all_that_it_announces_is_there() {
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", whole(200, "hi", false)),
            (
                "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n",
                whole(204, "", true),
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", whole(200, "", true)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", Reading::Part("h".into())),
            ("HTTP/1.1 200 OK\r\nContent-Le", Reading::Part(Vec::new())),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", Reading::Garbled),
            ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", Reading::Garbled),
            ("SSH-2.0-OpenSSH_9.9\r\n", Reading::Garbled),
        ];
        for (bytes, reading) in table {
            assert_eq!(read(bytes.as_bytes()), reading, "{bytes}");
        }
        let until_closed = read(b"HTTP/1.1 200 OK\r\n\r\nhi");
        assert!(matches!(until_closed, Reading::UntilClosed(Answer { status: 200, .. })));
    }

    #[test]
    fn a_chunked_body_is_whole_with_its_last_chunk() {
        let table = [
            ("2\r\nhi\r\n0\r\n\r\n", whole(200, "hi", false)),
            ("2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", whole(200, "hi!", false)),
            ("2\r\nhi\r\n0\r\n\r", Reading::Part("hi".into())),
            ("2\r\nhi\r\n", Reading::Part("hi".into())),
            ("2\r\nh", Reading::Part("h".into())),
            ("", Reading::Part(Vec::new())),
            ("2\r\nhi!\r\n", Reading::Garbled),
            ("x\r\n", Reading::Garbled),
        ];
        for (body, reading) in table {
            assert_eq!(read(format!("{CHUNKED}{body}").as_bytes()), reading, "{body}");
        }
    }
}
