//! How each peer puts messages on its wire, and finds them there.

use std::ops::Range;

/// Where the answers of NATS go.
pub(crate) const INBOX: &str = "_INBOX.bench.1";

pub(crate) fn with_length(payload: &[u8], bytes: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
}

pub(crate) fn find_by_length(bytes: &[u8]) -> Option<(usize, Option<Range<usize>>)> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let end = 4 + length;
    (bytes.len() >= end).then_some((end, Some(4..end)))
}

pub(crate) fn as_redis_command(payload: &[u8], bytes: &mut Vec<u8>) {
    let head = format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n${}\r\n", payload.len());
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
}

/// What is published on a subject of NATS.
fn publish(subject: &str, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
}

/// Where a line ends, and what is on it.
fn line(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((end + 2, &bytes[..end]))
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// An array of three: what it is, the channel, and the payload or a number.
pub(crate) fn find_redis_message(bytes: &[u8]) -> Option<(usize, Option<Range<usize>>)> {
    let (mut at, _) = line(bytes)?;
    for part in 0..3 {
        let (length, head) = line(bytes.get(at..)?)?;
        at += length;
        match head.split_first()? {
            (b'$', size) => {
                let size = number(size)?;
                if bytes.len() < at + size + 2 {
                    return None;
                }
                if part == 2 {
                    return Some((at + size + 2, Some(at..at + size)));
                }
                at += size + 2;
            }
            _ => return Some((at, None)),
        }
    }
    None
}

pub(crate) fn as_nats_command(payload: &[u8], bytes: &mut Vec<u8>) {
    publish("bench", payload, bytes);
}

/// A request, as the clients of NATS make it: with the subject on which the answer is awaited.
pub(crate) fn as_nats_question(payload: &[u8], bytes: &mut Vec<u8>) {
    publish(&format!("bench {INBOX}"), payload, bytes);
}

pub(crate) fn as_nats_answer(payload: &[u8], bytes: &mut Vec<u8>) {
    publish(INBOX, payload, bytes);
}

pub(crate) fn find_nats_message(bytes: &[u8]) -> Option<(usize, Option<Range<usize>>)> {
    let (length, head) = line(bytes)?;
    if !head.starts_with(b"MSG ") {
        return Some((length, None));
    }
    let size = number(head.rsplit(|byte| *byte == b' ').next()?)?;
    let end = length + size + 2;
    (bytes.len() >= end).then_some((end, Some(length..length + size)))
}
