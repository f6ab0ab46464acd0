//! Many messages and questions while processes die and are replaced.
