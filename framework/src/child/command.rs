//! Becoming another program: a child of a group that is a command prepares itself like any other, so that its session,
//! its user and its end are as those of the others, and then executes the command in its own place, link and all.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::{confess, inherit, outset, with_runtime};
use crate::bus::link;
use crate::error::{BoxError, Ending};
use crate::identity::IDENTITY_VARIABLE;
use crate::role::{APP_DIR_VARIABLE, BUILD_VARIABLE, Role};

/// Executes `command`, the program first; returns only if that fails.
pub(crate) fn run(role: &Role, command: &[String]) -> ExitCode {
    let socket = match inherit() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let build = outset::prepare(role);
    if outset::is_orphan(&socket) {
        return Ending::Failed.into();
    }
    let error = build.map_or_else(|error| error, |build| execute(command, &build, &socket).into());
    with_runtime(role, tell(socket, error))
}

/// Replaces this process; what it returns is why that failed.
fn execute(command: &[String], build: &str, socket: &OwnedFd) -> io::Error {
    let [program, arguments @ ..] = command else { return io::ErrorKind::InvalidInput.into() };
    let app_dir = std::env::var_os(APP_DIR_VARIABLE).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let path = locate(program, &app_dir);
    if let Err(error) = rustix::stdio::dup2_stdin(socket) {
        return error.into();
    }
    let error = Command::new(&path)
        .args(arguments)
        .current_dir(&app_dir)
        .env(BUILD_VARIABLE, build)
        .env_remove(IDENTITY_VARIABLE)
        .exec();
    io::Error::new(error.kind(), explain(program, &path, &error))
}

/// Where the program lies; one without a `/` is left to be looked for on the `PATH`.
fn locate(program: &str, app_dir: &Path) -> PathBuf {
    if program.contains('/') { app_dir.join(program) } else { program.into() }
}

fn explain(program: &str, path: &Path, error: &io::Error) -> String {
    let place =
        if program.contains('/') { format!("as {}", path.display()) } else { "on the PATH".to_owned() };
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("the program `{program}` cannot be found {place}: install it, or correct `group_command`")
        }
        _ => format!("the program `{program}` cannot be started {place}: {error}"),
    }
}

async fn tell(socket: OwnedFd, error: BoxError) -> ExitCode {
    match link::open(socket) {
        Ok((_receiver, sender)) => confess(&sender, &*error).await,
        Err(problem) => {
            eprintln!("error: {error}; and the link cannot be used: {problem}");
            Ending::Failed.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_slash_lies_in_the_apps_folder() {
        let table = [
            ("python3", "python3"),
            ("./worker.py", "/srv/shop/./worker.py"),
            ("venv/bin/python", "/srv/shop/venv/bin/python"),
            ("/usr/bin/node", "/usr/bin/node"),
        ];
        for (program, path) in table {
            assert_eq!(locate(program, Path::new("/srv/shop")), Path::new(path));
        }
    }

    #[test]
    fn a_missing_program_is_named_with_the_place_where_it_was_looked_for() {
        let missing = io::ErrorKind::NotFound.into();
        let words = explain("./worker", Path::new("/srv/worker"), &missing);
        assert!(words.starts_with("the program `./worker` cannot be found as /srv/worker:"), "{words}");
        assert!(explain("python9", Path::new("python9"), &missing).contains("found on the PATH"));
        let closed = io::ErrorKind::PermissionDenied.into();
        assert!(explain("x/y", Path::new("/x/y"), &closed).contains("cannot be started as /x/y: permission"));
    }
}
