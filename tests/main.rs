//! Whole clusters of real processes, through the public door: commands, signals, files and sockets.
//!
//! | file | what is promised there |
//! |---|---|
//! | `boot` | the order of the start, and starts that fail |
//! | `death` | SIGKILL of each role, faults of each function, no orphans |
//! | `stop` | graceful and fast stops, and what is in flight then |
//! | `state` | states across restarts of their publishers and observers |
//! | `configuration` | changes on disk, mistakes on disk, layers |
//! | `commands` | the command line, the control socket, the run dir |
//! | `serving` | HTTP as the template's users see it |
//! | `logs` | rotation without a lost line |
//! | `rights` | a master that is root, with agent and workers that are not |
//! | `scaffold` | an app that was stamped builds, starts and passes its test |
//! | `architecture` | which room may import which |

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod architecture;
mod boot;
mod commands;
mod configuration;
mod death;
mod harness;
mod logs;
mod rights;
mod scaffold;
mod serving;
mod state;
mod stop;
