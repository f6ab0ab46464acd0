//! The status of the moment: what the cluster knows, completed by a look at the system.

use std::collections::BTreeMap;
use std::time::Instant;

use super::listener::Listener;
use super::{Master, usage};
use crate::status::{MasterStatus, Status};

/// Takes the status of everything.
pub(crate) fn take(master: &Master) -> Status {
    let now = Instant::now();
    let overview = master.cluster.overview(now);
    let mut agent = overview.agent(master.cluster.duties());
    let mut workers = overview.workers();
    for process in workers.iter_mut().map(|worker| &mut worker.process).chain([&mut agent.process]) {
        process.usage = process.pid.map(usage::of).unwrap_or_default();
        let child = master.children.values().find(|child| Some(child.pid) == process.pid);
        process.bus.queued_bytes += child.map_or(0, |child| child.sender.waiting() as u64);
    }
    let mut bus = master.cluster.bus_status();
    bus.dropped += master.dropped;
    let mut waiting = BTreeMap::new();
    master.children.values().for_each(|child| child.sender.tally(&mut waiting));
    for topic in &mut bus.topics {
        topic.queued += waiting.get(&*topic.name).copied().unwrap_or_default();
    }
    bus.queued_bytes += master.children.values().map(|child| child.sender.waiting() as u64).sum::<u64>();
    Status {
        app: master.launch.app.clone(),
        version: master.launch.version.clone(),
        env: master.launch.env.clone(),
        state: master.cluster.state(),
        generation: master.cluster.generation(),
        stranded: overview.stranded(),
        uptime_ms: u64::try_from(master.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        log_dir: master.launch.log_dir.clone(),
        master: MasterStatus { pid: std::process::id(), usage: usage::of(std::process::id()) },
        agent,
        groups: overview.groups(),
        workers,
        listeners: master.entrance.listeners().iter().map(Listener::status).collect(),
        states: master.cluster.state_statuses(),
        config: master.cluster.config_status(),
        tls: master.cluster.tls_status().clone(),
        bus,
    }
}
