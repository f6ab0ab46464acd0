//! Serving HTTP in a worker: an accept loop of our own over hyper, with an axum router, time-outs, limits and a drain.
//!
//! ```text
//! porter (a thread per listener) calls
//!           ▼
//! serve ─▶ accept (a loop per listener) ─▶ connection (a task each) ─▶ answer ─▶ the author's router
//!                                             │ attend, streams: HTTP/1 by default, HTTP/2 by its preface
//!                                             │ handshake, line: TLS, where the listener speaks it
//!                                             │ alarm: the phase lasted too long
//!                                             │ watched, body: note the phase as bytes go through
//!             house: what all of them share, and the stage: serving, draining, cut
//! ```
//!
//! What the master accepts comes by `handed` instead. Binding sockets, and telling the master, are left to others.

mod accept;
mod alarm;
mod answer;
mod attend;
mod bell;
mod body;
mod client;
mod clock;
mod connection;
mod crowd;
mod drain;
mod gauges;
mod handed;
mod handshake;
mod house;
mod inherited;
mod line;
mod listen;
mod listener;
mod mode;
mod pace;
mod phase;
mod porter;
mod preface;
mod protocols;
mod proxied;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod trust;
mod watched;
mod window;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use accept::is_passing;
pub(crate) use bell::Bell;
pub use client::ClientAddress;
pub(crate) use drain::{Drain, Drained};
pub(crate) use gauges::{Gauges, Readiness, Standing};
pub(crate) use handed::bundle;
pub(crate) use inherited::{Door, Entry, take_over};
pub use listen::Listen;
pub(crate) use listen::{UDP, UNIX};
pub use mode::SocketMode;
pub use settings::HttpSettings;
pub use trust::{NoAddress, ProxyHeader, TrustedProxy};
pub(crate) use window::Occasion;

use house::{CutOnDrop, House, Stage};
use listener::Peer;
use porter::Porter;

/// How long connections that were told to go may take for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves `router` on `doors` until `drain` begins and everything in flight is finished or cut.
///
/// While draining no connection is accepted, and every answer carries `Connection: close`. Idle connections get one more
/// answer; those that do not ask for it are closed after a while, the sooner if there is no successor.
/// Upgraded connections count as in flight until their handler drops them. Dropping the future cuts everything.
///
/// # Errors
/// When there are no descriptors or threads for the porters.
pub(crate) async fn serve(
    doors: Vec<Door>,
    router: Router,
    settings: &HttpSettings,
    gauges: Arc<Gauges>,
    readiness: Arc<Readiness>,
    drain: Drain,
) -> io::Result<Drained> {
    let house = Arc::new(House::new(router, settings.clone(), gauges, readiness.clone()));
    let _guard = CutOnDrop(house.clone());
    let mut watches = JoinSet::new();
    for door in doors {
        match door {
            Door::Shared(listener) => {
                let porter = Porter::start(Arc::clone(&listener.socket), listener.bell.clone())?;
                watches.spawn(accept::run(listener, porter, house.clone()));
            }
            Door::Handed(handed) => {
                watches.spawn(accept::take_up(handed, house.clone(), drain.clone()));
            }
        }
    }
    let terms = drain.begun().await;
    readiness.set(Standing::Draining);
    let patience = house.drain(terms);
    let finished = async {
        while watches.join_next().await.is_some() {}
        house.empty().await;
    };
    let late_stop = async {
        let patience = house.hurry(drain.begun_for_a_stop().await);
        sleep(patience).await;
    };
    let cut = tokio::select! {
        biased;
        () = finished => 0,
        () = sleep(patience) => house.open(),
        () = late_stop, if terms.occasion == Occasion::Succession => house.open(),
    };
    house.advance(Stage::Cut);
    // Bounded, because an upgraded connection is told only when its handler reads.
    let _ = timeout(FAREWELL, house.empty()).await;
    Ok(Drained { cut })
}
