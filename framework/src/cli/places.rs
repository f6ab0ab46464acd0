//! Where an instance has its files.

use std::env;
use std::path::PathBuf;

use super::args::Location;
use super::words::failed;
use crate::config::Layers;
use crate::error::Ending;
use crate::instance::RunDir;
use crate::master::Outcome;

/// The places of one instance, all absolute.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) env: String,
    pub(crate) app_dir: PathBuf,
    pub(crate) run_dir: RunDir,
    pub(crate) log_dir: PathBuf,
}

impl Places {
    pub(crate) fn of(location: &Location) -> Result<Self, Outcome> {
        let here = env::current_dir()
            .map_err(|error| failed(Ending::Failed, format!("the current folder cannot be told: {error}")))?;
        let app_dir = match &location.app_dir {
            Some(dir) if dir.is_dir() => here.join(dir),
            Some(dir) => {
                return Err(failed(
                    Ending::Config,
                    format!("the app's folder {} is no folder", dir.display()),
                ));
            }
            None if here.join("config").is_dir() => here.clone(),
            None => env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| here.clone(), PathBuf::from),
        };
        if !location.env.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            || location.env.starts_with('.')
        {
            let advice = "use letters, digits, `-`, `_` and `.`";
            return Err(failed(
                Ending::Usage,
                format!("`{}` cannot name an environment: {advice}", location.env),
            ));
        }
        if app_dir.to_str().is_none() {
            return Err(failed(
                Ending::Config,
                format!("the app's folder {} has a name that is not UTF-8", app_dir.display()),
            ));
        }
        let within = |given: &Option<PathBuf>, name: &str| match given {
            Some(dir) => here.join(dir),
            None => app_dir.join(name),
        };
        Ok(Self {
            env: location.env.clone(),
            run_dir: RunDir::new(within(&location.run_dir, "run")),
            log_dir: within(&location.log_dir, "logs"),
            app_dir,
        })
    }

    /// The layers of the configuration, with `overrides` on top.
    pub(crate) fn layers(&self, overrides: Vec<String>) -> Result<Layers, Outcome> {
        // A variable that is no text cannot be one of ours.
        let variables = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Layers::new(&self.app_dir, &self.env).with_environment(variables).with_overrides(overrides)?)
    }
}
