//! The management API: its routes, its OpenAPI document and its client.
//!
//! Thin: it authenticates the caller, calls the engine and formats the response. The same routes
//! are served at the Unix socket and at `https://api.DOMAIN`; see [`Access`].

#![warn(missing_docs)]

mod caller;
pub mod client;
mod document;
mod extract;
mod outermost;
mod page;
pub mod problem;
mod router;
mod routes;
mod shared;
mod stream;
pub mod wire;

pub use caller::Peer;
pub use router::{openapi, router};
pub use shared::{Access, Checks, Settings};
