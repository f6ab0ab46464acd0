//! Duties.

pub mod rotation;
