//! `start`: from the arguments and the configuration to a running master.

use std::sync::Arc;

use super::args::{About, Start};
use super::daemon;
use super::places::Places;
use super::words::{failed, with_runtime};
use crate::config::{ConfigError, Layers, Merged};
use crate::error::Ending;
use crate::http::{HttpSettings, Listen};
use crate::identity::{self, Identity};
use crate::launch::{Body, Group, Launch};
use crate::log::{Level, LogSettings};
use crate::master::{self, ClusterSettings, GroupSettings, Outcome, Plan, Refresh, WorkerCount};
use crate::role::WEB;
use crate::signals;
use crate::systemd::{self, ChosenBy, Inherited};

/// Starts in the foreground or in the background.
pub(crate) fn run(about: &About, args: &Start) -> Outcome {
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
        let outcome = match plan(about, args, inherited) {
            Ok(plan) => master::run(plan, &herald).await,
            Err(outcome) => outcome,
        };
        herald.ended(&outcome).await;
        Err(outcome)
    })
}

/// An option that says where to listen beats everything else.
fn chosen_by(args: &Start) -> ChosenBy {
    let set = args.set.iter().any(|assignment| assignment.trim_start().starts_with("http.listen"));
    if set || !args.listen.is_empty() || args.port.is_some() {
        ChosenBy::CommandLine
    } else {
        ChosenBy::Configuration
    }
}

fn plan(about: &About, args: &Start, inherited: Vec<Inherited>) -> Result<Plan, Outcome> {
    let places = Places::of(&args.location)?;
    let (layers, merged) = layers(&places, args)?;
    let mut log: LogSettings = merged.section("log")?;
    if args.daemon {
        // In the background nobody sees stderr; what matters is in the files.
        log.console = Level::Off;
    }
    let cluster: ClusterSettings = merged.section("cluster")?;
    let mut groups = groups(about, &merged)?;
    for (name, settings) in &mut groups {
        // The command line beats the files.
        settings.workers = settings.workers.filter(|_| args.workers.is_none() || name != WEB);
        settings.ready_timeout = settings.ready_timeout.filter(|_| args.ready_timeout.is_none());
    }
    let known = |(name, settings): &(String, GroupSettings)| Group {
        name: name.clone(),
        on_panic: settings.on_panic.unwrap_or(cluster.on_panic),
        body: if about.commands.contains(&name.as_str()) { Body::Command } else { Body::Function },
    };
    Ok(Plan {
        launch: Launch {
            groups: groups.iter().map(known).collect(),
            heartbeat: cluster.heartbeat_timeout,
            cpu: merged.section("cpu")?,
            bus: merged.section("bus")?,
            roll: groups.iter().map(|(name, _)| name.clone()).collect(),
            // Known when the processors are counted.
            workers: 0,
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
    })
}

/// Reads everything anew when it is wanted; what is wrong is told with its place.
fn refresh(about: About, args: Start) -> Refresh {
    Arc::new(move || match plan(&about, &args, Vec::new()) {
        Ok(plan) => Ok(plan.launch),
        Err(Outcome { reason, detail, .. }) if detail.is_empty() => Err(reason),
        Err(Outcome { reason, detail, .. }) => Err(format!("{reason}\n{detail}")),
    })
}

/// What each group that the app declares says of itself; what `web` has elsewhere it cannot say here.
pub(super) fn groups(about: &About, merged: &Merged) -> Result<Vec<(String, GroupSettings)>, ConfigError> {
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
    let named = |&name: &&str| (name.to_owned(), settings.remove(name).unwrap_or_default());
    Ok(about.groups.iter().map(named).collect())
}

/// Whom the children shall be; a mistake is told with its place.
fn identity_of(cluster: &ClusterSettings, merged: &Merged) -> Result<Option<Identity>, ConfigError> {
    let identity = identity::resolve(cluster.user.as_ref(), cluster.group.as_ref());
    identity.map_err(|error| merged.wrong(error.key, &error.problem))
}

/// Whether there are the user and the group that the configuration names; who asks need not be root.
pub(super) fn check_accounts(merged: &Merged) -> Result<(), ConfigError> {
    let cluster: ClusterSettings = merged.section("cluster")?;
    let found = identity::find(cluster.user.as_ref(), cluster.group.as_ref());
    found.map(drop).map_err(|error| merged.wrong(error.key, &error.problem))
}

/// The options that stand for keys become the last layer.
fn layers(places: &Places, args: &Start) -> Result<(Layers, Merged), Outcome> {
    let mut overrides = args.set.clone();
    overrides.extend(args.workers.as_ref().map(|workers| format!("cluster.workers={workers}")));
    overrides
        .extend(args.ready_timeout.map(|timeout| format!("cluster.ready_timeout={}ms", timeout.as_millis())));
    if !args.listen.is_empty() {
        overrides.push(listen_override(
            &args.listen.iter().map(|address| address.as_str().into()).collect::<Vec<_>>(),
        ));
    }
    if let Some(port) = args.port {
        let http: HttpSettings = places.layers(overrides.clone())?.read()?.merge()?.section("http")?;
        overrides.push(listen_override(&moved(&http.listen, port)));
    }
    let layers = places.layers(overrides)?;
    let merged = layers.read()?.merge()?;
    Ok((layers, merged))
}

fn listen_override(places: &[Listen]) -> String {
    let plain = |place: &Listen| *place == Listen::from(place.address.as_str());
    let value = |place: &Listen| match toml::Value::try_from(place) {
        Ok(table) if !plain(place) => table,
        _ => place.address.clone().into(),
    };
    format!("http.listen={}", toml::Value::Array(places.iter().map(value).collect()))
}

/// The places with another port. Inherited sockets have theirs and are left out; the default is better than nothing.
fn moved(places: &[Listen], port: u16) -> Vec<Listen> {
    let own = |places: &[Listen]| -> Vec<Listen> {
        let own = places.iter().filter(|place| !place.address.starts_with(systemd::PREFIX));
        own.map(|place| Listen { address: with_port(&place.address, port), ..place.clone() }).collect()
    };
    match own(places) {
        none if none.is_empty() => own(&HttpSettings::default().listen),
        some => some,
    }
}

/// The address with another port; a Unix socket has none.
fn with_port(address: &str, port: u16) -> String {
    match address.rsplit_once(':') {
        Some((host, _)) if host != "unix" => format!("{host}:{port}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_replaces_the_port_of_every_address() {
        assert_eq!(with_port("127.0.0.1:7001", 80), "127.0.0.1:80");
        assert_eq!(with_port("[::1]:7001", 80), "[::1]:80");
        assert_eq!(with_port("unix:run/web.sock", 80), "unix:run/web.sock");
    }

    #[test]
    fn a_port_on_the_command_line_is_bound_in_place_of_inherited_sockets() {
        assert_eq!(moved(&["systemd:web".into(), "[::1]:7001".into()], 80), ["[::1]:80".into()]);
        assert_eq!(moved(&["systemd:".into()], 80), ["127.0.0.1:80".into()]);
    }

    #[test]
    fn a_port_on_the_command_line_leaves_the_rest_of_a_place() {
        let named = Listen { name: Some("api".to_owned()), ..Listen::from("[::1]:7001") };
        let text = listen_override(&moved(&["[::1]:7001".into(), named], 80));
        assert_eq!(text, r#"http.listen=["[::1]:80", { address = "[::1]:80", name = "api" }]"#);
    }
}
