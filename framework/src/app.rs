//! The app: what an author puts together in `main`, and the choice of what this process is.

use std::env;
use std::fmt;
use std::future::Future;
use std::process::ExitCode;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::bus::BusSettings;
use crate::cli::{self, About};
use crate::config::{Schema, SectionCheck};
use crate::cpu::CpuSettings;
use crate::duty::Duty;
use crate::error::{Ending, Result};
use crate::http::HttpSettings;
use crate::lives::{self, AgentMain, Crew, Work};
use crate::log::{self, LogSettings};
use crate::master::{ClusterSettings, GroupSettings};
use crate::role::{AGENT, ROLE_VARIABLE, Role, WEB};
use crate::sections::Sections;
use crate::worker::Worker;

/// Names that mean something else, in the status or as log files.
const RESERVED: [&str; 4] = [AGENT, "master", "error", "console"];

/// An app. Its `main` builds one and returns what [`run`](Self::run) returns:
///
/// ```no_run
/// use std::process::ExitCode;
/// use axum::{Router, routing::get};
/// use hatchery::{App, Worker};
///
/// fn main() -> ExitCode {
///     App::new("shop").worker(serve_pages).run()
/// }
///
/// async fn serve_pages(worker: Worker) -> hatchery::Result {
///     Ok(worker.serve(Router::new().route("/", get(async || "hello"))).await?)
/// }
/// ```
///
/// The same `main` runs in every process; nothing but building the app should come before `run`.
pub struct App {
    name: &'static str,
    version: &'static str,
    schema: Schema,
    duties: Vec<Duty>,
    agent: Option<AgentMain>,
    groups: Vec<(&'static str, Crew)>,
}

/// An app without a configuration of its own: every key that nobody owns is a mistake.
#[derive(Serialize, Deserialize)]
struct NoConfig {}

impl App {
    /// An app of this name, without a configuration, duties or functions.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let schema = Schema::of::<NoConfig>();
        Self { name, version: "0.0.0", schema, duties: Vec::new(), agent: None, groups: Vec::new() }
    }

    /// The version that `status` and `--version` show; usually `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// The type of the app's configuration. The agent validates every change as a `C`; defaults are the
    /// type's own (`#[serde(default)]`).
    #[must_use]
    pub fn config<C: Serialize + DeserializeOwned + 'static>(mut self) -> Self {
        self.schema = Schema::of::<C>();
        self
    }

    /// Adds a duty to the agent.
    #[must_use]
    pub fn duty(mut self, duty: Duty) -> Self {
        self.duties.push(duty);
        self
    }

    /// The agent's function. It says ready when workers may be started; when it returns, the duties go on.
    /// An error ends the process, and the master replaces it.
    #[must_use]
    pub fn agent<F, Fut>(mut self, main: F) -> Self
    where
        F: FnOnce(Agent) -> Fut + Send + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        self.agent = Some(Box::new(|agent| Box::pin(main(agent))));
        self
    }

    /// The function of the workers that serve HTTP, the group `web`: it is the life of the process. When it returns
    /// before the worker was asked to leave, the master starts another.
    #[must_use]
    pub fn worker<F, Fut>(self, main: F) -> Self
    where
        F: FnOnce(Worker) -> Fut + Send + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        self.group(WEB, main)
    }

    /// The function of another group of workers, with a count, listeners and limits of its own in the section
    /// `[groups.NAME]`: one worker and no listeners if it says nothing. A worker without listeners says ready by
    /// [`Worker::ready`]. Its lines go to `NAME.log`.
    ///
    /// # Panics
    /// When the name is taken, is one of the framework's own (`agent`, `master`, `error`, `console`), or is more
    /// than lower-case letters, digits, `-` and `_`.
    #[must_use]
    pub fn group<F, Fut>(self, name: &'static str, main: F) -> Self
    where
        F: FnOnce(Worker) -> Fut + Send + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        self.crew(name, Crew::Function(Box::new(|worker| Box::pin(main(worker)))))
    }

    /// Another group of workers whose processes are another program, such as `["python3", "worker.py"]`: it speaks
    /// the protocol of `docs/protocol.md` on its standard input, and is supervised like any other worker. It runs
    /// in the app's folder, from which a program with a `/` in its name is looked for; any other is looked for on
    /// the `PATH`. A start fails when it cannot be found, and so does a reload.
    ///
    /// # Panics
    /// When the name is none for a [`group`](Self::group), or the command is empty.
    #[must_use]
    pub fn group_command<S: Into<String>>(
        self,
        name: &'static str,
        command: impl IntoIterator<Item = S>,
    ) -> Self {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        assert!(
            command.first().is_some_and(|program| !program.is_empty()),
            "the group {name} has no program"
        );
        self.crew(name, Crew::Command(command))
    }

    fn crew(mut self, name: &'static str, crew: Crew) -> Self {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_".contains(&c);
        assert!(!name.is_empty() && name.bytes().all(plain), "no name for a group of workers: `{name}`");
        assert!(!RESERVED.contains(&name), "a group of workers cannot be called `{name}`");
        assert!(self.groups.iter().all(|(known, _)| *known != name), "two groups of workers called `{name}`");
        self.groups.push((name, crew));
        self
    }

    /// Runs this process as what it is: a child that a master started, or else the command line.
    #[must_use]
    pub fn run(self) -> ExitCode {
        log::log_panics();
        let groups = self.group_names();
        let sections = Sections::new(self.schema, self.section_checks(&groups));
        // A child gets no arguments. A command that a child runs inherits the variable and has some.
        let Some(role) = env::var_os(ROLE_VARIABLE).filter(|_| env::args_os().len() <= 1) else {
            let is_command = |(name, crew): &(_, _)| matches!(crew, Crew::Command(_)).then_some(*name);
            let commands = self.groups.iter().filter_map(is_command).collect();
            let about = About { name: self.name, version: self.version, sections, groups, commands };
            return cli::run(&about);
        };
        match role.to_string_lossy().parse::<Role>() {
            Ok(role) => {
                let Self { name: app, duties, agent, groups, .. } = self;
                lives::live(role, Work { app, sections, duties, agent, groups })
            }
            Err(error) => {
                eprintln!("error: {ROLE_VARIABLE}: {error}; only a master sets it: unset it and run `start`");
                Ending::Usage.into()
            }
        }
    }

    /// An app without any group gets one whose workers say what is missing.
    fn group_names(&self) -> Vec<&'static str> {
        let names: Vec<_> = self.groups.iter().map(|(name, _)| *name).collect();
        if names.is_empty() { vec![WEB] } else { names }
    }

    fn section_checks(&self, groups: &[&'static str]) -> Vec<SectionCheck> {
        let own = [
            SectionCheck::of::<ClusterSettings>("cluster"),
            SectionCheck::of::<HttpSettings>("http"),
            SectionCheck::of::<LogSettings>("log"),
            SectionCheck::of::<CpuSettings>("cpu"),
            SectionCheck::of::<BusSettings>("bus"),
            SectionCheck::of_tables::<GroupSettings>("groups", groups.to_vec()),
        ];
        own.into_iter().chain(self.duties.iter().filter_map(Duty::section).cloned()).collect()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("name", &self.name).field("duties", &self.duties).finish_non_exhaustive()
    }
}
