//! Repositories in folders and in a bucket, worked on by real worker processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bucket;
mod busy;
mod damage;
mod databases;
mod faults;
mod interrupted;
mod odd;
mod passes;
mod retention;
mod s3;
mod stage;
