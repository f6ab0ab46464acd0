//! Hatchery: a master process supervises one agent, which does what must be done exactly once, and the
//! workers that serve.
//!
//! Start with [`App`]; [`Worker`] and [`Agent`] are what its functions are given.
//!
//! # The rooms
//!
//! From the bottom up; a room imports those above it in this list and never those below.
//!
//! | room | answers for |
//! |---|---|
//! | `number` | settings that are a number or a text |
//! | [`error`], [`duration`], [`size`], `role`, `backoff`, `exit` | words: endings, durations, slots, delays, reasons |
//! | [`status`] | what `status --json` says |
//! | [`config`], `log`, `http` | layers of configuration; log files; serving HTTP |
//! | [`exec`], `cpu` | helper processes; threads for heavy work |
//! | `balance`, `handover` | which worker gets the next connection; how it gets there |
//! | `tls`, `secret` | certificates, tickets, how handshakes are answered; what is a secret |
//! | `image`, `cgroup`, `instance`, `signals` | the executable held open; the control group; the run dir; what signals mean |
//! | `identity`, `pidfd` | as whom to run; the end of a child |
//! | `bus` | frames, links, the bodies of the framework's own frames |
//! | `systemd` | what the service manager hears, and the sockets that it hands down |
//! | `events`, `launch`, `sections` | what can happen; what a child is told; who owns which part of the configuration |
//! | `master` | supervision and relay; runs none of the author's code |
//! | `state`, `wanted`, `gathered` | the states that a process observes; the keys that the agent is asked for; what workers contribute |
//! | `mail` | what comes for a process from the others: who gets it, who answers, who waits for which answer |
//! | `process`, `published`, `child`, `heartbeat`, `news` | a child's link, its publishing, its life, its signs of life, what it hears |
//! | `messenger` | what agent and worker have in common: messages, questions, and hearing of the cluster |
//! | `keyed` | the upstreams of keyed states |
//! | `vault`, `keyring` | the certificates in the agent; how a worker follows them |
//! | `desk`, `agent`, `duty`, `worker`, `lives` | the two roles that run the author's code |
//! | `cli`, `app` | the command line; what an author puts together |
//! | [`testing`] | a cluster of real processes for an app's own tests |
//! | `fuzzing` | doors for fuzzers, where the feature of that name is on |

mod agent;
mod app;
mod backoff;
mod balance;
mod bus;
mod cgroup;
mod child;
mod cli;
pub mod config;
mod cpu;
mod desk;
pub mod duration;
mod duty;
pub mod error;
mod events;
pub mod exec;
mod exit;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gathered;
mod handover;
mod heartbeat;
mod http;
mod identity;
mod image;
mod instance;
mod keyed;
mod keyring;
mod launch;
mod lives;
mod log;
mod mail;
mod master;
mod messenger;
mod news;
mod number;
mod pidfd;
mod process;
mod published;
mod role;
mod secret;
mod sections;
mod signals;
pub mod size;
mod state;
pub mod status;
mod systemd;
pub mod testing;
mod tls;
mod vault;
mod wanted;
mod worker;

pub use agent::{Agent, ReopenError};
pub use app::App;
pub use balance::Policy;
pub use bus::{BadPeer, BadTopic, BusSettings, CodecError, Origin, Peer, SharedBytes, Topic, UnknownGroup};
pub use cpu::{Cancelled, CpuError, CpuFigures, CpuPool, CpuSettings, CpuThreads};
pub use desk::{ConfigDesk, Verdict};
pub use duty::Duty;
pub use error::{BoxError, Ending, Result};
pub use events::{ClusterEvent, Member, Present, Standing};
pub use exit::{Exit, Reason};
pub use gathered::{Contributed, Gathered};
pub use http::{ClientAddress, HttpSettings, Listen, NoAddress, ProxyHeader, SocketMode, TrustedProxy};
pub use identity::Account;
pub use keyed::KeyFeed;
pub use launch::OnPanic;
pub use log::{Level, LogSettings};
pub use master::{ClusterSettings, GroupSettings, WorkerCount};
pub use messenger::{
    AnswerError, AnswerLimits, AskError, Asked, Attach, Attachment, Delivery, Errand, MembersError,
    MessageId, Messenger, ReceiveError, Received, Request, SendError, Sending, Subscription, TakeError,
    Unreadable,
};
pub use news::ClusterEvents;
pub use process::MasterGone;
pub use published::{PublishError, Published};
pub use state::{ObserveError, Observed, Snapshot};
pub use tls::{CertificateFiles, TlsVersion};
pub use worker::{ServeError, Worker};
