//! The command `hatchery`: `new` stamps a new app from the template that this package is.
//!
//! | file | answers for |
//! |---|---|
//! | `name` | what an app may be called |
//! | `template` | the files that are embedded in this program |
//! | `dependency` | which crates a stamped app needs, and in which versions |
//! | `home` | where a stamped app finds the framework |
//! | `blueprint` | all files of one app, in memory |
//! | `stamp` | writing them, all or none |

mod blueprint;
mod dependency;
mod home;
mod name;
mod stamp;
mod template;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hatchery::error::{Ending, chain};

use self::blueprint::Blueprint;
use self::home::Home;
use self::name::AppName;

/// Make apps with Hatchery
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(name = "hatchery", bin_name = "hatchery")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new app, which builds and passes its tests as it stands
    New {
        /// The name of the app, and of the folder that is made for it
        name: AppName,
        /// The folder to make it in
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// A checkout of Hatchery to build the app with [default: the one this program was built from, if it is
        /// still there, else the released version]
        #[arg(long, value_name = "DIR")]
        framework_path: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors; a reader that is gone does not matter.
            let _ = error.print();
            let ending = if error.use_stderr() { Ending::Usage } else { Ending::Done };
            return ending.into();
        }
    };
    let Command::New { name, dir, framework_path } = args.command;
    match make(&name, &dir, framework_path.as_deref()) {
        Ok(next_steps) => {
            let _ = std::io::stdout().write_all(next_steps.as_bytes());
            Ending::Done.into()
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", chain(&*error));
            Ending::Failed.into()
        }
    }
}

/// Makes the app, and returns what to tell about it.
fn make(name: &AppName, dir: &Path, framework_path: Option<&Path>) -> hatchery::Result<String> {
    let home = Home::find(framework_path)?;
    let blueprint = Blueprint::draw(name, &home)?;
    let folder = stamp::stamp(&blueprint.files, dir, name)?;
    Ok(format!(
        "{name} is ready. Next:\n\n    cd {}\n    cargo run -- start\n\nand, when it says that it is ready, in another terminal:\n\n    curl {}\n",
        folder.display(),
        blueprint.url,
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_to_do_next_is_said() {
        let parent = tempfile::tempdir().expect("a folder");
        let name = "shop".parse().expect("a name");
        let text = make(&name, parent.path(), None).expect("a new app");
        let folder = parent.path().join("shop");
        assert!(text.contains(&format!("cd {}\n", folder.display())), "{text}");
        assert!(text.contains("cargo run -- start\n"), "{text}");
        assert!(text.contains("curl http://127.0.0.1:7001/\n"), "{text}");
    }
}
