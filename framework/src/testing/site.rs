//! A folder for one instance, and the commands that are given in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Status;
use crate::systemd;

/// A folder for one instance; removed at the end.
#[derive(Debug)]
pub struct Site {
    program: PathBuf,
    dir: PathBuf,
}

impl Site {
    /// A new folder for instances of `program`, with an empty `config/`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let dir = new_folder();
        fs::create_dir(dir.join("config")).expect("a folder for the configuration");
        Self { program: program.into(), dir }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the configuration, such as `default.toml`, as an editor does: under another name,
    /// then renamed.
    pub fn configure(&self, name: &str, text: &str) {
        let draft = self.dir.join("config").join(format!(".{name}.draft"));
        fs::write(&draft, text).expect("a file for the configuration");
        fs::rename(draft, self.dir.join("config").join(name)).expect("a file for the configuration");
    }

    /// A command of the app, in this folder; nothing of the test's own environment speaks to it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("HATCHERY_")) {
            command.env_remove(name);
        }
        for name in systemd::VARIABLES {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command of the app to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the app's program")
    }

    /// What a running instance says of itself.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let output = self.run(&["status", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("a status"))
    }
}

/// A folder that nobody has used before, not even a test that was killed.
fn new_folder() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("hatchery-{}-{nth}", std::process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => return dir,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("no folder for the test: {error}"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
