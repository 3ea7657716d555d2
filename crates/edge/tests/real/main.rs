//! The edge with a real Caddy in front, a real engine behind it, and an upstream that says
//! what it received. Everything stays on the loopback interface.
//!
//! Runs when `STARTCLAW_REAL=1` is set, because it needs `caddy` (2.11 or newer), and for the
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

/// Says so and returns from the test when real parts are not wanted.
#[macro_export]
macro_rules! real {
    () => {
        if std::env::var_os("STARTCLAW_REAL").is_none_or(|v| v != "1") {
            println!("skipped: set STARTCLAW_REAL=1");
            return;
        }
    };
}
