//! What the connections of one server share: its router and settings, how many they are, and whether they must leave.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::crowd::{Admission, Crowd, Crowded};
use super::drain::Terms;
use super::phase::PhaseCell;
use super::protocols::Protocols;
use super::trust::trusts;
use super::window::Window;
use super::{Gauges, HttpSettings, Peer, Readiness};

/// How far the server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Stage {
    Serving,
    Draining,
    /// Draining for a successor's sake, when the stop came.
    Hurried,
    Cut,
}

/// A drain's window, with its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closing {
    begun: Instant,
    window: Window,
}

impl Closing {
    /// When the connection of this number, which waits since `since`, is closed.
    pub(super) fn moment(&self, number: u64, since: Instant) -> Instant {
        (self.begun + self.window.moment(number)).max(since + self.window.grace())
    }
}

/// What the connections of one server share.
pub(super) struct House {
    pub(super) router: Router,
    pub(super) settings: HttpSettings,
    pub(super) gauges: Arc<Gauges>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) protocols: Protocols,
    crowd: Arc<Crowd>,
    open: AtomicUsize,
    stage: AtomicU8,
    closing: OnceLock<Closing>,
    /// What takes its place when a stop comes meanwhile.
    hurried: OnceLock<Closing>,
    stage_changed: Arc<Notify>,
    left: Notify,
}

impl House {
    pub(super) fn new(
        router: Router,
        settings: HttpSettings,
        gauges: Arc<Gauges>,
        readiness: Arc<Readiness>,
    ) -> Self {
        let protocols = Protocols::new(&settings);
        Self {
            // Turns every handler into a route now; otherwise axum does it once per request.
            router: router.with_state(()),
            settings,
            gauges,
            readiness,
            protocols,
            crowd: Arc::default(),
            open: AtomicUsize::new(0),
            stage: AtomicU8::new(Stage::Serving as u8),
            closing: OnceLock::new(),
            hurried: OnceLock::new(),
            stage_changed: Arc::default(),
            left: Notify::new(),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            2 => Stage::Hurried,
            _ => Stage::Cut,
        }
    }

    /// Begins to drain, and returns how long that may take.
    pub(super) fn drain(&self, terms: Terms) -> Duration {
        self.leave(terms, &self.closing, Stage::Draining)
    }

    /// A stop came while it drains: idle connections are not left alone any longer than then.
    pub(super) fn hurry(&self, terms: Terms) -> Duration {
        self.leave(terms, &self.hurried, Stage::Hurried)
    }

    fn leave(&self, terms: Terms, closing: &OnceLock<Closing>, stage: Stage) -> Duration {
        let patience = terms.patience.unwrap_or(self.settings.drain_timeout);
        let window = Window::new(terms.occasion, self.settings.idle_grace, patience);
        let _ = closing.set(Closing { begun: Instant::now(), window });
        self.advance(stage);
        patience
    }

    /// What becomes of idle connections, once the server drains.
    pub(super) fn closing(&self) -> Option<&Closing> {
        self.hurried.get().or_else(|| self.closing.get())
    }

    pub(super) fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.stage_changed.notify_waiters();
    }

    /// Rings at every change of the stage. Look at the stage after the first poll: a change before it is not told.
    pub(super) fn stage_bell(&self) -> &Arc<Notify> {
        &self.stage_changed
    }

    pub(super) async fn reached(&self, stage: Stage) {
        loop {
            let changed = self.stage_changed.notified();
            if self.stage() >= stage {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a client's connection, where clients are limited; `Err` when it holds as many as it may.
    pub(super) fn admit(&self, peer: Peer) -> Result<Option<Admission>, Crowded> {
        let limit = self.settings.max_connections_per_client;
        match peer.map(|peer| peer.ip()) {
            Some(address) if limit > 0 && !trusts(&self.settings.trusted_proxies, address) => {
                self.crowd.admit(address, limit).map(Some).ok_or(Crowded)
            }
            _ => Ok(None),
        }
    }

    /// Whether so many more may come; where there can never be so many, whether nobody else is there.
    pub(super) fn has_room(&self, count: usize) -> bool {
        let most = self.settings.max_connections.get();
        self.open() + count.min(most) <= most
    }

    pub(super) async fn room(&self, count: usize) {
        self.until(|| self.has_room(count)).await;
    }

    pub(super) async fn empty(&self) {
        self.until(|| self.open() == 0).await;
    }

    /// Waits until one more connection has left.
    pub(super) async fn one_left(&self) {
        self.left.notified().await;
    }

    async fn until(&self, fact: impl Fn() -> bool) {
        // Mostly it is a fact already, and there is nothing to listen for.
        while !fact() {
            let left = self.left.notified();
            if fact() {
                return;
            }
            left.await;
        }
    }

    /// Counts one more connection, and numbers it.
    fn enter(&self) -> u64 {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.gauges.connections.fetch_add(1, Ordering::Relaxed);
        self.gauges.accepted.fetch_add(1, Ordering::Relaxed)
    }

    fn exit(&self) {
        self.gauges.connections.fetch_sub(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.left.notify_waiters();
    }
}

/// Cuts what is left when the server goes away, also when its future is dropped half-way.
pub(super) struct CutOnDrop(pub(super) Arc<House>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.advance(Stage::Cut);
    }
}

/// A connection counts for as long as it holds this.
pub(super) struct Stay {
    house: Arc<House>,
    _admission: Option<Admission>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.house.exit();
    }
}

/// One connection's place in the house.
pub(super) struct Seat {
    pub(super) house: Arc<House>,
    pub(super) peer: Peer,
    /// Counts the connections of the server.
    pub(super) number: u64,
    /// The client that a trusted proxy named before the first request.
    pub(super) client: OnceLock<IpAddr>,
    pub(super) phase: PhaseCell,
    /// Whether the body of the last request was left unread.
    pub(super) unread: AtomicBool,
    /// Whether the body of the last request came too slowly.
    pub(super) slow: AtomicBool,
}

impl Seat {
    /// The address of the peer; one at a Unix socket stands for this machine.
    pub(super) fn hop(&self) -> IpAddr {
        self.peer.map_or(IpAddr::from(Ipv4Addr::LOCALHOST), |peer| peer.ip())
    }

    /// Whether the peer may speak for others.
    pub(super) fn peer_is_trusted(&self) -> bool {
        trusts(&self.house.settings.trusted_proxies, self.hop())
    }

    /// Takes a place; it is given back when the stay is dropped.
    pub(super) fn take(house: Arc<House>, peer: Peer, admission: Option<Admission>) -> (Arc<Self>, Stay) {
        let number = house.enter();
        let stay = Stay { house: house.clone(), _admission: admission };
        let seat = Arc::new(Self {
            client: OnceLock::new(),
            house,
            peer,
            number,
            phase: PhaseCell::new(),
            unread: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        });
        (seat, stay)
    }
}
