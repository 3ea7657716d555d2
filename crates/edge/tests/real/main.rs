//! The edge with a real Caddy in front, a real engine behind it, and an upstream that reports what
//! it received. Everything stays on the loopback interface.
//!
//! `script/test` runs it (`-- --ignored`), because it needs `caddy` (2.11 or newer), and for the
//! certificates `pebble`, `pebble-challtestsrv`, `openssl` and `curl`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod acme;
mod children;
mod client;
mod identity;
mod outage;
mod signing_in;
mod slow;
mod stage;
mod states;
mod unread;
mod upstream;
