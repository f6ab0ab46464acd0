//! Whole clusters of real processes, through the public door: commands, signals, files and sockets.
//!
//! | file | what is promised there |
//! |---|---|
//! | `boot` | the order of the start, and starts that fail |
//! | `death` | SIGKILL of each role, faults of each function, no orphans |
//! | `exits` | why processes ended, and what they leave behind |
//! | `deaths` | the example `deaths`: each way to die, its reason, and what the agent hears of it |
//! | `surroundings` | what a master inherits and hands down: signals, descriptors, orphans, process 1 |
//! | `leave` | processes that take leave: what they have is taken and answered, whoever is stuck meanwhile |
//! | `stop` | graceful and fast stops, and what is in flight then |
//! | `state` | states across restarts of their publishers and observers |
//! | `messages` | messages: who gets them, in which order, and what becomes of those that nobody can take |
//! | `asks` | questions and answers |
//! | `duties` | what a duty has registered ends with the run that fails |
//! | `keyed` | one upstream for each key that is observed, whoever dies; what workers contribute |
//! | `large` | states in sealed memory, stopped workers, and when a version is everywhere |
//! | `python` | the example `python`: a group that is another program, and all that it is spared and not |
//! | `vandals` | children that send what no child should, by the app `vandal` |
//! | `storms` | many messages and questions while processes die and are replaced |
//! | `attachments` | sockets and files that go with messages, and that nothing is left of them |
//! | `traffic` | messages from the command line, tracing, and what the status says of the bus |
//! | `configuration` | changes on disk, mistakes on disk, layers |
//! | `commands` | the command line, the control socket, the run dir |
//! | `show` | `config show`: every key, its origin, no secret |
//! | `listeners` | where a cluster listens: names, families, Unix sockets and their rights |
//! | `datagrams` | UDP sockets of groups: bound by the master, and nothing that waits there is lost |
//! | `balance` | how connections are spread over the workers |
//! | `heavy` | the pool for heavy work of a worker |
//! | `heirs` | mail for a slot whose process dies: who gets it, in which order, and what is told of it
//! | `hung` | processes that do not answer, a master that slept, budgets of restarts |
//! | `drain` | what clients notice when workers leave |
//! | `reload` | another program, another generation, and no request fails |
//! | `succession` | successors first: panics, wishes, recycling; groups; growing and shrinking |
//! | `serving` | HTTP as the template's users see it |
//! | `load` | no promise but a tool: many clients, and every failure told by its kind |
//! | `tls` | certificates, their renewal, names, tickets, handshakes that do not end |
//! | `systemd` | what the service manager hears |
//! | `activation` | sockets that a service manager hands down |
//! | `logs` | rotation without a lost line |
//! | `rights` | a master that is root, with agent and workers that are not |
//! | `scaffold` | an app that was stamped builds, starts and passes its test |
//! | `architecture` | which room may import which |
//! | `safety` | where unsafe code may be |

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod activation;
mod architecture;
mod asks;
mod attachments;
mod balance;
mod boot;
mod commands;
mod configuration;
mod datagrams;
mod death;
mod deaths;
mod drain;
mod duties;
mod exits;
mod harness;
mod heavy;
mod heirs;
mod hung;
mod keyed;
mod large;
mod leave;
mod listeners;
mod load;
mod logs;
mod messages;
mod python;
mod reload;
mod retry;
mod rights;
mod safety;
mod scaffold;
mod serving;
mod show;
mod state;
mod stop;
mod storms;
mod succession;
mod surroundings;
mod systemd;
mod tls;
mod traffic;
mod vandals;
