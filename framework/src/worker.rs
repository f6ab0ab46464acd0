//! A worker as the author's function sees it: its place in the cluster, the states it follows, and serving.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use futures_util::{Stream, StreamExt as _};
use rustix::net::{SocketType, sockopt};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::Topic;
use crate::bus::control::Pulse;
use crate::cpu::{Cancelled, CpuError, CpuPool};
use crate::http::{self, Gauges, Readiness, Standing};
use crate::keyring::Keyring;
use crate::messenger::Messenger;
use crate::process::{MasterGone, Process};
use crate::published::{self, PublishError};
use crate::status::JobFigures;

/// The worker's side of the cluster. Clones are the same worker.
#[derive(Debug, Clone)]
pub struct Worker {
    process: Process,
    messenger: Messenger,
    shared: Arc<Shared>,
}

impl Deref for Worker {
    type Target = Messenger;

    fn deref(&self) -> &Messenger {
        &self.messenger
    }
}

#[derive(Debug)]
struct Shared {
    /// The sockets and their bell, until they are served.
    sockets: Mutex<Option<Vec<Arc<OwnedFd>>>>,
    udp: Vec<Arc<OwnedFd>>,
    cpu: CpuPool,
    gauges: Arc<Gauges>,
    readiness: Arc<Readiness>,
}

/// Serving could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The worker serves already.
    #[error("this worker serves already: `serve` can be called once")]
    Twice,
    /// The group has no listeners.
    #[error(
        "the group {0} has nowhere to listen: set groups.{0}.listen, or call `ready` in place of `serve`"
    )]
    Nowhere(String),
    /// An inherited socket cannot be used.
    #[error("an inherited socket cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// A listener speaks TLS, and the certificates cannot be used.
    #[error("{0}")]
    Tls(String),
    /// The master is gone.
    #[error(transparent)]
    MasterGone(#[from] MasterGone),
}

impl Worker {
    pub(crate) fn new(process: Process, sockets: Vec<Arc<OwnedFd>>) -> Self {
        let launch = process.launch();
        let is_udp = |socket: &Arc<OwnedFd>| sockopt::socket_type(socket) == Ok(SocketType::DGRAM);
        let (udp, sockets) = sockets.into_iter().partition(is_udp);
        let shared = Shared {
            udp,
            sockets: Mutex::new(Some(sockets)),
            cpu: CpuPool::new(&launch.cpu, launch.workers),
            gauges: Arc::default(),
            readiness: Arc::default(),
        };
        Self { messenger: Messenger::new(process.clone()), process, shared: Arc::new(shared) }
    }

    /// The group that this worker belongs to, such as `web`.
    #[must_use]
    pub fn group(&self) -> &str {
        self.process.role().slot.group()
    }

    /// The index in the group, from 0; a replacement gets its predecessor's.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.process.role().slot.index()
    }

    /// The generation that spawned this worker, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.process.role().generation
    }

    /// Publishes this worker's own value of `T`, in place of the one before, to the agent, which
    /// [gathers](crate::Agent::gather) those of all workers. It stands until this process ends. An agent that is slow misses
    /// values in between, never the last. Cancel safe.
    ///
    /// # Errors
    /// When the name is reserved, the value cannot be encoded, all that this worker contributes passes 1 MiB, or the
    /// master is gone.
    pub async fn contribute<T: Topic>(&self, value: &T) -> Result<(), PublishError> {
        published::contribute(&self.process, value).await
    }

    /// Says that this worker can do its work; [`serve`](Self::serve) says it by itself. The second call does
    /// nothing.
    ///
    /// # Errors
    /// When the master is gone.
    pub async fn ready(&self) -> Result<(), MasterGone> {
        self.process.ready().await
    }

    /// Asks for a successor, for this reason: it is started now, or after a delay if this slot's workers ask
    /// often. When it is ready, this worker is asked to finish and leave; until then it should do its work as well
    /// as it can. The second call does nothing.
    ///
    /// # Errors
    /// When the master is gone.
    pub async fn retire(&self, reason: &str) -> Result<(), MasterGone> {
        self.process.retire(reason).await
    }

    /// Does heavy work on a thread of this worker's pool, so that its loop goes on serving. The job waits in a
    /// bounded queue (`[cpu]`); when the future is dropped, because the client is gone, a job that waits is given
    /// up.
    ///
    /// # Errors
    /// When the queue is full, the job waited too long, or it panicked; all are answers, so that a handler can use
    /// `?`.
    pub fn cpu<T, F>(&self, job: F) -> impl Future<Output = Result<T, CpuError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.shared.cpu.run(job)
    }

    /// Like [`cpu`](Self::cpu), for a job that looks again and again whether anybody still waits for it.
    ///
    /// # Errors
    /// See [`cpu`](Self::cpu).
    pub fn cpu_with<T, F>(&self, job: F) -> impl Future<Output = Result<T, CpuError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Cancelled) -> T + Send + 'static,
    {
        self.shared.cpu.run_with(job)
    }

    /// Waits until this worker should finish and leave. Endless answers should end then. Cancel safe.
    pub async fn draining(&self) {
        self.process.shutdown().cancelled().await;
    }

    /// Does `work` unless this worker should leave first: `None` then, and `work` is dropped where it waits.
    pub async fn until_shutdown<F: Future>(&self, work: F) -> Option<F::Output> {
        self.process.shutdown().run_until_cancelled(work).await
    }

    /// The same stream, but it ends when this worker should finish and leave: for answers without an end of their own,
    /// such as server-sent events. Their clients see a whole answer and ask anew.
    pub fn until_draining<S: Stream>(&self, stream: S) -> impl Stream<Item = S::Item> + use<S> {
        stream.take_until(self.process.shutdown().clone().cancelled_owned())
    }

    /// Serves `router` on the app's listeners, says ready, and returns when the worker has drained: requests
    /// in flight are finished, up to the deadline.
    ///
    /// # Errors
    /// When the worker serves already, a socket or a certificate cannot be used, or the master is gone.
    pub async fn serve(&self, router: Router) -> Result<(), ServeError> {
        let sockets = self.take_sockets()?;
        let keyring =
            Keyring::open(&self.process).await.map_err(|error| ServeError::Tls(error.to_string()))?;
        let doors = http::take_over(sockets, keyring.entries(&self.process))?;
        // Ends when it is dropped.
        let _following = AbortOnDropHandle::new(tokio::spawn(keyring.follow()));
        let Shared { gauges, readiness, .. } = &*self.shared;
        let drain = self.process.drain().clone();
        let settings = &self.process.launch().http;
        let (counted, standing) = (Arc::clone(gauges), Arc::clone(readiness));
        let serving = async {
            http::serve(doors, router, settings, counted, standing, drain).await.map_err(ServeError::Socket)
        };
        let telling = async {
            self.ready().await?;
            // A worker that leaves before the cluster is ready stays draining.
            self.cluster_ready().await;
            if !self.process.shutdown().is_cancelled() {
                readiness.set(Standing::Ready);
            }
            Ok(())
        };
        let warning = async {
            let announced = self.process.announced().cancelled();
            if self.process.shutdown().run_until_cancelled(announced).await.is_some() {
                // Load balancers hear of it, and nothing else changes yet.
                readiness.set(Standing::Draining);
            }
            Ok(())
        };
        // Serving ends without having been asked to only when it fails, and then at once.
        let (drained, (), ()) = tokio::try_join!(serving, telling, warning)?;
        if drained.cut > 0 {
            tracing::warn!("{} connections were cut at the deadline for draining", drained.cut);
        }
        Ok(())
    }

    /// The UDP sockets of the group, by the names of their listeners. All workers of the group share each of them: a
    /// datagram goes to one, whoever receives first. What nobody has received waits in the kernel, also while a worker is
    /// replaced. To be called inside the runtime; it can be called again.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn udp_sockets(&self) -> io::Result<BTreeMap<String, UdpSocket>> {
        let groups = &self.process.launch().groups;
        let own = groups.iter().find(|group| group.name == self.group());
        let names = own.map_or(&[][..], |group| &group.udp);
        let open = |(name, socket): (&String, &Arc<OwnedFd>)| {
            let socket = std::net::UdpSocket::from(socket.as_fd().try_clone_to_owned()?);
            socket.set_nonblocking(true)?;
            Ok((name.clone(), UdpSocket::from_std(socket)?))
        };
        names.iter().zip(&self.shared.udp).map(open).collect()
    }

    fn take_sockets(&self) -> Result<Vec<Arc<OwnedFd>>, ServeError> {
        let sockets = self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sockets = sockets.ok_or(ServeError::Twice)?;
        if sockets.is_empty() {
            return Err(ServeError::Nowhere(self.group().to_owned()));
        }
        Ok(sockets)
    }

    /// The figures of this moment.
    pub(crate) fn figures(&self) -> Pulse {
        let gauges = &self.shared.gauges;
        let cpu = self.shared.cpu.figures();
        Pulse {
            connections: gauges.connections() as u64,
            accepted: gauges.accepted(),
            requests: gauges.requests(),
            refused: gauges.refused(),
            turned_away: gauges.turned_away(),
            timed_out: gauges.timed_out(),
            panics: gauges.panics(),
            lost_log_lines: self.process.lost_log_lines(),
            jobs: JobFigures {
                running: cpu.running as u64,
                waiting: cpu.waiting as u64,
                done: cpu.done,
                refused: cpu.refused,
                cancelled: cpu.cancelled,
                panicked: cpu.panicked,
            },
            ..Pulse::default()
        }
    }
}
