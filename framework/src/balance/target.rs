//! The path of a request in the first bytes of a connection, for who spreads connections by it. Pure.

/// The longest beginning that is looked at, in bytes.
pub(crate) const MOST: usize = 4096;

/// A header of the PROXY protocol, version 2, begins with this; four bytes later its length is known.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The same of version 1, which is a line.
const PROXY_1: &[u8] = b"PROXY ";

/// What a beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// The path, without the query.
    Path(&'a [u8]),
    /// More has to come.
    Unfinished,
    /// It will never be known: this is no request of HTTP/1, or it is too long.
    Unknown,
}

/// What is told by `head`, as far as it has come. A header of the PROXY protocol is passed over.
pub(crate) fn target(head: &[u8]) -> Target<'_> {
    match path(head) {
        Target::Unfinished if head.len() >= MOST => Target::Unknown,
        found => found,
    }
}

fn path(head: &[u8]) -> Target<'_> {
    if PROXY_2.starts_with(head) || PROXY_1.starts_with(head) {
        return Target::Unfinished;
    }
    if head.starts_with(PROXY_2) {
        let length = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let behind = head.get(14..16).and_then(|bytes| head.get(16 + length(bytes)..));
        return behind.map_or(Target::Unfinished, request_path);
    }
    if head.starts_with(PROXY_1) {
        let end = head.iter().position(|byte| *byte == b'\n');
        return end.map_or(Target::Unfinished, |end| request_path(&head[end + 1..]));
    }
    request_path(head)
}

/// The path in a line such as `GET /path?query HTTP/1.1`.
fn request_path(head: &[u8]) -> Target<'_> {
    // Some clients send an empty line first.
    let blank = head.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let line = &head[blank..];
    let of_a_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = line.iter().take_while(|byte| of_a_method(byte)).count();
    match line.get(method) {
        None => Target::Unfinished,
        Some(b' ') if method > 0 && &line[..method] != b"PRI" => path_of(&line[method + 1..]),
        Some(_) => Target::Unknown,
    }
}

/// The path in what follows the method; a proxy's client writes scheme and host before it.
fn path_of(rest: &[u8]) -> Target<'_> {
    let Some(end) = rest.iter().position(|byte| matches!(byte, b' ' | b'?' | b'#' | b'\r' | b'\n')) else {
        return Target::Unfinished;
    };
    let whole = &rest[..end];
    let scheme = whole.windows(3).position(|three| three == b"://").filter(|_| !whole.starts_with(b"/"));
    let path = match scheme {
        Some(at) => {
            let host = &whole[at + 3..];
            host.iter().position(|byte| *byte == b'/').map_or(&b"/"[..], |slash| &host[slash..])
        }
        None => whole,
    };
    if path.is_empty() { Target::Unknown } else { Target::Path(path) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_path_is_told_as_soon_as_it_is_there() {
        let proxy_2 = [PROXY_2, &[0x21, 0x11, 0, 3, 1, 2, 3], b"GET /a "].concat();
        for (head, path) in [
            (&b"GET /a/b HTTP/1.1\r\n"[..], &b"/a/b"[..]),
            (b"GET /a?", b"/a"),
            (b"DELETE /a#", b"/a"),
            (b"\r\nGET / H", b"/"),
            (b"GET http://host/a/b?c HTTP/1.1", b"/a/b"),
            (b"GET http://host HTTP/1.1", b"/"),
            (b"GET /to/http://host ", b"/to/http://host"),
            (b"OPTIONS * HTTP/1.1", b"*"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nGET /a ", b"/a"),
            (&proxy_2, b"/a"),
        ] {
            assert_eq!(target(head), Target::Path(path), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_begin_may_go_on_and_what_is_no_request_never_will() {
        for head in [&b""[..], b"G", b"GET", b"GET /long", b"\r\n", b"PRO", b"PROXY TCP4 1.2", &PROXY_2[..5]]
        {
            assert_eq!(target(head), Target::Unfinished, "{}", head.escape_ascii());
        }
        let long = [b"GET /", &[b'x'; MOST][..]].concat();
        for head in [&b"\x16\x03\x01"[..], b"PRI * HTTP/2.0", b"get /", b" /", b"GET  HTTP/1.1", &long] {
            assert_eq!(target(head), Target::Unknown, "{}", head.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(head in prop::collection::vec(any::<u8>(), 0..64), proxied: bool) {
            let _ = target(&[if proxied { PROXY_2 } else { b"" }, &head].concat());
        }

        #[test]
        fn what_was_told_of_a_beginning_stays_true(path in "/[a-z/]{0,20}", cut in 0_usize..40) {
            let line = format!("GET {path} HTTP/1.1\r\n");
            let told = target(&line.as_bytes()[..cut.min(line.len())]);
            prop_assert!(matches!(told, Target::Unfinished) || told == Target::Path(path.as_bytes()));
        }
    }
}
