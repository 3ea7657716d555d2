//! The pages over a simulated host: who may see what, and what is said.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod errors;
mod others;
mod pages;
mod telegram;
mod test_platform;
mod ways;
