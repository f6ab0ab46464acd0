//! The arguments, as they are written.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::sections::Sections;

/// What the command line knows of the app.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) sections: Sections,
    /// The groups of workers.
    pub(crate) groups: Vec<&'static str>,
    /// Those of them that are other programs.
    pub(crate) commands: Vec<&'static str>,
}

#[derive(Debug, Parser)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the cluster and run it until it is stopped
    Start(Box<Start>),
    /// Stop the running cluster, and wait until it is gone
    Stop {
        #[command(flatten)]
        location: Location,
        /// How long requests in flight may take, such as 10s [default: cluster.stop_timeout]
        #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
        timeout: Option<Duration>,
        /// Cut everything short
        #[arg(long)]
        fast: bool,
    },
    /// Show the processes of the running cluster
    Status {
        #[command(flatten)]
        location: Location,
        /// For scripts
        #[arg(long)]
        json: bool,
    },
    /// Replace every worker by the program and the settings on disk, without losing a request
    Reload {
        #[command(flatten)]
        location: Location,
        /// The agent, too, although its program is the same
        #[arg(long)]
        agent: bool,
    },
    /// Change the number of workers, and wait until it is so
    #[command(allow_negative_numbers = true)]
    Scale {
        #[command(flatten)]
        location: Location,
        /// How many: 4, +1 or -1; for another group than web, such as jobs=4
        #[arg(value_name = "[GROUP=]N", allow_hyphen_values = true)]
        wish: String,
    },
    /// Send a message to processes of the running cluster
    Send {
        #[command(flatten)]
        location: Location,
        /// The topic's name
        topic: String,
        /// The message, as JSON
        #[arg(value_name = "JSON", allow_hyphen_values = true)]
        message: String,
        /// To whom: all, agent, web.0, web (each of the group), any:web, next:web, or a process id such as pid:4711
        #[arg(long, value_name = "PEER", default_value = "all")]
        to: String,
    },
    /// Let every process log each message, question and answer on some topics, until told otherwise
    Trace {
        #[command(flatten)]
        location: Location,
        /// A topic, how topics begin (prices.*), or all (*); none, to be told what is traced now
        #[arg(value_name = "TOPIC")]
        patterns: Vec<String>,
        /// End it
        #[arg(long, conflicts_with = "patterns")]
        off: bool,
    },
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every key with its value in force, secrets masked
    Show(Box<Show>),
    /// Check the configuration without starting anything
    Check {
        #[command(flatten)]
        location: Location,
        #[command(flatten)]
        options: Options,
    },
}

/// Which instance.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Location {
    /// The environment, which chooses config/NAME.toml
    #[arg(long, value_name = "NAME", env = "HATCHERY_ENV", default_value = "local")]
    pub(crate) env: String,
    /// The folder of the app [default: this folder if it has config/, else, under cargo, the package's]
    #[arg(long, value_name = "DIR", env = "HATCHERY_APP_DIR")]
    pub(crate) app_dir: Option<PathBuf>,
    /// The folder for the control socket and the lock [default: run in the app's folder]
    #[arg(long, value_name = "DIR", env = "HATCHERY_RUN_DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// The folder for the log files [default: logs in the app's folder]
    #[arg(long, value_name = "DIR", env = "HATCHERY_LOG_DIR")]
    pub(crate) log_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Start in the background; returns when the cluster is ready or has failed
    #[arg(long)]
    pub(crate) daemon: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Where each key was set
    #[arg(long)]
    pub(crate) origin: bool,
    /// For scripts
    #[arg(long)]
    pub(crate) json: bool,
}

/// What stands for keys of the configuration, and beats everything else that says them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// How many workers: a number, or auto for one per processor
    #[arg(long, value_name = "N|auto")]
    pub(crate) workers: Option<String>,
    /// Where to listen: host:port, unix:PATH, udp:host:port or systemd:NAME (repeatable)
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// The port to listen on, in place of the configured one
    #[arg(long, value_name = "P", conflicts_with = "listen")]
    pub(crate) port: Option<u16>,
    /// How long a process may take to be ready, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    pub(crate) ready_timeout: Option<Duration>,
    /// A key laid over everything else, such as http.body_limit=2MiB (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
