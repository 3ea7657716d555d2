//! The daemon's endpoints for Caddy, and Caddy's static configuration.
//!
//! Caddy terminates TLS and proxies all traffic. Its configuration never changes while it runs,
//! because a reload would close every open WebSocket. It asks the daemon for what changes: which
//! names may get a certificate (`/ask`), and for each request its user, whether access is granted,
//! and the address of the instance (`/authorize`).

mod ask;
mod auth_routes;
mod authorize;
mod authorize_request;
mod caddy;
mod caddyfile;
mod client;
mod cookie;
mod decide;
mod drain;
mod error;
mod handshake;
mod pages;
mod reply;
mod router;
mod settings;
mod site;
mod uri;

pub use caddy::{check, write_caddyfile};
pub use caddyfile::render;
pub use client::client_address;
pub use cookie::{SESSION_COOKIE, cookie_value};
pub use drain::drained;
pub use error::EdgeError;
pub use handshake::fetch_certificate;
pub use pages::PAGE_HEADERS;
pub use router::{router, with_api};
pub use settings::{AcmeSettings, EdgeSettings, Tls};
