//! Secrets at rest
