//! The management API, its client and its OpenAPI document
