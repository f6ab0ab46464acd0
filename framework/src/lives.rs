//! What an agent and a worker do from their welcome to their farewell, around the author's own functions.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::child;
use crate::desk::ConfigDesk;
use crate::duty::{Board, Duty, supervise};
use crate::error::Result;
use crate::role::{Role, Slot};
use crate::sections::Sections;
use crate::worker::Worker;

type Main<H> = Box<dyn FnOnce(H) -> Pin<Box<dyn Future<Output = Result> + Send>> + Send>;

/// The author's function of one role, with its type erased.
pub(crate) type AgentMain = Main<Agent>;
/// The author's function of one role, with its type erased.
pub(crate) type WorkerMain = Main<Worker>;

/// What an author's app gives its processes to do.
pub(crate) struct Work {
    pub(crate) sections: Sections,
    pub(crate) duties: Vec<Duty>,
    pub(crate) agent: Option<AgentMain>,
    pub(crate) worker: Option<WorkerMain>,
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
    let Work { sections, duties, agent: main, .. } = work;
    child::live(role, |process, _| async move {
        let desk = ConfigDesk::open(process.clone(), sections).await?;
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

/// The author's function is the life of a worker. An app without one has nothing to serve.
fn live_as_worker(role: Role, work: Work) -> ExitCode {
    let main = work.worker;
    child::live(role, |process, sockets| async move {
        let Some(main) = main else {
            return Err("the app has no worker function: give it one with `App::worker`".into());
        };
        let worker = Worker::new(process, sockets);
        tokio::spawn({
            let worker = worker.clone();
            async move { worker.pulse().await }
        });
        main(worker).await
    })
}
