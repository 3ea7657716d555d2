//! The engine on a simulated host.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod cancelled;
mod crash;
mod hanging_call;
mod healing;
mod hostile;
mod lost;
mod reused_name;
mod spec;
mod supervision;
mod telegram;
mod usage;
mod verbs;
