//! `start`: from the arguments and the configuration to a running master.

use super::args::{About, Start};
use super::daemon;
use super::places::Places;
use super::words::with_runtime;
use crate::config::{ConfigError, Layers, Merged};
use crate::http::HttpSettings;
use crate::identity::{self, Identity};
use crate::launch::Launch;
use crate::log::{Level, LogSettings};
use crate::master::{self, ClusterSettings, Outcome, Plan};

/// Starts in the foreground or in the background.
pub(crate) fn run(about: &About, args: &Start) -> Outcome {
    if args.daemon && !daemon::is_one() {
        return with_runtime(daemon::launch(args));
    }
    with_runtime(async {
        let herald = daemon::herald()?;
        let outcome = match plan(about, args) {
            Ok(plan) => master::run(plan, &herald).await,
            Err(outcome) => outcome,
        };
        herald.ended(&outcome).await;
        Err(outcome)
    })
}

fn plan(about: &About, args: &Start) -> Result<Plan, Outcome> {
    let places = Places::of(&args.location)?;
    let (layers, merged) = layers(&places, args)?;
    let mut log: LogSettings = merged.section("log")?;
    if args.daemon {
        // In the background nobody sees stderr; what matters is in the files.
        log.console = Level::Off;
    }
    let cluster: ClusterSettings = merged.section("cluster")?;
    Ok(Plan {
        launch: Launch {
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
        cluster,
        run_dir: places.run_dir,
    })
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
        overrides.push(listen_override(&args.listen));
    }
    if let Some(port) = args.port {
        let http: HttpSettings = places.layers(overrides.clone())?.read()?.merge()?.section("http")?;
        let moved: Vec<String> = http.listen.iter().map(|address| with_port(address, port)).collect();
        overrides.push(listen_override(&moved));
    }
    let layers = places.layers(overrides)?;
    let merged = layers.read()?.merge()?;
    Ok((layers, merged))
}

fn listen_override(addresses: &[String]) -> String {
    format!("http.listen={}", toml::Value::from(addresses.to_vec()))
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
}
