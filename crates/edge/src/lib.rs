//! What Caddy asks us, and Caddy's static configuration
