//! The loop's side of the thread that accepts in the master: orders go there, and nothing comes back but whether it is
//! still there, so that neither ever waits for the other.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::desk::Desk;
use super::door::{Door, Opening};
use super::event::ChildId;
use super::order::Order;
use crate::bus::codec;
use crate::bus::control::Pulse;
use crate::bus::frame::{Frame, Kind};
use crate::handover::{Handover, MAX_DOORS};

/// How many orders may wait. There are a few for each child, and the thread takes them at once: with so many it hangs.
/// Places cost memory only while orders wait in them.
const ORDERS: usize = 4096;

/// The loop's side. Dropping it ends the thread and closes its listeners.
#[derive(Debug)]
pub(super) struct Dispatcher {
    orders: mpsc::Sender<Order>,
    wake: Arc<OwnedFd>,
    thread: JoinHandle<()>,
    /// Whether an order found no room.
    overrun: AtomicBool,
}

impl Dispatcher {
    /// Begins to accept; connections wait until somebody is ready.
    ///
    /// # Errors
    /// When there are no more descriptors or threads, or more listeners than can be told apart.
    pub(super) fn start(doors: Vec<Door>, openings: Vec<Opening>) -> io::Result<Self> {
        if doors.len() > MAX_DOORS {
            let problem =
                format!("the master can accept from {MAX_DOORS} listeners, not from {}", doors.len());
            return Err(io::Error::other(problem + "; give some the policy `shared`"));
        }
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (orders, inbox) = mpsc::channel(ORDERS);
        let desk = Desk::new(doors, openings, Arc::clone(&wake), inbox)?;
        let thread = thread::Builder::new().name("dispatch".to_owned()).spawn(move || desk.run())?;
        Ok(Self { orders, wake, thread, overrun: AtomicBool::new(false) })
    }

    /// A worker was welcomed; returns the end that it gets.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub(super) fn join(&self, id: ChildId, group: &str, index: u32) -> io::Result<Arc<OwnedFd>> {
        let way = Handover::new()?;
        let end = way.receiving_end();
        self.order(Order::Join { id, group: group.to_owned(), index, way });
        Ok(end)
    }

    /// Somebody may come by this socket, too.
    pub(super) fn open(&self, opening: Opening) {
        self.order(Order::Open(opening));
    }

    /// A worker said something: perhaps that it can take connections, or how many it has, or that it takes no more.
    pub(super) fn heard(&self, from: ChildId, frame: &Frame) {
        match frame.kind() {
            Kind::Ready => self.order(Order::Ready(from, frame.number())),
            Kind::Pulse => {
                if let Ok(pulse) = codec::decode::<Pulse>("a pulse", frame.payload()) {
                    self.order(Order::Reported(from, pulse.connections));
                }
            }
            Kind::Leaving => self.leave(from),
            _ => {}
        }
    }

    /// It is asked to leave, or does so unasked: what it has not received goes to others, if there are any.
    pub(super) fn leave(&self, id: ChildId) {
        self.order(Order::Leave(id));
    }

    /// It has ended: what it has not received goes to others, or waits for them.
    pub(super) fn gone(&self, id: ChildId) {
        self.order(Order::Gone(id));
    }

    /// Why nobody accepts any more, if that is so: the thread has panicked, or takes no orders.
    pub(super) fn failure(&self) -> Option<&'static str> {
        if self.thread.is_finished() {
            Some("the thread that accepts connections has ended, because it panicked")
        } else {
            let overrun = self.overrun.load(Relaxed);
            overrun.then_some("the thread that accepts connections hangs: it takes no orders any more")
        }
    }

    fn order(&self, order: Order) {
        // What a worker has is said again with its next sign of life.
        let is_repeated = matches!(order, Order::Reported(..));
        if let Err(TrySendError::Full(_)) = self.orders.try_send(order)
            && !is_repeated
        {
            self.overrun.store(true, Relaxed);
        }
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.order(Order::Close);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::balance::{Chooser, Policy};
    use crate::handover::{BUNDLE, Message, peek, receive};

    const IDS: [ChildId; 2] = [ChildId(1), ChildId(2)];

    /// A dispatcher of one listener, and as many workers as `ends`, which are ready.
    struct Crewed<const N: usize> {
        dispatcher: Dispatcher,
        ends: [Arc<OwnedFd>; N],
        listener: TcpListener,
    }

    impl<const N: usize> Crewed<N> {
        fn start(policy: Policy) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let opening = Opening::new(Arc::new(listener.try_clone().unwrap().into()), 0, None).unwrap();
            let (chooser, peek_timeout) = (Chooser::new(policy, Vec::new()), Duration::from_secs(3600));
            let door = Door { group: "web".to_owned(), chooser, peek_timeout, by_turns: Arc::default() };
            let dispatcher = Dispatcher::start(vec![door], vec![opening]).unwrap();
            let ends = std::array::from_fn(|nth| dispatcher.join(IDS[nth], "web", nth as u32).unwrap());
            for id in &IDS[..N] {
                dispatcher.heard(*id, &Frame::new(Kind::Ready, BUNDLE as u64, Vec::new()));
            }
            Self { dispatcher, ends, listener }
        }

        fn connect(&self, count: usize) -> Vec<TcpStream> {
            let address = self.listener.local_addr().unwrap();
            (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
        }

        /// Until nobody waits in the kernel's queue.
        fn until_all_are_accepted(&self) {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let at_once = Timespec::default();
            let waits = || poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&at_once)) == Ok(1);
            until("all are accepted", || !waits());
        }
    }

    fn until(fact: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "not yet: {fact}");
            thread::yield_now();
        }
    }

    /// How many connections come by this end until the master closes the way.
    fn come_by(end: &OwnedFd) -> usize {
        let mut count = 0;
        until("the way is closed", || match receive(end) {
            Ok(Message::Connections { came, lost: 0 }) => {
                count += came.len();
                false
            }
            Ok(Message::End) => true,
            _ => false,
        });
        count
    }

    #[test]
    fn a_stop_hands_over_also_what_fills_no_bundle() {
        let crewed = Crewed::<1>::start(Policy::UrlHash);
        // They say nothing, so that the stop finds them all.
        let _clients = crewed.connect(BUNDLE + 3);
        crewed.until_all_are_accepted();
        let Crewed { dispatcher, ends: [end], .. } = crewed;
        drop(dispatcher);
        assert_eq!(come_by(&end), BUNDLE + 3);
    }

    #[test]
    fn a_stop_takes_back_what_lies_with_a_worker_that_hangs() {
        let crewed = Crewed::<2>::start(Policy::IpHash);
        let _clients = crewed.connect(5);
        crewed.until_all_are_accepted();
        until("they are handed over", || crewed.ends.iter().any(|end| peek(end).is_ok()));
        let Crewed { dispatcher, ends, .. } = crewed;
        drop(dispatcher);
        let [working, _hanging] =
            if peek(&ends[0]).is_ok() { [&ends[1], &ends[0]] } else { [&ends[0], &ends[1]] };
        assert_eq!(come_by(working), 5);
    }

    #[test]
    fn a_stop_hands_over_what_found_no_place_as_soon_as_there_is_one() {
        const COUNT: usize = 140;
        let attempt = || {
            let crewed = Crewed::<2>::start(Policy::RoundRobin);
            let _clients = crewed.connect(COUNT);
            crewed.until_all_are_accepted();
            let Crewed { dispatcher, ends: [_dead, end], .. } = crewed;
            // More than may lie with the other one.
            dispatcher.gone(IDS[0]);
            drop(dispatcher);
            come_by(&end)
        };
        // It is waited for half a second, in which a busy machine may have no time for this thread.
        let failed = (0..4).map(|_| attempt()).take_while(|came| *came != COUNT);
        let failed = failed.inspect(|came| eprintln!("an attempt failed: {came} of {COUNT} came")).count();
        assert!(failed < 4, "every attempt failed");
    }

    #[test]
    fn a_thread_that_has_panicked_is_a_failure() {
        let dispatcher = Dispatcher::start(Vec::new(), Vec::new()).unwrap();
        assert_eq!(dispatcher.failure(), None);
        let socket = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap().into());
        // There is no such door, as only a mistake of ours could say.
        dispatcher.open(Opening::new(socket, 7, None).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while dispatcher.failure().is_none() {
            assert!(Instant::now() < deadline, "the thread goes on");
            thread::yield_now();
        }
    }

    /// A dispatcher whose thread takes no orders until it is unparked, and ends then.
    fn parked() -> (Dispatcher, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(1);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let thread = thread::spawn(thread::park);
        (Dispatcher { orders, wake, thread, overrun: AtomicBool::new(false) }, inbox)
    }

    #[test]
    fn one_that_leaves_unasked_is_handed_nothing_more() {
        let (dispatcher, mut inbox) = parked();
        dispatcher.heard(IDS[1], &Frame::new(Kind::Leaving, 0, Vec::new()));
        assert!(matches!(inbox.try_recv(), Ok(Order::Leave(id)) if id == IDS[1]));
        dispatcher.thread.thread().unpark();
    }

    #[test]
    fn orders_are_bounded() {
        let (dispatcher, _inbox) = parked();
        for _ in 0..3 {
            dispatcher.order(Order::Reported(ChildId(1), 1));
        }
        assert_eq!(dispatcher.failure(), None);
        dispatcher.gone(ChildId(1));
        assert!(dispatcher.failure().is_some_and(|failure| failure.contains("hangs")));
        dispatcher.thread.thread().unpark();
    }
}
