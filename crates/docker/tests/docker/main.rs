//! Instances on a real Docker: lifecycle and isolation.
//!
//! These tests need root, Docker and the image, so `script/test` runs them (`-- --ignored`). Each
//! test has its own platform, with its own names, ports, users and addresses, and cleans up even
//! when it fails. `STARTCLAW_TEST_IMAGE` names another image, one with bash and Node.js.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by a panic")]

mod cell;
mod conformance;
mod connections;
mod drill;
mod firewall;
mod lan;
mod lifecycle;
mod lost;
mod own_docker;
mod platform;
mod rules;
mod usage;
