//! The backup service on a simulated host, with repositories in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod alerts;
mod append_only;
mod archives;
mod attempts;
mod backup;
mod destination;
mod drill;
mod expiry;
mod faults;
mod nightly;
mod pause;
mod recovery;
mod space;
mod verified;
