//! The peers of our bus. Each end is a process: `bus-peer ROLE WHERE COUNT SIZE PAUSE_US`.
//!
//! | role | is |
//! |---|---|
//! | `relay` | the least that a relay can be: WHERE is the number of receivers; it starts them and a sender, and passes bytes on |
//! | `framed-relay` | the least that a relay with addresses can be: it finds each frame, and passes it on to each receiver |
//! | `ask-relay` | the same between one that asks, WHERE questions at a time, and one that answers |
//! | `relay-send`, `relay-receive`, `relay-ask`, `relay-answer` | the children of these, with a socket as standard input |
//! | `redis-send`, `redis-receive` | clients of a Redis at the Unix socket WHERE |
//! | `nats-send`, `nats-receive`, `nats-answer` | clients of a NATS server at the address WHERE |
//! | `nats-ask-N` | the one that asks, N questions at a time |

mod questions;
mod ready;
mod relay;
mod wire;

use std::io::{self, Read, Write};
use std::iter::repeat_n;
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use hatchery_bench::bus::{Task, Wrap, end_with_parent, receive, send, tell_sender};

use crate::questions::{answer, ask};
use crate::ready::Ready;
use crate::relay::{pass_on_both_ways, pass_on_bytes, pass_on_frames, relay};
use crate::wire::{
    INBOX, as_nats_answer, as_nats_command, as_nats_question, as_redis_command, find_by_length,
    find_nats_message, find_redis_message, with_length,
};

fn main() -> io::Result<()> {
    end_with_parent()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [role, place, task @ ..] = &words[..] else {
        return Err(io::Error::other("want ROLE WHERE COUNT SIZE PAUSE_US"));
    };
    let task = Task::parse(&task.join(" "))?;
    let number = || place.parse().map_err(io::Error::other);
    match &**role {
        "relay" => relay(ends(number()?), &words[1..], pass_on_bytes),
        "framed-relay" => relay(ends(number()?), &words[1..], pass_on_frames),
        "ask-relay" => relay(["relay-answer", "relay-ask"].into_iter(), &words[1..], pass_on_both_ways),
        "relay-send" => sending(own_link()?, own_link()?, task, with_length),
        "relay-receive" => receive(own_link()?, task, find_by_length)?.tell("receiver"),
        "relay-ask" => {
            ask(own_link()?, number()? as u64, task, with_length, find_by_length)?.tell("receiver")
        }
        "relay-answer" => answer(own_link()?, with_length, find_by_length),
        "redis-send" => {
            let link = UnixStream::connect(place)?;
            sending(link.try_clone()?, link, task, as_redis_command)
        }
        "redis-receive" => {
            let mut link = UnixStream::connect(place)?;
            link.write_all(b"SUBSCRIBE bench\r\n")?;
            receive(Ready::after(link, "bench"), task, find_redis_message)?.tell("receiver")
        }
        "nats-send" => {
            let link = nats(place, "")?;
            sending(link.try_clone()?, link, task, as_nats_command)
        }
        "nats-receive" => receive(nats_ready(place, "bench")?, task, find_nats_message)?.tell("receiver"),
        "nats-answer" => answer(nats_ready(place, "bench")?, as_nats_answer, find_nats_message),
        other => match other.strip_prefix("nats-ask-").and_then(|at_once| at_once.parse().ok()) {
            Some(at_once) => {
                let link = nats(place, &format!("SUB {INBOX} 1\r\n"))?;
                ask(link, at_once, task, as_nats_question, find_nats_message)?.tell("receiver")
            }
            None => Err(io::Error::other(format!("there is no role `{other}`"))),
        },
    }
}

/// The children of a relay to so many receivers, the sender last.
fn ends(receivers: usize) -> impl Iterator<Item = &'static str> {
    repeat_n("relay-receive", receivers).chain(["relay-send"])
}

fn own_link() -> io::Result<UnixStream> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// A connection to a NATS server that has said so much.
fn nats(place: &str, first: &str) -> io::Result<TcpStream> {
    let mut link = TcpStream::connect(place)?;
    link.set_nodelay(true)?;
    link.write_all(format!("CONNECT {{\"verbose\":false}}\r\n{first}").as_bytes())?;
    Ok(link)
}

/// One that hears what is said on a subject, and says when it does.
fn nats_ready(place: &str, subject: &str) -> io::Result<Ready<TcpStream>> {
    Ok(Ready::after(nats(place, &format!("SUB {subject} 1\r\nPING\r\n"))?, "PONG"))
}

/// Sends, and stays until the other side ends, because what is on the way may need the connection.
fn sending(to: impl Write, mut from: impl Read + Send + 'static, task: Task, wrap: Wrap) -> io::Result<()> {
    // Redis answers every command, and stops reading when nobody takes the answers.
    let answers = std::thread::spawn(move || io::copy(&mut from, &mut io::sink()));
    tell_sender("begin")?;
    send(to, task, wrap)?;
    tell_sender("end")?;
    answers.join().map_err(|_| io::Error::other("the thread that takes the answers panicked"))??;
    Ok(())
}
