//! The portal over a simulated host: access control, and what pages show.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod errors;
mod others;
mod pages;
mod telegram;
mod test_platform;
mod ways;
