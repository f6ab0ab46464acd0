//! Typed configuration in layers.
