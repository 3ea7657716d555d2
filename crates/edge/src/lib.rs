//! What Caddy asks us, and Caddy's static configuration.
//!
//! Caddy terminates TLS and carries every byte; its configuration never changes while it runs,
//! because a reload would close every open WebSocket. What changes, it asks for: which names
//! deserve a certificate (`/ask`), and for each request who it is from, whether they may enter,
//! and at which address the instance listens (`/authorize`).

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
