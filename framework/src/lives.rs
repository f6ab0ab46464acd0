//! What an agent and a worker do from their welcome to their farewell, around the author's own functions.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::bus::control::Pulse;
use crate::child;
use crate::desk::ConfigDesk;
use crate::duty::{Board, Duty, supervise};
use crate::error::Result;
use crate::heartbeat::beat;
use crate::launch::OnPanic;
use crate::log;
use crate::process::Process;
use crate::role::{Role, Slot};
use crate::sections::Sections;
use crate::vault::Vault;
use crate::worker::Worker;

type Main<H> = Box<dyn FnOnce(H) -> Pin<Box<dyn Future<Output = Result> + Send>> + Send>;

/// The author's function of one role, with its type erased.
pub(crate) type AgentMain = Main<Agent>;
/// The author's function of one role, with its type erased.
pub(crate) type WorkerMain = Main<Worker>;

/// What an author's app gives its processes to do.
pub(crate) struct Work {
    /// The app's name.
    pub(crate) app: &'static str,
    pub(crate) sections: Sections,
    pub(crate) duties: Vec<Duty>,
    pub(crate) agent: Option<AgentMain>,
    /// What each group of workers is.
    pub(crate) groups: Vec<(&'static str, Crew)>,
}

/// What the workers of a group run.
pub(crate) enum Crew {
    Function(WorkerMain),
    /// Another program, with its arguments.
    Command(Vec<String>),
}

/// Lives as a child of this role.
pub(crate) fn live(role: Role, work: Work) -> ExitCode {
    match role.slot {
        Slot::Agent => live_as_agent(role, work),
        Slot::Worker { .. } => live_as_worker(role, work),
    }
}

/// The configuration first, then the duties, then the author's function; when that has returned, the duties
/// go on until the process should leave.
fn live_as_agent(role: Role, work: Work) -> ExitCode {
    let Work { app, sections, mut duties, agent: main, .. } = work;
    child::live(role, move |process, _| async move {
        check_app(&process, app)?;
        tokio::spawn(beat(process.clone(), {
            let process = process.clone();
            move || Pulse { lost_log_lines: process.lost_log_lines(), ..Pulse::default() }
        }));
        if process.replaces() {
            Vault::inspect(&process)?;
        }
        let desk = ConfigDesk::open(process.clone(), sections).await?;
        duties.extend(Vault::open(process.clone()).await?.map(keep));
        let agent = Agent::new(process.clone(), desk);
        let board = Board::new(&duties);
        agent.report_duties(&board.statuses()).await;
        let mut supervised = JoinSet::new();
        for (index, duty) in duties.into_iter().enumerate() {
            supervised.spawn(supervise(duty, index, agent.clone(), board.clone()));
        }
        if let Some(main) = main {
            main(agent.clone()).await?;
        }
        agent.ready().await?;
        process.shutdown().cancelled().await;
        while supervised.join_next().await.is_some() {}
        Ok(())
    })
}

/// Whoever puts a program of another app in the place of ours has made a mistake, which a reload must not follow.
fn check_app(process: &Process, own: &str) -> Result {
    let wanted = &process.launch().app;
    if wanted == own {
        return Ok(());
    }
    Err(format!(
        "this program is the app `{own}`, and the cluster runs `{wanted}`: put a program of `{wanted}` there"
    )
    .into())
}

/// The duty that every agent has whose cluster speaks TLS.
fn keep(vault: Vault) -> Duty {
    let vault = Arc::new(vault);
    Duty::new("certificates", move |_| {
        let vault = Arc::clone(&vault);
        async move { vault.watch().await }
    })
}

/// The author's function of its group is the life of a worker. An app without one has nothing to serve.
fn live_as_worker(role: Role, work: Work) -> ExitCode {
    let group = role.slot.group().to_owned();
    let main = match work.groups.into_iter().find(|(name, _)| *name == group) {
        Some((_, Crew::Command(command))) => return child::become_command(&role, &command),
        Some((_, Crew::Function(main))) => Some(main),
        None => None,
    };
    let app = work.app;
    child::live(role, move |process, sockets| async move {
        check_app(&process, app)?;
        let Some(main) = main else {
            return Err(format!("the app has no function for {group}: give it one with `App::worker`").into());
        };
        let worker = Worker::new(process.clone(), sockets);
        tokio::spawn(beat(process.clone(), {
            let worker = worker.clone();
            move || worker.figures()
        }));
        tokio::spawn(heed_panics(process));
        main(worker).await
    })
}

/// What a panic leaves behind in a worker may be broken, wherever in the process it was.
async fn heed_panics(process: Process) {
    let group = process.role().slot.group();
    let policy = process.launch().groups.iter().find(|known| known.name == group).map(|known| known.on_panic);
    loop {
        log::panicked().await;
        match policy.unwrap_or_default() {
            OnPanic::Ignore => {}
            OnPanic::Abort => process.collapse().cancel(),
            OnPanic::Retire => {
                let panic = log::last_panic().unwrap_or_default();
                // If the master is gone, so are we.
                let _ = process.retire(&panic).await;
            }
        }
    }
}
