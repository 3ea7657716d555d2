//! Repositories in folders and in a bucket, worked on by real worker processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bucket;
mod busy;
mod damage;
mod databases;
mod destination;
mod faults;
mod frozen;
mod interrupted;
mod odd;
mod passes;
mod repair;
mod retention;
mod round_trip;
mod s3;
mod snapshots;
mod stage;
mod ways;
