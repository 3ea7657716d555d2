//! The built command line against the real API with a real engine on the simulated host, and the
//! built daemon.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod commands;
mod daemon;
mod refusals;
mod test_platform;
