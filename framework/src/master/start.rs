//! What there has to be before the first event: the run dir for ourselves, descriptors, logs, listeners and the socket for
//! control. Whatever of it is missing ends the start with a reason; no process has been spawned by then.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::attendant::Care;
use super::cluster::Cluster;
use super::count::crew;
use super::crew::FIRST;
use super::entrance::Entrance;
use super::event::{Event, Outcome};
use super::exchange::Exchange;
use super::host::Host;
use super::plan::Plan;
use super::programs::Programs;
use super::{Master, control, descriptors, listeners, wishes};
use crate::cgroup::Cgroup;
use crate::error::Ending;
use crate::instance::RunDirError;
use crate::log::{self, LogFolder};
use crate::systemd::Notifier;

/// How many events may wait; what brings more waits, too. Each may hold a read's worth of mail.
const EVENTS: usize = 64;

impl Master {
    pub(super) fn start(mut plan: Plan) -> Result<Self, Outcome> {
        let lock = plan.run_dir.acquire().map_err(|error| match error {
            RunDirError::TooLong { .. } => Outcome::failed(Ending::Config, error),
            _ => Outcome::failed(Ending::Failed, error),
        })?;
        let start_failed = |error: io::Error| Outcome::failed(Ending::StartFailed, error);
        let cgroup = Cgroup::of_self();
        let host = Host::look(&cgroup);
        plan.launch.workers = plan.workers(host.processors);
        let raised = descriptors::ensure(&plan, host.processors)
            .map_err(|problem| Outcome::failed(Ending::Config, problem))?;
        let inherited = std::mem::take(&mut plan.inherited);
        let launch = &plan.launch;
        let folder = LogFolder::of(&launch.log_dir, launch.identity.as_ref());
        folder.hand_over().map_err(start_failed)?;
        let mut log = log::start(folder, "master", "master", &launch.log).map_err(start_failed)?;
        raised.inspect(|raised| tracing::warn!("{raised}"));
        let listeners = listeners::open_all(plan.doors(), plan.chosen_by, inherited)
            .map_err(|error| Outcome::failed(Ending::Config, error))?;
        let entrance = Entrance::open(listeners).map_err(start_failed)?;
        entrance.describe(&mut plan.launch);
        let (events, inbox) = mpsc::channel(EVENTS);
        let socket = control::listen(&plan.run_dir.control_socket()).map_err(start_failed)?;
        tokio::spawn(control::serve(socket, events.clone()));
        tokio::spawn(wishes::forward(wishes::listen().map_err(start_failed)?, events.clone()));
        let launch = &plan.launch;
        let (app, dir, workers) = (&launch.app, launch.app_dir.display(), crew(launch.workers));
        tracing::info!("starting {app} in {dir}: {workers}, {host}");
        let care = Care::begin(events, log.console().map_err(start_failed)?, cgroup);
        let programs = Programs::new(plan.launch.clone(), Arc::clone(&plan.refresh)).map_err(start_failed)?;
        let build = programs.build(FIRST).map_err(start_failed)?;
        let started = Instant::now();
        let supervisor = plan.supervisor(host.processors, started);
        let exchange = Exchange::new(plan.launch.bus.queue_bytes());
        let (rules, pace) = ((&plan.cluster).into(), (&plan.cluster).into());
        let cluster = Cluster::new(rules, pace, supervisor, exchange, build, started);
        Ok(Self {
            cluster,
            launch: plan.launch,
            programs,
            entrance,
            children: BTreeMap::new(),
            care,
            inbox,
            queue: VecDeque::from([Event::Started]),
            unconfirmed: VecDeque::new(),
            dropped: 0,
            crowded: Vec::new(),
            started,
            ready_line: None,
            log,
            lock,
            notifier: Notifier::from_environment(),
        })
    }
}
