//! The API over the real router, with a real engine on the simulated host.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod accounts;
mod client;
mod errors;
mod fuzz;
mod house;
mod idempotency;
mod scopes;
mod streams;
mod verbs;
