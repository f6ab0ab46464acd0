//! Hatchery: a master process supervises one agent, which does what must be done exactly once, and the
//! workers that serve.
//!
//! This file is the map of the crate. Rooms are listed from the bottom up; each may import those above it
//! in this list and never those below.

pub mod config;
pub mod duration;
pub mod error;
pub mod http;
pub mod log;
pub mod role;
