//! An app that was stamped builds, starts and passes its test.
