//! The portal over a simulated host: access control, and what pages show.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod attacks;
mod errors;
mod live;
mod new;
mod others;
mod pages;
mod telegram;
mod test_platform;
mod ways;
