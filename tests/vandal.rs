//! An app whose workers of the group `jobs`, and whose agent if `VANDAL_AGENT` is set, speak on their links by themselves: they say hello and ready as any process
//! does, and then, when a test says so by a file, what no process should. Nothing of the framework's framing is used.

#[path = "vandal/envelope.rs"]
mod envelope;
#[path = "vandal/memory.rs"]
mod memory;

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use hatchery::{Agent, App, Topic, Worker};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};
use serde_json::json;

use envelope::{
    AGENT, AGENTS, ASK, CANCEL, EVERYONE, FAILED, HELLO, Head, MESSAGE, PULSE, READY, REFUSAL, REPLY,
    WELCOME, WORKER, address, body, nested,
};

/// What the honest processes listen for.
#[derive(Debug, Serialize, Deserialize)]
struct Words {
    text: String,
}

impl Topic for Words {
    const NAME: &'static str = "words";
}

fn main() -> ExitCode {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    match std::env::var("HATCHERY_ROLE").ok().as_deref().and_then(Vandal::of) {
        Some(vandal) => vandal.live(),
        None => App::new("vandal")
            .duty(hatchery_agent::config_polling())
            .agent(lead)
            .worker(serve)
            .group("jobs", idle)
            .run(),
    }
}

async fn lead(agent: Agent) -> hatchery::Result {
    let mut words = agent.subscribe::<Words>()?;
    agent.ready().await?;
    let _ = agent.until_shutdown(async { while words.next().await.is_err() {} }).await;
    Ok(())
}

async fn idle(worker: Worker) -> hatchery::Result {
    worker.ready().await?;
    worker.draining().await;
    Ok(())
}

async fn serve(worker: Worker) -> hatchery::Result {
    let observer = worker.clone();
    tokio::spawn(async move {
        while let Err(problem) = observer.observe::<Words>().await {
            tracing::warn!("{problem}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let name = json!({ "pid": std::process::id(), "generation": worker.generation() });
    Ok(worker.serve(Router::new().route("/whoami", get(async move || Json(name)))).await?)
}

struct Vandal {
    /// Of the agent, one that no worker has.
    index: u8,
    generation: String,
    link: UnixStream,
    /// Whether it takes what comes for it.
    reads: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Vandal {
    /// The vandal of a role such as `jobs.0@1`, or `agent@1`.
    fn of(role: &str) -> Option<Self> {
        let is_bad = std::env::var_os("VANDAL_AGENT").is_some();
        let agent = role.strip_prefix("agent@").filter(|_| is_bad).map(|generation| ("99", generation));
        let (index, generation) = agent.or_else(|| role.strip_prefix("jobs.")?.split_once('@'))?;
        let link = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
        link.set_nonblocking(false).ok()?;
        Some(Self {
            index: index.parse().ok()?,
            generation: generation.to_owned(),
            link,
            reads: Arc::new(AtomicBool::new(true)),
            ended: Arc::default(),
        })
    }

    fn live(self) -> ExitCode {
        let Ok(link) = self.link.try_clone() else { return ExitCode::FAILURE };
        let (reads, ended) = (Arc::clone(&self.reads), Arc::clone(&self.ended));
        std::thread::spawn(move || read_all(link, &reads, &ended));
        self.say(&self.hello());
        self.say(&body(READY, b""));
        while !self.ended.load(Ordering::Relaxed) {
            let order = format!("deed.{}", self.index);
            if let Ok(deed) = fs::read_to_string(&order) {
                let _ = fs::remove_file(&order);
                self.commit(&deed);
                let _ = fs::write(format!("done.{}", self.index), deed);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        ExitCode::SUCCESS
    }

    fn hello(&self) -> Vec<u8> {
        let word = |text: &str| [&[0xd9, u8::try_from(text.len()).unwrap_or(255)], text.as_bytes()].concat();
        let facts = fs::metadata("/proc/self/exe").ok();
        let build = facts.map(|facts| format!("{:x}-{:x}", facts.dev(), facts.ino())).unwrap_or_default();
        let worker = [&[0x81][..], &word("worker"), &[0x82], &word("group"), &word("jobs"), &word("index")];
        let slot = match self.index {
            AGENTS => word("agent"),
            index => [&worker.concat()[..], &[index]].concat(),
        };
        let generation = self.generation.parse().unwrap_or(1);
        let fields = [
            [word("protocol"), vec![3]].concat(),
            [word("build"), word(&build)].concat(),
            [word("slot"), slot].concat(),
            [word("generation"), vec![generation]].concat(),
        ];
        body(HELLO, &[vec![0x84], fields.concat()].concat())
    }

    /// Says it as far as anybody listens.
    fn say(&self, bytes: &[u8]) {
        let _ = (&self.link).write_all(bytes);
    }

    fn say_often(&self, count: usize, frame: impl Fn(u64) -> Vec<u8>) {
        let mut number = 0;
        while number < count as u64 {
            let many: Vec<u8> = (number..number + 500).flat_map(&frame).collect();
            if (&self.link).write_all(&many).is_err() {
                return;
            }
            number += 500;
        }
    }

    fn own(&self) -> [u8; 8] {
        address(WORKER, 1, self.index, std::process::id())
    }

    fn mail(&self, kind: u8, to: [u8; 8], flags: u8, number: u64, topic: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(topic.len() + payload.len()).unwrap_or(u32::MAX);
        let topic_length = u8::try_from(topic.len()).unwrap_or(u8::MAX);
        let head = Head {
            length,
            kind,
            topic: topic_length,
            flags,
            number,
            to,
            from: self.own(),
            ..Head::default()
        };
        [&head.bytes(), topic, payload].concat()
    }

    fn message(&self, to: [u8; 8], topic: &[u8], payload: &[u8]) -> Vec<u8> {
        self.mail(MESSAGE, to, 0, 1, topic, payload)
    }

    fn carry(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            let _ = sendmsg(&self.link, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
        }
    }

    fn commit(&self, deed: &str) {
        let everyone = address(EVERYONE, 0, 0, 0);
        let nobody = address(WORKER, 0, 99, 0);
        match deed {
            "length" => self.say(&Head { length: u32::MAX, kind: PULSE, ..Head::default() }.bytes()),
            "kind" => self.say(&body(200, b"")),
            "flags" => self.say(&self.mail(MESSAGE, everyone, 0x80, 1, b"words", b"")),
            "address" => self.say(&self.message(address(77, 0, 0, 0), b"words", b"")),
            "topic" => self.say(&self.message(everyone, &[0xff, 0xfe], b"")),
            "topic-length" => {
                self.say(&Head { length: 3, kind: MESSAGE, topic: 9, ..Head::default() }.bytes())
            }
            "trailing" => self.say(&body(PULSE, &[0x80, 0xc0])),
            "nesting" => self.say(&body(PULSE, &nested(60 << 20))),
            "nested-words" => self.say(&body(FAILED, &nested(1 << 20))),
            "hello" => self.say(&self.hello()),
            "masters" => self.say(&body(WELCOME, b"")),
            "forgery" => {
                let from = address(WORKER, 0, 0, 1);
                self.say(
                    &Head { kind: MESSAGE, length: 1, topic: 1, to: everyone, from, ..Head::default() }
                        .bytes(),
                );
                self.say(b"x");
            }
            "large" => self.say(&self.message(everyone, b"words", &vec![0; 10 << 20])),
            "reserved" => self.say(&self.message(everyone, b"hatchery.exited", b"")),
            "descriptors" | "carried" | "welcomed" => self.carry_too_much(deed, everyone),
            "lost" => self.say(&self.mail(MESSAGE, everyone, 4, 1, b"words", b"")),
            "missing-descriptors" => {
                self.say(&Head { kind: MESSAGE, descriptors: 3, ..Head::default() }.bytes());
            }
            "unread-questions" => {
                self.reads.store(false, Ordering::Relaxed);
                self.say_often(2_000_000, |number| self.mail(ASK, nobody, 0, number, b"q", b""));
            }
            "unread-receipts" => {
                self.reads.store(false, Ordering::Relaxed);
                self.say_often(2_000_000, |number| self.mail(MESSAGE, nobody, 1, number, b"m", b""));
            }
            "death" => {
                self.say(&body(PULSE, &[0x80])[..20]);
                std::process::abort();
            }
            "memory" => self.publish_everything(),
            harmless => self.annoy(harmless, nobody),
        }
    }

    /// Descriptors where none belong.
    fn carry_too_much(&self, deed: &str, everyone: [u8; 8]) {
        let Ok(null) = fs::File::open("/dev/null") else { return };
        let (frame, count, times) = match deed {
            "descriptors" => (self.message(everyone, b"words", b""), 250, 20),
            "carried" => {
                let head = Head { kind: PULSE, length: 1, descriptors: 50, ..Head::default() };
                ([head.bytes(), vec![0x80]].concat(), 50, 1)
            }
            _ => (Head { kind: WELCOME, descriptors: 250, ..Head::default() }.bytes(), 250, 64),
        };
        for _ in 0..times {
            self.carry(&frame, &vec![null.as_fd(); count]);
        }
    }

    /// What is odd, but breaks no rule.
    fn annoy(&self, deed: &str, nobody: [u8; 8]) {
        let agent = address(AGENT, 0, 0, 0);
        match deed {
            "replies" => {
                self.say_often(100_000, |number| self.mail(REPLY, agent, 0, number, b"", b"yes"));
                self.say_often(100_000, |number| self.mail(REFUSAL, agent, 0, number, b"", b"no"));
            }
            "cancels" => self.say_often(500_000, |number| self.mail(CANCEL, agent, 0, number, b"", b"")),
            "questions" => self.say_often(200_000, |number| self.mail(ASK, nobody, 0, number, b"q", b"")),
            "waiting-questions" => {
                let empty = address(WORKER, 1, 2, 0);
                self.say_often(200_000, |number| self.mail(ASK, empty, 0, number, b"q", b""));
            }
            "nested-mail" => {
                for form in [EVERYONE, AGENT] {
                    self.say(&self.message(address(form, 0, 0, 0), b"words", &nested(1 << 20)));
                    self.say(&self.mail(ASK, address(form, 0, 0, 0), 0, 1, b"words", &nested(1 << 20)));
                }
            }
            "million" => {
                let stopped = address(WORKER, 1, 1, 0);
                self.say_often(1_000_000, |_| self.message(stopped, b"words", b"a few bytes"));
            }
            "half" => self.say(&body(PULSE, &vec![0; 50 << 20])[..40 << 20]),
            other => eprintln!("no deed is called `{other}`"),
        }
    }
}

/// Takes all that comes, while it reads, until the other side is gone.
fn read_all(mut link: UnixStream, reads: &AtomicBool, ended: &AtomicBool) {
    let mut bytes = vec![0; 1 << 20];
    loop {
        if !reads.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(5));
        } else if !matches!(link.read(&mut bytes), Ok(1..)) {
            return ended.store(true, Ordering::Relaxed);
        }
    }
}
