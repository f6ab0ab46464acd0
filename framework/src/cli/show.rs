//! `config show`: the configuration on disk with all defaults, as `start` would take it; and in a word whether the
//! running cluster has another.

use serde_json::{Map, Value};

use super::args::{About, Show};
use super::client::Client;
use super::listing::{self, Entry};
use super::mask;
use super::options;
use super::places::Places;
use super::start;
use super::words::{failed, remark, say, with_runtime};
use crate::bus::control::{Answer, Request};
use crate::bus::topic::CONFIG;
use crate::config::{Merged, path_text};
use crate::error::{Ending, chain};
use crate::http::HttpSettings;
use crate::master::{ClusterSettings, GroupSettings, Outcome};
use crate::role::WEB;
use crate::status::{Status, WorkerStatus};

const GROUPS: &str = "groups";

/// Shows the configuration.
pub(super) fn run(about: &About, args: &Show) -> Outcome {
    match show(about, args) {
        Ok(places) => with_runtime(async {
            if let Some(difference) = difference_to_running(&places).await {
                remark(&difference);
            }
            Ok(())
        }),
        Err(outcome) => outcome,
    }
}

fn show(about: &About, args: &Show) -> Result<Places, Outcome> {
    let places = Places::of(&args.location)?;
    let (_, merged) = options::layers(&places, &args.options)?;
    about.sections.encode(&merged)?;
    let groups = start::groups(about, &merged, &args.options)?;
    let mut values = about.sections.values(&merged)?;
    values.insert(GROUPS.to_owned(), in_full(&groups, &merged)?);
    // From here on there are no secrets, so that none can get out.
    let values = mask::masked(&values);
    let mut entries = listing::entries(&values);
    if args.origin {
        for entry in &mut entries {
            entry.origin = Some(origin(&merged, &groups, entry));
        }
    }
    say(&if args.json {
        listing::to_json(&places.env, &values, &entries).to_string()
    } else {
        listing::to_toml(&entries).trim_end().to_owned()
    })?;
    Ok(places)
}

/// What holds for each group, also where another section says it.
fn in_full(groups: &[(String, GroupSettings)], merged: &Merged) -> Result<Value, Outcome> {
    let cluster: ClusterSettings = merged.section("cluster")?;
    let http: HttpSettings = merged.section("http")?;
    let full = |(name, settings): &(String, GroupSettings)| {
        let mut table = written(&settings.in_full(name, &cluster, http.drain_timeout))?;
        if name == WEB {
            // It cannot have the key: it listens where `http.listen` says.
            table.remove("listen");
        }
        Ok((name.clone(), Value::Object(table)))
    };
    groups.iter().map(full).collect::<Result<Map<_, _>, Outcome>>().map(Value::Object)
}

fn written(settings: &GroupSettings) -> Result<Map<String, Value>, Outcome> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(failed(Ending::Failed, chain(&error))),
    }
}

/// Where the value comes from: a layer, a default, or the key that speaks for all groups.
fn origin(merged: &Merged, groups: &[(String, GroupSettings)], entry: &Entry) -> String {
    let path: Vec<&str> = entry.path.iter().map(String::as_str).collect();
    if let [GROUPS, group, key] = path[..]
        && let Some(general) = general_key(groups, group, key)
    {
        return format!("as {general}");
    }
    merged.origin(&path_text(&path)).unwrap_or_else(|| "default".to_owned())
}

/// The key that says what `group` does not say itself.
fn general_key(groups: &[(String, GroupSettings)], group: &str, key: &str) -> Option<String> {
    let (_, settings) = groups.iter().find(|(name, _)| name == group)?;
    let is_left_out = written(settings).is_ok_and(|own| own.get(key).is_some_and(Value::is_null));
    match key {
        _ if !is_left_out => None,
        "workers" if group != WEB => None,
        "drain_timeout" => Some("http.drain_timeout".to_owned()),
        _ => Some(format!("cluster.{key}")),
    }
}

/// How the running cluster differs from what was shown, as far as it knows; `None` also if there is none.
async fn difference_to_running(places: &Places) -> Option<String> {
    let mut client = Client::connect(places).await.ok()?;
    match client.ask(&Request::Status).await {
        Ok(Answer::Status(status)) => difference(&places.env, &status),
        _ => None,
    }
}

/// The refusal itself may quote a secret: `status` tells it.
fn difference(env: &str, status: &Status) -> Option<String> {
    let version = status.config.version;
    let behind = |worker: &WorkerStatus| worker.states.get(CONFIG) != Some(&version);
    if status.env != env {
        Some(format!("the running cluster has another environment, `{}`; this is `{env}`", status.env))
    } else if status.config.refused.is_some() {
        Some(format!("the running cluster has refused a change and keeps version {version}: see `status`"))
    } else if status.workers.iter().any(behind) {
        Some(format!("not every running worker has version {version} of the configuration yet: see `status`"))
    } else {
        None
    }
}
