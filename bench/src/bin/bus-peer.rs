//! The peers of our bus. Each end is a process: `bus-peer ROLE WHERE COUNT SIZE PAUSE_US`.
//!
//! | role | is |
//! |---|---|
//! | `relay` | the least that a relay can be: WHERE is the number of receivers; it starts them and a sender, and passes bytes on |
//! | `framed-relay` | the least that a relay with addresses can be: it finds each frame, and passes it on to each receiver |
//! | `relay-send`, `relay-receive` | the children of both, with a socket as standard input |
//! | `redis-send`, `redis-receive` | clients of a Redis at the Unix socket WHERE |
//! | `nats-send`, `nats-receive` | clients of a NATS server at the address WHERE |

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use bytes::{Buf as _, BytesMut};
use hatchery_bench::bus::{Task, receive, say, send, tell_sender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a relay takes in one read.
const CHUNK: usize = 64 << 10;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [role, place, task @ ..] = &words[..] else {
        return Err(io::Error::other("want ROLE WHERE COUNT SIZE PAUSE_US"));
    };
    let task = Task::parse(&task.join(" "))?;
    match &**role {
        "relay" => relay(place.parse().map_err(io::Error::other)?, &words, pass_on_bytes),
        "framed-relay" => relay(place.parse().map_err(io::Error::other)?, &words, pass_on_frames),
        "relay-send" => sending(own_link()?, task, with_length),
        "relay-receive" => receive(own_link()?, task, find_by_length)?.tell("receiver"),
        "redis-send" => {
            let link = UnixStream::connect(place)?;
            let mut answers = link.try_clone()?;
            // Redis answers every command, and stops reading when nobody takes the answers.
            std::thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
            sending(link, task, as_redis_command)
        }
        "redis-receive" => {
            let mut link = UnixStream::connect(place)?;
            link.write_all(b"SUBSCRIBE bench\r\n")?;
            receive(Ready::after(link, "bench"), task, find_redis_message)?.tell("receiver")
        }
        "nats-send" => {
            let mut link = TcpStream::connect(place)?;
            link.set_nodelay(true)?;
            link.write_all(b"CONNECT {\"verbose\":false}\r\n")?;
            let mut answers = link.try_clone()?;
            std::thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
            sending(link, task, as_nats_command)
        }
        "nats-receive" => {
            let mut link = TcpStream::connect(place)?;
            link.set_nodelay(true)?;
            link.write_all(b"CONNECT {\"verbose\":false}\r\nSUB bench 1\r\nPING\r\n")?;
            receive(Ready::after(link, "PONG"), task, find_nats_message)?.tell("receiver")
        }
        other => Err(io::Error::other(format!("there is no role `{other}`"))),
    }
}

fn own_link() -> io::Result<UnixStream> {
    use std::os::fd::AsFd as _;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Sends, and stays until told to go, because what is on the way may need the connection.
fn sending(to: impl Write, task: Task, wrap: fn(&[u8], &mut Vec<u8>)) -> io::Result<()> {
    tell_sender("begin")?;
    send(to, task, wrap)?;
    tell_sender("end")?;
    std::thread::park();
    Ok(())
}

/// A stream that says `ready` on our stdout when a word has come over it.
struct Ready<S> {
    stream: S,
    word: &'static str,
    seen: Option<Vec<u8>>,
}

impl<S> Ready<S> {
    fn after(stream: S, word: &'static str) -> Self {
        Self { stream, word, seen: Some(Vec::new()) }
    }
}

impl<S: Read> Read for Ready<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(bytes)?;
        if let Some(seen) = &mut self.seen {
            seen.extend_from_slice(&bytes[..count]);
            if String::from_utf8_lossy(seen).contains(self.word) {
                self.seen = None;
                say("ready")?;
            }
        }
        Ok(count)
    }
}

fn with_length(payload: &[u8], bytes: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
}

fn find_by_length(bytes: &[u8]) -> Option<(usize, Option<Range<usize>>)> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let end = 4 + length;
    (bytes.len() >= end).then_some((end, Some(4..end)))
}

fn as_redis_command(payload: &[u8], bytes: &mut Vec<u8>) {
    let head = format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n${}\r\n", payload.len());
    bytes.extend_from_slice(head.as_bytes());
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
fn find_redis_message(bytes: &[u8]) -> Option<(usize, Option<Range<usize>>)> {
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

fn as_nats_command(payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("PUB bench {}\r\n", payload.len()).as_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
}

fn find_nats_message(bytes: &[u8]) -> Option<(usize, Option<Range<usize>>)> {
    let (length, head) = line(bytes)?;
    if !head.starts_with(b"MSG ") {
        return Some((length, None));
    }
    let size = number(head.rsplit(|byte| *byte == b' ').next()?)?;
    let end = length + size + 2;
    (bytes.len() >= end).then_some((end, Some(length..length + size)))
}

/// Starts the ends, and passes what the sender says on to every receiver, in one thread.
fn relay<F>(
    receivers: usize,
    words: &[String],
    pass_on: impl FnOnce(tokio::net::UnixStream, Vec<tokio::net::UnixStream>) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ends = Vec::new();
        let mut children = Vec::new();
        for role in std::iter::repeat_n("relay-receive", receivers).chain(["relay-send"]) {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(role).args(&words[1..]).stdin(Stdio::from(OwnedFd::from(theirs)));
            children.push(command.spawn()?);
            ends.push(tokio::net::UnixStream::from_std(ours)?);
        }
        let sender = ends.pop().ok_or(io::ErrorKind::NotFound)?;
        pass_on(sender, ends).await
    })
}

async fn pass_on_bytes(
    mut sender: tokio::net::UnixStream,
    mut receivers: Vec<tokio::net::UnixStream>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    loop {
        let count = sender.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        for receiver in &mut receivers {
            // One that has got everything may be gone.
            let _ = receiver.write_all(&bytes[..count]).await;
        }
    }
}

/// All whole frames of a read go to a receiver together, each as a slice of its own.
async fn pass_on_frames(
    mut sender: tokio::net::UnixStream,
    mut receivers: Vec<tokio::net::UnixStream>,
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(CHUNK);
        if sender.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let mut end = 0;
        let mut frames = Vec::new();
        while let Some((length, _)) = find_by_length(&bytes[end..]) {
            frames.push(end..end + length);
            end += length;
        }
        for receiver in &mut receivers {
            let mut slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(&bytes[frame.clone()])).collect();
            // One that has got everything may be gone.
            let _ = write_slices(receiver, &mut slices).await;
        }
        bytes.advance(end);
    }
}

async fn write_slices(to: &mut tokio::net::UnixStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let written = to.write_vectored(slices).await?;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}
