//! The duty `log-rotation`: renames log files that are full or whose day is over, has every process open
//! its files anew, waits until all have done so, and only then removes the oldest. What to do is decided in
//! `rotation`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime};
use hatchery::{Agent, Duty, Result};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::rotation::{FileFacts, RotationSettings, Step, line_time, plan};

/// How long all processes together may take to open their files anew; one that is stopped would take for ever.
const REOPENING: Duration = Duration::from_secs(30);

/// Rotates the log files of all processes; section `[log_rotation]`.
///
/// No line is lost or written twice: what is written during a rotation lands in the renamed file.
#[must_use]
pub fn log_rotation() -> Duty {
    Duty::new("log-rotation", rotate).with_section::<RotationSettings>("log_rotation")
}

async fn rotate(agent: Agent) -> Result {
    // An earlier run may have ended between renaming and this.
    reopen(&agent).await?;
    loop {
        let settings = agent.section::<RotationSettings>("log_rotation")?;
        if agent.until_shutdown(sleep(settings.check_interval)).await.is_none() {
            return Ok(());
        }
        let (dir, files) = (agent.log_dir().to_owned(), agent.log_files());
        let removals = spawn_blocking(move || {
            empty_console(&dir, &settings)?;
            if has_lost_one(&dir, &files) {
                return Ok(Some(Vec::new()));
            }
            rename_all(&dir, look_and_plan(&dir, &files, &settings)?)
        });
        let Some(removals) = removals.await?? else { continue };
        reopen(&agent).await?;
        let dir = agent.log_dir().to_owned();
        spawn_blocking(move || remove_all(&dir, &removals)).await??;
    }
}

/// Whether a log's file is gone: somebody removed or renamed it, and its writers write to where nobody looks.
fn has_lost_one(dir: &Path, files: &[String]) -> bool {
    files.iter().any(|name| !dir.join(name).exists())
}

/// What is printed in the background goes to a file that nobody can open anew; it is written at its end, so
/// emptying it does no harm.
fn empty_console(dir: &Path, settings: &RotationSettings) -> io::Result<()> {
    let console = dir.join("console.log");
    let limit = settings.max_size.as_u64();
    if limit > 0 && fs::metadata(&console).is_ok_and(|facts| facts.len() > limit) {
        File::options().write(true).open(console)?.set_len(0)?;
    }
    Ok(())
}

async fn reopen(agent: &Agent) -> Result {
    let late =
        format!("some process has not opened its log files anew for {REOPENING:?}: nothing is removed yet");
    Ok(timeout(REOPENING, agent.reopen_logs()).await.map_err(|_| late)??)
}

fn look_and_plan(dir: &Path, files: &[String], settings: &RotationSettings) -> io::Result<Vec<Step>> {
    let existing: Vec<String> =
        fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let facts = files.iter().map(|name| look(dir, name)).collect::<io::Result<Vec<_>>>()?;
    Ok(plan(settings, Local::now().naive_local(), &facts, &existing))
}

/// A log that does not exist is an empty one.
fn look(dir: &Path, name: &str) -> io::Result<FileFacts> {
    let mut facts = FileFacts { name: name.to_owned(), bytes: 0, began: Local::now().naive_local() };
    let file = match File::open(dir.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(facts),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    facts.bytes = metadata.len();
    if facts.bytes > 0 {
        facts.began = match first_line_time(&file)? {
            Some(time) => time,
            None => DateTime::<Local>::from(metadata.modified()?).naive_local(),
        };
    }
    Ok(facts)
}

fn first_line_time(file: &File) -> io::Result<Option<NaiveDateTime>> {
    let mut line = Vec::new();
    BufReader::with_capacity(64, file).take(64).read_until(b'\n', &mut line)?;
    Ok(line_time(&String::from_utf8_lossy(&line)))
}

/// Does the renames and returns the removals; nothing if nothing was renamed or is to be removed.
fn rename_all(dir: &Path, steps: Vec<Step>) -> io::Result<Option<Vec<String>>> {
    if steps.is_empty() {
        return Ok(None);
    }
    let mut removals = Vec::new();
    for step in steps {
        match step {
            Step::Rename { from, to } => fs::rename(dir.join(&from), dir.join(&to))?,
            Step::Remove { name } => removals.push(name),
        }
    }
    Ok(Some(removals))
}

fn remove_all(dir: &Path, names: &[String]) -> io::Result<()> {
    for name in names {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
