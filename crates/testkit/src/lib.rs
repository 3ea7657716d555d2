//! What tests share: a platform on a simulated host, requests to it, and waits with a limit.
//!
//! A part that only the tests of one crate need is in that crate: the API's client, the browser.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod daemon;
mod operations;
mod platform;
mod requests;
mod settings;
mod wait;

pub use daemon::{PASSWORD, TestDaemon, value_of};
pub use operations::{backed_up, becomes, over, provisioned, steps};
pub use platform::TestPlatform;
pub use requests::{admin, email, from, home, name, request, request_for, restore_of, room_for};
pub use settings::{backup_settings, patient_settings, settings};
pub use wait::{LIMIT, until, until_blocking};
