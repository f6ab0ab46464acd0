//! Ready-made duties for the agent of a [`hatchery`] app, written against the framework's public API alone.
//!
//! ```no_run
//! # use std::process::ExitCode;
//! fn main() -> ExitCode {
//!     hatchery::App::new("shop")
//!         .duty(hatchery_agent::config_polling())
//!         .duty(hatchery_agent::log_rotation())
//!         .run()
//! }
//! ```

mod config_polling;
mod log_rotation;
mod rotation;

pub use config_polling::{PollingSettings, config_polling};
pub use log_rotation::log_rotation;
pub use rotation::{Period, RotationSettings};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the page on configuration compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/configuration.md")]
struct Configuration;

/// The examples of the page on helpers compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/helpers.md")]
struct Helpers;

/// The examples of the page on life and death compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/lifecycle.md")]
struct Lifecycle;

/// The examples of the page on states compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/states.md")]
struct States;

/// The examples of the page on messages compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/messages.md")]
struct Messages;
