//! Where the layers come from, and reading them: the only I/O of this room.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::assignment::{self, PREFIX};
use super::document;
use super::error::{ConfigError, Whence};
use super::merged::Merged;
use super::origin::Origin;
use crate::identity::whoami;

/// Environment variables that start like a config key and are none.
pub const NOT_KEYS: [&str; 8] = [
    "HATCHERY_ENV",
    "HATCHERY_ROLE",
    "HATCHERY_APP_DIR",
    "HATCHERY_RUN_DIR",
    "HATCHERY_LOG_DIR",
    "HATCHERY_BUILD",
    "HATCHERY_DAEMON",
    "HATCHERY_IDENTITY",
];

/// Where the configuration of an app comes from.
#[derive(Clone, Serialize, Deserialize)]
pub struct Layers {
    app_dir: PathBuf,
    env: String,
    environment: Vec<(String, String)>,
    overrides: Vec<String>,
}

impl Layers {
    /// The two files in `app_dir` for the environment named `env`, such as `prod`.
    pub fn new(app_dir: impl Into<PathBuf>, env: impl Into<String>) -> Self {
        Self { app_dir: app_dir.into(), env: env.into(), environment: Vec::new(), overrides: Vec::new() }
    }

    /// Lays environment variables over the files. Keeps only those that start with `HATCHERY_` and are not
    /// in [`NOT_KEYS`].
    #[must_use]
    pub fn with_environment(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_key = |name: &str| name.starts_with(PREFIX) && !NOT_KEYS.contains(&name);
        self.environment = vars.into_iter().filter(|(name, _)| is_key(name)).collect();
        // The system lists its variables in any order; the same ones must make the same fingerprint.
        self.environment.sort();
        self
    }

    /// Lays the `key=value` of `--set` over everything else; a later one wins.
    ///
    /// # Errors
    /// When one of them has no `=`, or no proper key.
    pub fn with_overrides(mut self, assignments: Vec<String>) -> Result<Self, ConfigError> {
        for assignment in &assignments {
            assignment::from_override(assignment)?;
        }
        self.overrides = assignments;
        Ok(self)
    }

    /// The two files, whether they exist or not.
    #[must_use]
    pub fn files(&self) -> [PathBuf; 2] {
        self.names().map(|name| self.app_dir.join(name))
    }

    /// Reads the two files. A missing one is an empty layer.
    ///
    /// # Errors
    /// When a file cannot be read, or is not UTF-8.
    pub fn read(&self) -> Result<Reading, ConfigError> {
        let [default, special] = self.names();
        Ok(Reading {
            files: [self.read_file(default)?, self.read_file(special)?],
            environment: self.environment.clone(),
            overrides: self.overrides.clone(),
        })
    }

    fn names(&self) -> [String; 2] {
        ["default", &self.env].map(|stem| format!("config/{stem}.toml"))
    }

    fn read_file(&self, name: String) -> Result<TextFile, ConfigError> {
        let text = read_text(&name, &self.app_dir.join(&name))?;
        Ok(TextFile { name, text })
    }
}

/// Prints names and counts; values may be secrets.
impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("app_dir", &self.app_dir)
            .field("env", &self.env)
            .field("environment", &names(&self.environment))
            .field("overrides", &self.overrides.len())
            .finish()
    }
}

/// What the layers said at one moment, not yet merged.
#[derive(Clone, Hash, Serialize, Deserialize)]
pub struct Reading {
    files: [TextFile; 2],
    environment: Vec<(String, String)>,
    overrides: Vec<String>,
}

#[derive(Clone, Hash, Serialize, Deserialize)]
struct TextFile {
    name: String,
    /// `None` if there is no such file.
    text: Option<String>,
}

impl TextFile {
    fn says_something(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !text.trim().is_empty())
    }
}

impl Reading {
    /// Checks that no file that said something in `earlier` is gone or empty now. Somebody who meant that
    /// would leave a comment; it is far more often half of a change.
    ///
    /// # Errors
    /// When one is; the error names it.
    pub fn check_against(&self, earlier: &Self) -> Result<(), ConfigError> {
        let gone = self
            .files
            .iter()
            .zip(&earlier.files)
            .find(|(now, then)| then.says_something() && !now.says_something());
        match gone {
            None => Ok(()),
            Some((now, _)) => {
                let state = if now.text.is_some() { "is empty" } else { "is gone" };
                let message =
                    format!("the file {state}: bring it back, or leave a comment in it if that is meant");
                Err(ConfigError::new(Whence::Named(now.name.clone()), &message))
            }
        }
    }

    /// A hash of all that the layers said: equal texts have equal fingerprints. Compare it only with those
    /// of the same executable.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Parses the layers and lays each over those before it: tables merge, everything else replaces.
    ///
    /// # Errors
    /// When a file is not TOML, or a variable's name is no key.
    pub fn merge(&self) -> Result<Merged, ConfigError> {
        let files = self
            .files
            .iter()
            .map(|file| document::parse(&file.name, file.text.as_deref().unwrap_or_default()));
        let variables = self.environment.iter().map(|(name, value)| assignment::from_variable(name, value));
        let overrides = self.overrides.iter().map(|text| assignment::from_override(text));
        let layers = files.chain(variables).chain(overrides).collect::<Result<_, _>>()?;
        let [default, special] = &self.files;
        Merged::of(layers, [default.name.clone(), special.name.clone()])
    }
}

/// Prints names and counts; values may be secrets.
impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.files.each_ref().map(|file| (&file.name, file.text.as_ref().map(String::len)));
        f.debug_struct("Reading")
            .field("file_bytes", &sizes)
            .field("environment", &names(&self.environment))
            .field("overrides", &self.overrides.len())
            .finish()
    }
}

fn names(environment: &[(String, String)]) -> Vec<&str> {
    environment.iter().map(|(name, _)| name.as_str()).collect()
}

/// The text of a file; `None` if there is none. What is no file, such as a pipe, might never end.
fn read_text(name: &str, path: &Path) -> Result<Option<String>, ConfigError> {
    let unreadable = |problem: String| ConfigError::new(Whence::Named(name.to_owned()), &problem);
    let bytes = match std::fs::metadata(path).map(|facts| facts.file_type()) {
        Ok(kind) if kind.is_dir() || kind.is_fifo() || kind.is_socket() => {
            return Err(unreadable("it is no file: write the configuration into one".to_owned()));
        }
        Ok(_) => std::fs::read(path),
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let problem = format!("{} may not read the file: {error}: make it readable for it", whoami());
            return Err(unreadable(problem));
        }
        // There is nothing wrong with the file.
        Err(error)
            if [Errno::MFILE, Errno::NFILE]
                .map(|errno| Some(errno.raw_os_error()))
                .contains(&error.raw_os_error()) =>
        {
            let advice = "raise its limit of open files by `ulimit -n`, or LimitNOFILE= in the unit";
            return Err(unreadable(format!("this process cannot open the file: {error}: {advice}")));
        }
        Err(error) => {
            return Err(unreadable(format!(
                "the file cannot be read: {error}: make it readable, or remove it"
            )));
        }
    };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Origin::File { name: name.to_owned(), text }.refuse(at..at, "not UTF-8: save the file as UTF-8")
    })
}
