//! `start`: from the arguments and the configuration to a running master.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

use super::args::{About, Options, Start};
use super::daemon;
use super::options;
use super::places::Places;
use super::words::{failed, with_runtime};
use crate::config::{ConfigError, Merged};
use crate::error::Ending;
use crate::http::HttpSettings;
use crate::identity::{self, Identity};
use crate::launch::{Body, Group, Launch};
use crate::log::{Level, LogSettings};
use crate::master::{self, ClusterSettings, Doors, GroupSettings, Outcome, Plan, Refresh, WorkerCount};
use crate::role::WEB;
use crate::signals;
use crate::systemd::{self, ChosenBy, Inherited};
use crate::vault::check_files;

/// Starts in the foreground or in the background.
pub(crate) fn run(about: &About, args: &Start) -> Outcome {
    if let Err(problem) = master::make_room_to_begin() {
        return failed(Ending::Config, problem);
    }
    // Before there is a runtime: what it opens must not be taken for an inherited socket.
    let outcome = match systemd::inherited() {
        Ok(inherited) => begin(about, args, inherited),
        Err(error) => failed(Ending::Config, error.to_string()),
    };
    if !outcome.reason.is_empty() {
        systemd::failed(&outcome.reason);
    }
    outcome
}

fn begin(about: &About, args: &Start, inherited: Vec<Inherited>) -> Outcome {
    if args.daemon && !daemon::is_one() {
        if !inherited.is_empty() && chosen_by(args) == ChosenBy::Configuration {
            let advice = "leave out --daemon: the service manager keeps it in the background";
            let reason = format!("inherited sockets cannot be taken along into the background: {advice}");
            return failed(Ending::Config, reason);
        }
        return with_runtime(daemon::launch(args));
    }
    if let Err(error) = signals::prepare_master() {
        return failed(Ending::StartFailed, format!("signals cannot be listened for: {error}"));
    }
    with_runtime(async {
        let herald = daemon::herald()?;
        let plan = plan(about, args, inherited);
        // The runtime asks the kernel for news before it goes on with what is no task, each time when a task woke it.
        let life = tokio::spawn(async move {
            let outcome = match plan {
                Ok(plan) => master::run(plan, &herald).await,
                Err(outcome) => outcome,
            };
            herald.ended(&outcome).await;
            outcome
        });
        Err(life.await.unwrap_or_else(|error| resume_unwind(error.into_panic())))
    })
}

/// An option that says where to listen beats everything else.
fn chosen_by(args: &Start) -> ChosenBy {
    let Options { set, listen, port, .. } = &args.options;
    let set = set.iter().any(|assignment| assignment.trim_start().starts_with("http.listen"));
    if set || !listen.is_empty() || port.is_some() { ChosenBy::CommandLine } else { ChosenBy::Configuration }
}

fn plan(about: &About, args: &Start, inherited: Vec<Inherited>) -> Result<Plan, Outcome> {
    let (plan, merged) = read(about, args, inherited)?;
    // Sockets that take the place of all addresses are good already.
    let replaced = master::is_replaced(plan.doors(), plan.chosen_by, &plan.inherited);
    if !replaced {
        check_certificates(&merged, plan.doors())?;
    }
    let doors = plan.doors().filter(|doors| !replaced || doors.group != WEB);
    check_listeners(&merged, doors, &[plan.run_dir.path(), &plan.launch.log_dir])?;
    Ok(plan)
}

/// The plan as it is written, without a look at what it names.
fn read(about: &About, args: &Start, inherited: Vec<Inherited>) -> Result<(Plan, Merged), Outcome> {
    let places = Places::of(&args.location)?;
    let (layers, merged) = options::layers(&places, &args.options)?;
    let mut log: LogSettings = merged.section("log")?;
    if args.daemon {
        // In the background nobody sees stderr; what matters is in the files.
        log.console = Level::Off;
    }
    let cluster: ClusterSettings = merged.section("cluster")?;
    let groups = groups(about, &merged, &args.options)?;
    let known = |(name, settings): &(String, GroupSettings)| Group {
        name: name.clone(),
        on_panic: settings.on_panic.unwrap_or(cluster.on_panic),
        // Known when they are bound.
        udp: Vec::new(),
        body: if about.commands.contains(&name.as_str()) { Body::Command } else { Body::Function },
    };
    let plan = Plan {
        launch: Launch {
            groups: groups.iter().map(known).collect(),
            heartbeat: cluster.heartbeat_timeout,
            cpu: merged.section("cpu")?,
            bus: merged.section("bus")?,
            roll: groups.iter().map(|(name, _)| name.clone()).collect(),
            // Known when the processors are counted.
            workers: 0,
            // Known when they are open.
            listeners: vec![],
            app: about.name.to_owned(),
            version: about.version.to_owned(),
            env: places.env,
            app_dir: places.app_dir,
            log_dir: places.log_dir,
            http: merged.section("http")?,
            identity: identity_of(&cluster, &merged)?,
            log,
            layers,
        },
        groups,
        cluster,
        run_dir: places.run_dir,
        chosen_by: chosen_by(args),
        inherited,
        refresh: refresh(about.clone(), args.clone()),
    };
    Ok((plan, merged))
}

/// Reads everything anew when it is wanted; what is wrong is told with its place.
fn refresh(about: About, args: Start) -> Refresh {
    Arc::new(move || match read(&about, &args, Vec::new()) {
        Ok((plan, _)) => Ok(plan.launch),
        Err(Outcome { reason, detail, .. }) if detail.is_empty() => Err(reason),
        Err(Outcome { reason, detail, .. }) => Err(format!("{reason}\n{detail}")),
    })
}

/// What each group that the app declares says of itself; what `web` has elsewhere it cannot say here.
pub(super) fn groups(
    about: &About,
    merged: &Merged,
    options: &Options,
) -> Result<Vec<(String, GroupSettings)>, ConfigError> {
    let mut settings = merged.tables::<GroupSettings>("groups", &about.groups)?;
    if let Some(web) = settings.get(WEB) {
        if !web.listen.is_empty() {
            return Err(
                merged.wrong("groups.web.listen", "web listens where `http.listen` says: write it there")
            );
        }
        if web.workers == Some(WorkerCount::Exactly(0)) {
            return Err(merged.wrong("groups.web.workers", "web needs at least 1 worker"));
        }
    }
    let HttpSettings { policy, .. } = merged.section("http")?;
    for (name, group) in &settings {
        if let Some(problem) = group.listen.iter().find_map(|place| place.unfit(policy)) {
            return Err(merged.wrong(&format!("groups.{name}.listen"), problem));
        }
    }
    let named = |&name: &&str| {
        let mut settings = settings.remove(name).unwrap_or_default();
        // The command line beats the files.
        settings.workers = settings.workers.filter(|_| options.workers.is_none() || name != WEB);
        settings.ready_timeout = settings.ready_timeout.filter(|_| options.ready_timeout.is_none());
        (name.to_owned(), settings)
    };
    Ok(about.groups.iter().map(named).collect())
}

/// Whom the children shall be; a mistake is told with its place.
fn identity_of(cluster: &ClusterSettings, merged: &Merged) -> Result<Option<Identity>, ConfigError> {
    let identity = identity::resolve(cluster.user.as_ref(), cluster.group.as_ref());
    identity.map_err(|error| merged.wrong(error.key, &error.problem))
}

/// Whether there are the user and the group that the children shall be; who asks need not be root.
pub(super) fn check_accounts(merged: &Merged) -> Result<(), ConfigError> {
    let cluster: ClusterSettings = merged.section("cluster")?;
    let found = identity::find(cluster.user.as_ref(), cluster.group.as_ref());
    found.map(drop).map_err(|error| merged.wrong(error.key, &error.problem))
}

/// Whether clients could come by these places, none of which is in a reserved folder; a mistake is told with its place.
pub(super) fn check_listeners<'a>(
    merged: &Merged,
    doors: impl Iterator<Item = Doors<'a>>,
    reserved: &[&Path],
) -> Result<(), ConfigError> {
    master::survey(doors, reserved).map_err(|error| merged.wrong(&error.key, &error.problem))
}

/// Whether the certificates of all listeners could be served, as far as who asks may read them.
pub(super) fn check_certificates<'a>(
    merged: &Merged,
    doors: impl Iterator<Item = Doors<'a>>,
) -> Result<(), ConfigError> {
    for doors in doors {
        for (key, place) in doors.keyed() {
            for files in &place.certificates {
                let checked = check_files(doors.app_dir, files);
                checked.map_err(|error| merged.wrong(&key, &error.to_string()))?;
            }
        }
    }
    Ok(())
}
