//! The header of the PROXY protocol, version 1 or 2, before the first bytes of a connection. Pure.

use core::net::IpAddr;

use ppp::{PartialResult as _, v1, v2};

/// A header of version 2 that is longer is not waited for.
const LONGEST: usize = 4096;

/// The longest line of version 1, by its specification.
const LONGEST_LINE: usize = 107;

/// What the first bytes of a connection say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// More bytes are needed.
    More,
    /// The header has this length; the client is not told when a proxy asks for itself.
    Header { length: usize, client: Option<IpAddr> },
    /// This is no such header.
    Wrong,
}

/// What a connection ends with that begins otherwise than it must.
pub(super) fn wrong(reason: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, reason)
}

pub(super) fn hear(bytes: &[u8]) -> Heard {
    if begins(bytes, b"PROXY ") {
        return hear_line(bytes);
    }
    if !begins(bytes, v2::PROTOCOL_PREFIX) {
        return Heard::Wrong;
    }
    match v2::Header::try_from(bytes) {
        Ok(header) => Heard::Header { length: header.header.len(), client: source(&header) },
        error if error.is_incomplete() && bytes.len() < LONGEST => Heard::More,
        Err(_) => Heard::Wrong,
    }
}

/// Whether `bytes` are a part of what begins with `word`.
fn begins(bytes: &[u8], word: &[u8]) -> bool {
    bytes.iter().zip(word).all(|(one, other)| one == other)
}

/// Version 1. Only a whole line is parsed: a part of one may look wrong to the parser.
fn hear_line(bytes: &[u8]) -> Heard {
    let Some(end) = bytes.windows(2).take(LONGEST_LINE).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Heard::More } else { Heard::Wrong };
    };
    let length = end + 2;
    let client = match v1::Header::try_from(&bytes[..length]).map(|header| header.addresses) {
        Ok(v1::Addresses::Tcp4(addresses)) => Some(addresses.source_address.into()),
        Ok(v1::Addresses::Tcp6(addresses)) => Some(addresses.source_address.into()),
        Ok(v1::Addresses::Unknown) => None,
        Err(_) => return Heard::Wrong,
    };
    Heard::Header { length, client }
}

fn source(header: &v2::Header<'_>) -> Option<IpAddr> {
    match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => Some(addresses.source_address.into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => Some(addresses.source_address.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n";
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50";

    #[test]
    fn both_versions_name_the_client_and_end_where_the_request_begins() {
        for header in [V1, V2] {
            let client = Some(IpAddr::from([203, 0, 113, 9]));
            for rest in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe"] {
                let heard = hear(&[header, rest].concat());
                assert_eq!(heard, Heard::Header { length: header.len(), client });
            }
            for length in 0..header.len() {
                assert_eq!(hear(&header[..length]), Heard::More, "{length}");
            }
        }
    }

    #[test]
    fn a_proxy_that_asks_for_itself_names_nobody() {
        let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], b"GET"].concat();
        assert_eq!(hear(&local), Heard::Header { length: 16, client: None });
        assert_eq!(hear(b"PROXY UNKNOWN\r\nGET"), Heard::Header { length: 15, client: None });
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
            if let Heard::Header { length, .. } = hear(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn a_damaged_header_is_judged_without_a_panic(at in 0..V2.len(), byte: u8) {
            let mut bytes = V2.to_vec();
            bytes[at] = byte;
            let _ = hear(&bytes);
        }
    }
}
