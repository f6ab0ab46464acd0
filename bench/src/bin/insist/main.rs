//! Clients that ask a server on and on, and tell what became of every request: `insist PORT keep-alive|new CLIENTS`.
//! The pid of each process that answers is printed when it does so first. They end when their input does; then what
//! they counted is printed as one JSON object.

mod answer;
mod census;
mod client;
mod tally;

use std::error::Error;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use census::Census;
use client::{Client, Manner};
use tally::Tally;

const USAGE: &str = "usage: insist PORT keep-alive|new CLIENTS";

/// Set when the input has ended: who asks now asks no more, but waits for its answer.
static ENOUGH: AtomicBool = AtomicBool::new(false);

static CENSUS: Census = Census::new();

struct Wish {
    port: u16,
    manner: Manner,
    clients: usize,
}

fn main() -> ExitCode {
    let Some(wish) = read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: port {}: {error}", wish.port);
            ExitCode::FAILURE
        }
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Option<Wish> {
    let port = words.next()?.parse().ok()?;
    let manner = match words.next()?.as_str() {
        "keep-alive" => Manner::KeepAlive,
        "new" => Manner::New,
        _ => return None,
    };
    Some(Wish { port, manner, clients: words.next()?.parse().ok()? })
}

fn run(wish: &Wish) -> Result<(), Box<dyn Error>> {
    thread::spawn(|| {
        // An input that cannot be read has ended, too.
        drop(io::stdin().read_to_end(&mut Vec::new()));
        ENOUGH.store(true, Ordering::Relaxed);
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tally = runtime.block_on(ask_all(wish))?;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}

async fn ask_all(wish: &Wish) -> Result<Tally, Box<dyn Error>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wish.port));
    let mut clients = JoinSet::new();
    for _ in 0..wish.clients {
        clients.spawn(Client::new(address, wish.manner).ask_until(&ENOUGH, &CENSUS));
    }
    let mut sum = Tally::default();
    while let Some(tally) = clients.join_next().await {
        sum.add(&tally?);
    }
    Ok(sum)
}
