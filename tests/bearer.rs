//! An app whose processes hand sockets and files to one another. Orders come over HTTP, and are passed on to whom they are
//! for.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::post;
use axum::{Json, Router};
use hatchery::{
    Agent, App, Attachment, Errand, Messenger, Peer, Received, Request, SendError, Subscription, Topic,
    Worker,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $type:ty } = $topic:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        struct $name { $field: $type }

        impl Topic for $name {
            const NAME: &'static str = $topic;
        }
    )*};
}

topics! {
    /// With what its name says.
    Goods { what: String } = "goods";
    /// The same topic, as somebody who is mistaken about it would send it.
    Mistaken { number: u8 } = "goods";
    /// What nobody follows.
    Unheard { what: String } = "unheard";
    /// What everybody follows, and nobody takes.
    Slow { what: String } = "slow";
}

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    /// Send something to somebody, on a topic, so many times.
    Hand { what: String, to: String, topic: String, count: u32, patience: Patience },
    /// Tell what came.
    Seen,
    /// Leave no more than so many free descriptors, or all again.
    Spare { free: Option<u64> },
    /// Drop what nobody takes.
    Forget,
}

/// How long to wait for room.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Patience {
    Endless,
    None,
    /// Give up as soon as there is anything to wait for.
    Cancel,
}

impl Topic for Order {
    const NAME: &'static str = "orders";
}

impl Request for Order {
    type Reply = Value;
}

#[derive(Debug, Clone)]
struct Bearer {
    name: String,
    messenger: Messenger,
    seen: Arc<Mutex<Vec<String>>>,
    slow: Arc<Mutex<Option<Subscription<Slow>>>>,
}

fn main() -> ExitCode {
    if std::env::var_os("HATCHERY_DAEMON").is_none() {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    App::new("bearer").agent(lead).worker(serve).run()
}

async fn lead(agent: Agent) -> hatchery::Result {
    let _bearer = Bearer::begin("agent".to_owned(), agent.messenger().clone())?;
    agent.ready().await?;
    let _ = agent.until_shutdown(std::future::pending::<()>()).await;
    Ok(())
}

async fn serve(worker: Worker) -> hatchery::Result {
    if Path::new(&format!("doomed.{}", worker.index())).exists() {
        return Err("doomed".into());
    }
    let bearer = Bearer::begin(format!("web.{}", worker.index()), worker.messenger().clone())?;
    Ok(worker.serve(Router::new().route("/order", post(pass_on)).with_state(bearer)).await?)
}

#[derive(Deserialize)]
struct By {
    by: String,
}

async fn pass_on(
    State(bearer): State<Bearer>,
    Query(by): Query<By>,
    Json(order): Json<Order>,
) -> Json<Value> {
    let answer = bearer.messenger.ask(&peer(&by.by), &order).await;
    Json(answer.unwrap_or_else(|error| json!({ "error": error.to_string() })))
}

fn peer(name: &str) -> Peer {
    match name.split_once('.') {
        Some((group, index)) => Peer::worker(group, index.parse().unwrap_or(u32::MAX)),
        None => Peer::Agent,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bearer {
    fn begin(name: String, messenger: Messenger) -> hatchery::Result<Self> {
        let slow = Arc::new(Mutex::new(Some(messenger.subscribe()?)));
        let bearer = Self { name, messenger, seen: Arc::default(), slow };
        tokio::spawn(bearer.clone().receive(bearer.messenger.subscribe()?));
        let answering = bearer.clone();
        bearer.messenger.answer(move |order: Order| {
            let bearer = answering.clone();
            async move { bearer.obey(order).await.map_err(|error| error.to_string()) }
        })?;
        Ok(bearer)
    }

    async fn receive(self, mut goods: Subscription<Goods>) {
        loop {
            let seen = match goods.next().await {
                Ok(received) => self.use_up(received).await.unwrap_or_else(|error| error.to_string()),
                Err(error) => error.to_string(),
            };
            lock(&self.seen).push(seen);
        }
    }

    async fn use_up(&self, mut received: Received<Goods>) -> hatchery::Result<String> {
        let name = self.name.clone();
        match &*received.what.clone() {
            "listener" => {
                let listener: tokio::net::TcpListener = received.take()?;
                tokio::spawn(async move {
                    while let Ok((mut stream, _)) = listener.accept().await {
                        let _ = stream.write_all(name.as_bytes()).await;
                    }
                });
            }
            "udp" => {
                let socket: tokio::net::UdpSocket = received.take()?;
                let (_, asker) = socket.recv_from(&mut [0; 8]).await?;
                socket.send_to(name.as_bytes(), asker).await?;
            }
            "file" => {
                let mut text = String::new();
                received.take::<File>()?.read_to_string(&mut text)?;
                return Ok(text);
            }
            "pair" => {
                let mut stream: tokio::net::UnixStream = received.take()?;
                stream.write_all(name.as_bytes()).await?;
            }
            "lost" => drop(received.take::<File>()?),
            "wrong" => return Err(received.take::<std::net::TcpStream>().err().ok_or("a stream")?.into()),
            // Whatever else came is closed with it.
            _ => {}
        }
        Ok(format!("{} ({} left)", received.what, received.attachments()))
    }

    async fn obey(&self, order: Order) -> hatchery::Result<Value> {
        match order {
            Order::Hand { what, to, topic, count, patience } => {
                let (mut sent, mut refused, mut told) = (0, 0, Value::Null);
                for _ in 0..count {
                    let (attachments, about) = pack(&what).await?;
                    told = about;
                    match self.hand(&what, &peer(&to), &topic, patience, attachments).await {
                        Ok(()) => sent += 1,
                        Err(SendError::Full(_)) => refused += 1,
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(json!({ "sent": sent, "refused": refused, "about": told }))
            }
            Order::Seen => Ok(json!(*lock(&self.seen))),
            Order::Spare { free } => {
                let limit = getrlimit(Resource::Nofile);
                // The lowest that is free.
                let next = File::open("/dev/null")?.as_raw_fd();
                let current = free.map_or(limit.maximum, |free| Some(u64::from(next.unsigned_abs()) + free));
                setrlimit(Resource::Nofile, Rlimit { current, ..limit })?;
                Ok(Value::Null)
            }
            Order::Forget => Ok(json!(lock(&self.slow).take().is_some())),
        }
    }

    async fn hand(
        &self,
        what: &str,
        to: &Peer,
        topic: &str,
        patience: Patience,
        attachments: Vec<Attachment>,
    ) -> Result<(), SendError> {
        let what = what.to_owned();
        match topic {
            "mistaken" => self.send(to, &Mistaken { number: 1 }, patience, attachments).await,
            "unheard" => self.send(to, &Unheard { what }, patience, attachments).await,
            "slow" => self.send(to, &Slow { what }, patience, attachments).await,
            _ => self.send(to, &Goods { what }, patience, attachments).await,
        }
    }

    async fn send<T: Topic>(
        &self,
        to: &Peer,
        message: &T,
        patience: Patience,
        attachments: Vec<Attachment>,
    ) -> Result<(), SendError> {
        match patience {
            Patience::Endless => self.messenger.send_with(to, message, attachments).await,
            Patience::None => self.messenger.try_send_with(to, message, attachments).await,
            Patience::Cancel => {
                let sending = self.messenger.send_with(to, message, attachments);
                let full = Errand { peer: to.clone(), topic: T::NAME };
                timeout(Duration::ZERO, sending).await.unwrap_or(Err(SendError::Full(full)))
            }
        }
    }
}

/// What goes by that name, and what there is to know of it here.
async fn pack(what: &str) -> hatchery::Result<(Vec<Attachment>, Value)> {
    Ok(match what {
        "listener" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?.to_string();
            (vec![listener.into()], json!(address))
        }
        "udp" => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let address = socket.local_addr()?.to_string();
            (vec![tokio::net::UdpSocket::from_std(nonblocking(socket)?)?.try_into()?], json!(address))
        }
        "file" => {
            File::create("attached")?.write_all(b"what is in it")?;
            (vec![File::open("attached")?.into()], Value::Null)
        }
        "pair" => {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let ours = tokio::net::UnixStream::from_std(ours)?;
            tokio::spawn(async move {
                let mut text = String::new();
                let mut ours = ours;
                let _ = tokio::io::AsyncReadExt::read_to_string(&mut ours, &mut text).await;
                let _ = fs::write("over-the-pair", text);
            });
            (vec![theirs.into()], Value::Null)
        }
        "wrong" => (vec![UdpSocket::bind("127.0.0.1:0")?.into()], Value::Null),
        "many" => {
            let null = || File::open("/dev/null").map(Attachment::from);
            ((0..17).map(|_| null()).collect::<Result<_, _>>()?, Value::Null)
        }
        _ => (vec![File::open("/dev/null")?.into(), File::open("/dev/null")?.into()], Value::Null),
    })
}

fn nonblocking(socket: UdpSocket) -> std::io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    Ok(socket)
}
