//! The API over the real router, with a real engine on the simulated host.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod accounts;
mod client;
mod errors;
mod fuzz;
mod idempotency;
mod scopes;
mod streams;
mod test_platform;
mod verbs;
