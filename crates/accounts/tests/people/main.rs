//! Accounts over an engine on a simulated host.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod inside;
mod losing_access;
mod mail;
mod mail_server;
mod managing;
mod sign_up;
mod signing_in;
mod strangers;
