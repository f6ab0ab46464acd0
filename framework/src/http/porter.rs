//! Waits for connections in the loop's place: a thread of which the kernel wakes one in the whole group, and which
//! calls its loop. What nobody has accepted stays in the kernel's queue, for whoever comes first.
//!
//! The listener is in the thread's epoll only while the loop waits: it is taken out at every call and put in again
//! behind all others, so that idle workers take turns. A loop that does not follow its call has the bell rung.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::bell::Bell;

/// How long a loop may take to follow a call before others are called.
const PATIENCE: Duration = Duration::from_millis(10);

/// How often to look by oneself: a process that was stopped just when it was woken takes its call with it.
const LOOK: Duration = Duration::from_millis(500);

/// It calls, waits and returns; nothing goes deep.
const STACK: usize = 128 << 10;

const LISTENER: u64 = 0;
const BELL: u64 = 1;
const END: u64 = 2;

/// The loop waits for a call.
const WAITING: u8 = 0;
/// The loop was called and has not come yet.
const CALLED: u8 = 1;
/// The loop is accepting.
const AT_THE_DOOR: u8 = 2;

/// The loop's side of its porter. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Porter {
    post: Arc<Post>,
}

/// What loop and thread share.
#[derive(Debug)]
struct Post {
    listener: Arc<OwnedFd>,
    epoll: OwnedFd,
    end: OwnedFd,
    bell: Bell,
    state: AtomicU8,
    call: Notify,
}

impl Porter {
    /// Starts the thread; it waits for a connection from the first [`called`](Self::called) on.
    ///
    /// # Errors
    /// When there are no more descriptors or threads.
    pub(super) fn start(listener: Arc<OwnedFd>, bell: Bell) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        // Edge-triggered, because nobody reads it: every ring is one event.
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        let (state, call) = (AtomicU8::new(AT_THE_DOOR), Notify::new());
        let post = Arc::new(Post { listener, epoll, end, bell, state, call });
        let thread = thread::Builder::new().name("accept".to_owned()).stack_size(STACK);
        thread.spawn({
            let post = Arc::clone(&post);
            move || post.watch()
        })?;
        Ok(Self { post })
    }

    /// Waits until there may be a connection to accept, at once if there is one already. Cancel safe.
    ///
    /// # Errors
    /// When the kernel does not watch the listener.
    pub(super) async fn called(&self) -> io::Result<()> {
        self.post.state.store(WAITING, SeqCst);
        self.post.put_in()?;
        self.post.call.notified().await;
        self.post.state.store(AT_THE_DOOR, SeqCst);
        Ok(())
    }

    /// Leaves the connections that wait to others.
    pub(super) fn pass_on(&self) {
        self.post.bell.ring();
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.post.end, &1_u64.to_ne_bytes());
        self.post.take_out();
        // We may have been woken for a connection that we do not take any more.
        self.pass_on();
    }
}

impl Post {
    /// Puts the listener behind those of all other processes; what waits already is told at once.
    fn put_in(&self) -> io::Result<()> {
        let (data, exclusive) = (EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::EXCLUSIVE);
        match epoll::add(&self.epoll, &self.listener, data, exclusive) {
            // A ring of the bell came in between: it is in, and the loop was called.
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_out(&self) {
        let _ = epoll::delete(&self.epoll, &self.listener);
    }

    /// The thread: calls the loop until it is told to end.
    fn watch(&self) {
        let mut overdue = None;
        loop {
            match self.wait(overdue) {
                Some(END) => return,
                Some(_) => overdue = self.call().or(overdue),
                None if overdue.is_some() => {
                    if self.state.load(SeqCst) == CALLED {
                        self.bell.ring();
                    }
                    overdue = None;
                }
                None if self.somebody_waits() => overdue = self.call(),
                None => {}
            }
        }
    }

    /// Calls the loop, if it waits; returns until when it should have come.
    fn call(&self) -> Option<Instant> {
        self.take_out();
        self.state.compare_exchange(WAITING, CALLED, SeqCst, SeqCst).ok()?;
        self.call.notify_one();
        Some(Instant::now() + PATIENCE)
    }

    fn somebody_waits(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut listener = [PollFd::new(&*self.listener, PollFlags::IN)];
        self.state.load(SeqCst) == WAITING && poll(&mut listener, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// The next event, or nothing when the deadline has passed, or without one, when it is time to look.
    fn wait(&self, deadline: Option<Instant>) -> Option<u64> {
        let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        // The only error there can be is an interruption.
        let count = epoll::wait(self.epoll.as_fd(), &mut events[..], Some(&timeout)).unwrap_or(0);
        (count > 0).then(|| events[0].data.u64())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::pin::{Pin, pin};

    use super::*;

    struct Door {
        listener: Arc<OwnedFd>,
        bell: Bell,
    }

    impl Door {
        fn open() -> (Self, impl Fn() -> TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let door = Self { listener: Arc::new(listener.into()), bell: Bell::new().unwrap() };
            (door, move || TcpStream::connect(address).unwrap())
        }

        fn porter(&self) -> Porter {
            Porter::start(Arc::clone(&self.listener), self.bell.clone()).unwrap()
        }

        fn accept(&self) {
            rustix::net::accept(&self.listener).unwrap();
        }
    }

    /// Lets a loop begin to wait.
    async fn begin<F: Future<Output = io::Result<()>>>(waiting: &mut Pin<&mut F>) {
        tokio::select! {
            biased;
            _ = waiting => panic!("it was called"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn those_who_wait_take_turns() {
        let (door, connect) = Door::open();
        let porters = [door.porter(), door.porter(), door.porter()];
        let [mut a, mut b, mut c] = porters.each_ref().map(|porter| Box::pin(porter.called()));
        for _ in 0..3 {
            for turn in [&mut a, &mut b, &mut c] {
                begin(&mut turn.as_mut()).await;
            }
            for (turn, porter) in [&mut a, &mut b, &mut c].into_iter().zip(&porters) {
                let _client = connect();
                turn.as_mut().await.unwrap();
                door.accept();
                turn.set(porter.called());
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_follow_the_call_has_the_others_called() {
        let (door, connect) = Door::open();
        let (busy, idle) = (door.porter(), door.porter());
        let (mut busy, mut idle) = (pin!(busy.called()), pin!(idle.called()));
        begin(&mut busy).await;
        begin(&mut idle).await;
        let _client = connect();
        idle.await.unwrap();
    }

    #[tokio::test]
    async fn who_leaves_has_the_others_called() {
        let (door, connect) = Door::open();
        let (leaving, staying) = (door.porter(), door.porter());
        begin(&mut pin!(leaving.called())).await;
        let mut staying = pin!(staying.called());
        begin(&mut staying).await;
        let _client = connect();
        drop(leaving);
        staying.await.unwrap();
    }
}
